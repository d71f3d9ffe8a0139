/**
 * One flush of the commit pipeline: a batch of sends becomes one transaction.
 *
 * READ COMMITTED, separate statements in a fixed order, so that each sees what the locks waited for: lock the
 * timelines in byte order, look up what was sent before, number everything in the program, write, commit.
 */

import type postgres from "postgres";
import { plainArray, textArray } from "./array_literal.ts";
import { type MessageIdClock, messageIdTimeMs, messageShard } from "./ids.ts";

/** A receiver's row in his own timeline. */
export interface SendReceiver {
  readonly userId: string;
  /** The conversation's target as this user sees it. */
  readonly target: string;
  /** Counts as unread for him. */
  readonly counted: boolean;
  /** 0 no, 1 he is mentioned, 2 everybody is. */
  readonly mention: number;
}

/** A message on its way to the store; every rule has been applied to it already. */
export interface Send {
  readonly from: string;
  readonly clientMessageId: string;
  readonly conversationType: number;
  /** The target under which the body stands: for single chats both ids in byte order, joined by `|`. */
  readonly canonicalTarget: string;
  readonly line: number;
  readonly contentType: number;
  /** JSON text of the content. */
  readonly contentJson: string;
  /** Stored in full for directed messages; null for all members. */
  readonly recipients: readonly string[] | null;
  /** The sender among them, first. */
  readonly receivers: readonly SendReceiver[];
}

/** What became of a send. */
export type SendOutcome =
  | {
    readonly status: "stored";
    readonly messageId: bigint;
    readonly timestamp: number;
    /** Per receiver, in the order of `receivers`. */
    readonly seqs: readonly bigint[];
  }
  | {
    /** The same clientMessageId was stored before: its first result. */
    readonly status: "repeated";
    readonly messageId: bigint;
    readonly timestamp: number;
    /** In the sender's timeline. */
    readonly seq: bigint;
  }
  | {
    readonly status: "refused";
    readonly reason: "receiver-unknown" | "failed" | "earlier-failed" | "clock" | "timeout" | "full";
  };

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

interface TimelineHead {
  head: bigint;
  lastMessageId: bigint;
  changed: boolean;
}

/** The connection was replaced between two statements of one transaction. */
export class ConnectionReplacedError extends Error {
  override readonly name = "ConnectionReplacedError";
}

/**
 * Stores a batch in one transaction and says what became of each send, in order.
 *
 * @param sql a pool of exactly one connection, used by nobody else
 * @param connectionNumber grows when that connection closes; a transaction never continues on the next one
 * @param onNumbered told the numbers before they are written, for recognising them if the outcome is lost
 */
export async function flush(
  sql: postgres.Sql<{ bigint: bigint }>,
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
    timelines.set(row.uid, { head: row.head, lastMessageId: row.last_message_id, changed: false });
  }
  const earlier = new Map<string, { messageId: bigint; seq: bigint }>();
  for (const row of known) {
    earlier.set(onceKey(row.sender, row.client_message_id), { messageId: row.message_id, seq: row.seq });
  }

  const rows = new RowArrays();
  const stored = new Map<Send, Extract<SendOutcome, { status: "stored" }>>();
  const outcomes = batch.map((send) => {
    const outcome = number(send, timelines, earlier, numbering, lost);
    if (outcome.status === "stored" && lost.get(send) !== outcome) {
      stored.set(send, outcome);
      rows.add(send, outcome);
    }
    return outcome;
  });

  if (connectionNumber() !== connection) {
    throw new ConnectionReplacedError("the database connection closed within a flush");
  }
  if (stored.size === 0) {
    await sql`COMMIT`;
    return outcomes;
  }
  onNumbered(stored);
  // Sent back to back on one connection; the first that fails makes the COMMIT a rollback and rejects here.
  await all([...rows.statements(sql, timelines), sql`COMMIT`]);
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
    timeline.changed = true;
    return ++timeline.head;
  });
  earlier.set(key, { messageId, seq: seqs[0]! });
  return { status: "stored", messageId, timestamp, seqs };
}

function onceKey(sender: string, clientMessageId: string): string {
  return `${sender}\n${clientMessageId}`; // neither part can hold a line break
}

