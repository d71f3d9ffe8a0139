/**
 * The conversation list. It is a fold of the user's timeline: `t_user_conversation` holds everything up to
 * `folded_seq`, and the rest is folded in when the list is asked for. So a message costs the list nothing when it is
 * sent, and a user who never looks never pays.
 *
 * Unread is computed from the timeline's own index, never counted up and down, so it cannot drift.
 */

import { type BodyRow, shownMessage, type StoredMessage } from "./messages.ts";
import type { Store } from "./store.ts";

/** A conversation as its user sees it. */
export interface ConversationRef {
  readonly type: number;
  readonly target: string;
  readonly line: number;
}

/** Counted messages above the read mark that are not mine. */
export interface UnreadCount {
  readonly count: number;
  readonly mentions: number;
  readonly mentionAll: number;
}

/** A row of the list. */
export interface ConversationRow {
  readonly conversation: ConversationRef;
  /** Null when it may no longer be shown. */
  readonly lastMessage: StoredMessage | null;
  readonly lastMessageId: bigint;
  readonly updatedAt: number;
  readonly unread: UnreadCount;
  readonly readMessageId: bigint;
}

/** Seqs folded by one statement; keeps each below a tenth of a second. */
const FOLD_STEP = 50_000n;

/** Brings the list up to the head of the timeline, in bounded steps. */
async function foldTimeline(store: Store, userId: string): Promise<void> {
  const [timeline] = await store.sql<{ head: bigint; folded_seq: bigint }[]>`
    SELECT head, folded_seq FROM t_user_timeline WHERE uid = ${userId}`;
  if (timeline === undefined) return;
  let folded = timeline.folded_seq;
  while (folded < timeline.head) {
    const to = folded + FOLD_STEP < timeline.head ? folded + FOLD_STEP : timeline.head;
    // Greatest wins: folding a range twice, or two devices folding at once, changes nothing.
    await store.sql`
      INSERT INTO t_user_conversation AS c (uid, type, target, line, last_message_id, last_shard, updated_at_ms)
      SELECT ${userId}, type, target, line, message_id, shard, (message_id >> 21) + 1514736000000
      FROM (
        SELECT DISTINCT ON (type, target, line) type, target, line, message_id, shard
        FROM t_user_messages WHERE uid = ${userId} AND seq > ${folded} AND seq <= ${to}
        ORDER BY type, target, line, message_id DESC
      ) newest
      ON CONFLICT (uid, type, target, line) DO UPDATE SET
        last_message_id = excluded.last_message_id,
        last_shard = excluded.last_shard,
        updated_at_ms = greatest(c.updated_at_ms, excluded.updated_at_ms)
      WHERE c.last_message_id < excluded.last_message_id`;
    // A statement of its own: the timeline's lock is the commit pipeline's, and is held for this update only.
    await store.sql`
      UPDATE t_user_timeline SET folded_seq = ${to} WHERE uid = ${userId} AND folded_seq < ${to}`;
    folded = to;
  }
}

/**
 * A page of the list, newest message first.
 *
 * @param below only conversations whose last message is below this id: where the page before ended
 */
export async function listConversations(
  store: Store,
  userId: string,
  options: { readonly limit: number; readonly below: bigint | null; readonly updatedAfter: number },
  nowMs: number,
): Promise<{ readonly conversations: readonly ConversationRow[]; readonly hasMore: boolean }> {
  await foldTimeline(store, userId);
  const { sql } = store;
  const rows = await sql<(ListRow & { [column in keyof BodyColumns]: BodyColumns[column] | null })[]>`
    SELECT c.type, c.target, c.line, c.last_message_id, c.read_message_id, c.updated_at_ms,
      n.count, n.mentions, n.mention_all,
      m.sender, m.client_message_id, m.content, m.recipients, m.edited_at_ms, m.expires_at_ms
    FROM (
      SELECT * FROM t_user_conversation
      WHERE uid = ${userId} AND last_message_id > 0 AND updated_at_ms > ${options.updatedAfter}
        ${options.below === null ? sql`` : sql`AND last_message_id < ${options.below}`}
      ORDER BY last_message_id DESC LIMIT ${options.limit + 1}
    ) c
    LEFT JOIN LATERAL (${unreadOf(store, userId)}) n ON true
    LEFT JOIN LATERAL (
      SELECT * FROM t_messages b WHERE b.shard = c.last_shard AND b.message_id = c.last_message_id
    ) m ON true
    ORDER BY c.last_message_id DESC`;
  return {
    conversations: rows.slice(0, options.limit).map((row) => toConversation(row, nowMs)),
    hasMore: rows.length > options.limit,
  };
}

