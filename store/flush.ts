/**
 * One flush of the commit pipeline: a batch of sends becomes one transaction.
 *
 * READ COMMITTED, separate statements in a fixed order, so that each sees what the locks waited for: lock the
 * timelines in byte order, look up what was sent before, number everything in the program, write, commit.
 */

import { textArray } from "./array_literal.ts";
import { FlushRows, type TimelineHead } from "./flush_rows.ts";
import type { Send, SendOutcome } from "./send.ts";
import type { Sql } from "./sql.ts";
import { type MessageIdClock, messageIdTimeMs, messageShard } from "./ids.ts";

/** What numbering needs from outside. */
export interface Numbering {
  readonly clock: MessageIdClock;
  readonly node: number;
  readonly nowMs: number;
  /** Whether the month partition of a shard still holds another year's rows. */
  readonly isShardTaken: (shard: number) => boolean;
}

/** Numbers given in an attempt whose outcome was lost; a second attempt recognises its own rows by them. */
export type LostAttempt = ReadonlyMap<Send, Extract<SendOutcome, { status: "stored" }>>;

/** The connection was replaced between two statements of one transaction. */
export class ConnectionReplacedError extends Error {
  override readonly name = "ConnectionReplacedError";

  constructor() {
    super("the database connection closed within a flush");
  }
}

/**
 * Stores a batch in one transaction and says what became of each send, in order.
 *
 * @param sql a pool of exactly one connection, used by nobody else
 * @param connectionNumber grows when that connection closes; a transaction never continues on the next one
 * @param onNumbered told the numbers before they are written, for recognising them if the outcome is lost
 */
export async function flush(
  sql: Sql,
  connectionNumber: () => number,
  batch: readonly Send[],
  numbering: Numbering,
  lost: LostAttempt,
  onNumbered: (stored: Map<Send, Extract<SendOutcome, { status: "stored" }>>) => void,
): Promise<SendOutcome[]> {
  const connection = connectionNumber();
  const uids = new Set<string>();
  const senders: string[] = [], clientMessageIds: string[] = [];
  for (const send of batch) {
    for (const receiver of send.receivers) uids.add(receiver.userId);
    senders.push(send.from);
    clientMessageIds.push(send.clientMessageId);
  }
  const [, heads, known] = await all([
    sql`BEGIN`,
    sql<{ uid: string; head: bigint; last_message_id: bigint }[]>`
      SELECT uid, head, last_message_id FROM t_user_timeline
      WHERE uid = ANY(${textArray([...uids])}::text[]) ORDER BY uid COLLATE "C" FOR UPDATE`,
    // The senders' rows are locked by now: what this statement sees is final.
    sql<{ sender: string; client_message_id: string; message_id: bigint; seq: bigint }[]>`
      SELECT c.sender, c.client_message_id, c.message_id, c.seq
      FROM unnest(${textArray(senders)}::text[], ${textArray(clientMessageIds)}::text[]) AS n (sender, id)
      JOIN t_client_messages c ON c.sender = n.sender AND c.client_message_id = n.id`,
  ]);

  const timelines = new Map<string, TimelineHead>();
  for (const row of heads) {
    timelines.set(row.uid, { formerHead: row.head, head: row.head, lastMessageId: row.last_message_id });
  }
  const earlier = new Map<string, { messageId: bigint; seq: bigint }>();
  for (const row of known) {
    earlier.set(onceKey(row.sender, row.client_message_id), { messageId: row.message_id, seq: row.seq });
  }

  const rows = new FlushRows();
  const stored = new Map<Send, Extract<SendOutcome, { status: "stored" }>>();
  const outcomes = batch.map((send) => {
    const outcome = number(send, timelines, earlier, numbering, lost);
    if (outcome.status === "stored" && lost.get(send) !== outcome) {
      stored.set(send, outcome);
      rows.add(send, outcome.messageId, outcome.timestamp, outcome.seqs);
    }
    return outcome;
  });

  const requireSameConnection = () => {
    if (connectionNumber() !== connection) throw new ConnectionReplacedError();
  };
  requireSameConnection(); // else nothing is locked
  if (stored.size === 0) {
    await sql`COMMIT`;
    return outcomes;
  }
  onNumbered(stored);
  await all([rows.insert(sql, timelines), sql`COMMIT`]);
  // A COMMIT that the driver sent over another connection succeeds too, and says nothing of our transaction.
  requireSameConnection();
  return outcomes;
}

/** Like `Promise.all`, but waits for every statement, so that none of a failed flush runs into the next one. */
async function all<T extends readonly PromiseLike<unknown>[]>(
  statements: readonly [...T],
): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(statements);
  for (const result of settled) {
    if (result.status === "rejected") throw result.reason;
  }
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as {
    [K in keyof T]: Awaited<T[K]>;
  };
}

function number(
  send: Send,
  timelines: Map<string, TimelineHead>,
  earlier: Map<string, { messageId: bigint; seq: bigint }>,
  numbering: Numbering,
  lost: LostAttempt,
): SendOutcome {
  const key = onceKey(send.from, send.clientMessageId);
  const first = earlier.get(key);
  if (first !== undefined) {
    const attempt = lost.get(send);
    if (attempt?.messageId === first.messageId) return attempt;
    return {
      status: "repeated",
      messageId: first.messageId,
      timestamp: messageIdTimeMs(first.messageId),
      seq: first.seq,
    };
  }
  let above = 0n;
  for (const receiver of send.receivers) {
    const timeline = timelines.get(receiver.userId);
    if (timeline === undefined) return { status: "refused", reason: "receiver-unknown" };
    if (timeline.lastMessageId > above) above = timeline.lastMessageId;
  }
  const messageId = numbering.clock.next(numbering.nowMs, numbering.node, above);
  const timestamp = messageIdTimeMs(messageId);
  if (numbering.isShardTaken(messageShard(messageId))) return { status: "refused", reason: "failed" };
  const seqs = send.receivers.map((receiver) => {
    const timeline = timelines.get(receiver.userId)!;
    timeline.lastMessageId = messageId;
    return ++timeline.head;
  });
  earlier.set(key, { messageId, seq: seqs[0]! });
  return { status: "stored", messageId, timestamp, seqs };
}

function onceKey(sender: string, clientMessageId: string): string {
  return `${sender}\n${clientMessageId}`; // neither part can hold a line break
}