/** Columns of everything a flush inserts. */
class RowArrays {
  readonly #bodies = {
    shard: [] as number[],
    messageId: [] as bigint[],
    sender: [] as string[],
    type: [] as number[],
    target: [] as string[],
    line: [] as number[],
    contentType: [] as number[],
    clientMessageId: [] as string[],
    content: [] as string[],
    recipients: [] as (string | null)[],
    senderSeq: [] as bigint[],
  };
  readonly #entries = {
    uid: [] as string[],
    seq: [] as bigint[],
    messageId: [] as bigint[],
    line: [] as number[],
    shard: [] as number[],
    type: [] as number[],
    mention: [] as number[],
    counted: [] as boolean[],
    target: [] as string[],
  };

  add(send: Send, stored: Extract<SendOutcome, { status: "stored" }>): void {
    const shard = messageShard(stored.messageId);
    const bodies = this.#bodies;
    bodies.shard.push(shard);
    bodies.messageId.push(stored.messageId);
    bodies.sender.push(send.from);
    bodies.type.push(send.conversationType);
    bodies.target.push(send.canonicalTarget);
    bodies.line.push(send.line);
    bodies.contentType.push(send.contentType);
    bodies.clientMessageId.push(send.clientMessageId);
    bodies.content.push(send.contentJson);
    // An array cannot hold arrays of different lengths: each list travels as its own literal, cast in the statement.
    bodies.recipients.push(send.recipients === null ? null : textArray(send.recipients));
    bodies.senderSeq.push(stored.seqs[0]!);
    const entries = this.#entries;
    for (let i = 0; i < send.receivers.length; i++) {
      const receiver = send.receivers[i]!;
      entries.uid.push(receiver.userId);
      entries.seq.push(stored.seqs[i]!);
      entries.messageId.push(stored.messageId);
      entries.line.push(send.line);
      entries.shard.push(shard);
      entries.type.push(send.conversationType);
      entries.mention.push(receiver.mention);
      entries.counted.push(receiver.counted);
      entries.target.push(receiver.target);
    }
  }

  statements(sql: postgres.Sql<{ bigint: bigint }>, timelines: Map<string, TimelineHead>) {
    const b = this.#bodies, e = this.#entries;
    const uids: string[] = [], heads: bigint[] = [], lastIds: bigint[] = [];
    for (const [uid, timeline] of timelines) {
      if (!timeline.changed) continue;
      uids.push(uid);
      heads.push(timeline.head);
      lastIds.push(timeline.lastMessageId);
    }
    return [
      sql`INSERT INTO t_messages
          (shard, message_id, sender, type, target, line, content_type, client_message_id, content, recipients)
        SELECT shard, message_id, sender, type, target, line, content_type, client_message_id, content, recipients::text[]
        FROM unnest(${plainArray(b.shard)}::smallint[], ${plainArray(b.messageId)}::bigint[],
          ${textArray(b.sender)}::text[], ${plainArray(b.type)}::smallint[], ${textArray(b.target)}::text[],
          ${plainArray(b.line)}::int[], ${plainArray(b.contentType)}::int[],
          ${textArray(b.clientMessageId)}::text[], ${textArray(b.content)}::text[], ${textArray(b.recipients)}::text[])
          AS n (shard, message_id, sender, type, target, line, content_type, client_message_id, content, recipients)`,
      sql`INSERT INTO t_user_messages (uid, seq, message_id, line, shard, type, kind, mention, counted, target)
        SELECT uid, seq, message_id, line, shard, type, 0, mention, counted, target
        FROM unnest(${textArray(e.uid)}::text[], ${plainArray(e.seq)}::bigint[], ${plainArray(e.messageId)}::bigint[],
          ${plainArray(e.line)}::int[], ${plainArray(e.shard)}::smallint[], ${plainArray(e.type)}::smallint[],
          ${plainArray(e.mention)}::smallint[], ${plainArray(e.counted)}::boolean[], ${textArray(e.target)}::text[])
          AS n (uid, seq, message_id, line, shard, type, mention, counted, target)`,
      sql`INSERT INTO t_client_messages (sender, client_message_id, message_id, seq)
        SELECT * FROM unnest(${textArray(b.sender)}::text[], ${textArray(b.clientMessageId)}::text[],
          ${plainArray(b.messageId)}::bigint[], ${plainArray(b.senderSeq)}::bigint[])`,
      sql`UPDATE t_user_timeline t SET head = n.head, last_message_id = n.last_message_id
        FROM unnest(${textArray(uids)}::text[], ${plainArray(heads)}::bigint[], ${plainArray(lastIds)}::bigint[])
          AS n (uid, head, last_message_id)
        WHERE t.uid = n.uid`,
    ];
  }
}