/** Counts the unread rows of the conversation `c` of the statement it stands in. */
function unreadOf(store: Store, userId: string) {
  return store.sql`
    SELECT count(*)::int AS count, (count(*) FILTER (WHERE u.mention = 1))::int AS mentions,
      (count(*) FILTER (WHERE u.mention = 2))::int AS mention_all
    FROM t_user_messages u
    WHERE u.uid = ${userId} AND u.type = c.type AND u.target = c.target AND u.line = c.line
      AND u.message_id > c.read_message_id AND u.counted`;
}

interface ListRow {
  readonly type: number;
  readonly target: string;
  readonly line: number;
  readonly last_message_id: bigint;
  readonly read_message_id: bigint;
  readonly updated_at_ms: bigint;
  readonly count: number;
  readonly mentions: number;
  readonly mention_all: number;
}

type BodyColumns = Omit<BodyRow, "message_id" | "type" | "line">;

function toConversation(
  row: ListRow & { [column in keyof BodyColumns]: BodyColumns[column] | null },
  nowMs: number,
): ConversationRow {
  return {
    conversation: { type: row.type, target: row.target, line: row.line },
    lastMessage: row.sender === null
      ? null
      : shownMessage({ ...row as ListRow & BodyColumns, message_id: row.last_message_id }, nowMs),
    lastMessageId: row.last_message_id,
    updatedAt: Number(row.updated_at_ms),
    unread: { count: row.count, mentions: row.mentions, mentionAll: row.mention_all },
    readMessageId: row.read_message_id,
  };
}

/** What a moved read mark came to. */
export interface ReadMark {
  readonly readMessageId: bigint;
  readonly unread: UnreadCount;
  /** False when the mark stood there already. */
  readonly moved: boolean;
}

/**
 * Moves the read mark of a single conversation forward, at most to the user's newest message; null when the other
 * person is unknown.
 */
export async function markRead(
  store: Store,
  userId: string,
  conversation: ConversationRef,
  messageId: bigint,
  nowMs: number,
): Promise<ReadMark | null> {
  const [row] = await store.sql<
    { read_message_id: bigint; former: bigint; count: number; mentions: number; mention_all: number }[]
  >`
    WITH wanted AS (
      SELECT least(${messageId}::bigint, mine.last_message_id) AS message_id
      FROM t_user_timeline mine, t_user_timeline theirs
      WHERE mine.uid = ${userId} AND theirs.uid = ${conversation.target}
    ), former AS (
      SELECT read_message_id FROM t_user_conversation
      WHERE uid = ${userId} AND type = ${conversation.type} AND target = ${conversation.target}
        AND line = ${conversation.line}
    ), c AS (
      INSERT INTO t_user_conversation AS o (uid, type, target, line, read_message_id, updated_at_ms)
      SELECT ${userId}, ${conversation.type}, ${conversation.target}, ${conversation.line}, message_id, ${nowMs}
      FROM wanted
      ON CONFLICT (uid, type, target, line) DO UPDATE SET
        read_message_id = greatest(o.read_message_id, excluded.read_message_id),
        updated_at_ms = CASE WHEN o.read_message_id < excluded.read_message_id
          THEN greatest(o.updated_at_ms, excluded.updated_at_ms) ELSE o.updated_at_ms END
      RETURNING type, target, line, read_message_id
    )
    SELECT c.read_message_id, coalesce((SELECT read_message_id FROM former), 0) AS former, n.*
    FROM c LEFT JOIN LATERAL (${unreadOf(store, userId)}) n ON true`;
  if (row === undefined) return null;
  return {
    readMessageId: row.read_message_id,
    unread: { count: row.count, mentions: row.mentions, mentionAll: row.mention_all },
    moved: row.read_message_id > row.former,
  };
}

/** How far a user has read a conversation; 0 when he has read nothing. */
export async function getReadMark(
  store: Store,
  userId: string,
  conversation: ConversationRef,
): Promise<bigint> {
  const [row] = await store.sql<{ read_message_id: bigint }[]>`
    SELECT read_message_id FROM t_user_conversation
    WHERE uid = ${userId} AND type = ${conversation.type} AND target = ${conversation.target}
      AND line = ${conversation.line}`;
  return row?.read_message_id ?? 0n;
}

/** Whether all of these users exist. */
export async function areUsersKnown(store: Store, userIds: readonly string[]): Promise<boolean> {
  const [row] = await store.sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM t_user_timeline WHERE uid = ANY(${[...userIds]}::text[])`;
  return row?.count === new Set(userIds).size;
}
