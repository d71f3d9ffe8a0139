/**
 * Reading messages: a timeline page by page, a conversation's history, where a timeline stands.
 */

import { messageIdTimeMs, messageShard, monthOfTime } from "./ids.ts";
import type { Sql } from "./sql.ts";
import type { Store } from "./store.ts";

/** A stored message, whoever looks at it. */
export interface StoredMessage {
  readonly messageId: bigint;
  readonly clientMessageId: string;
  readonly from: string;
  readonly conversationType: number;
  readonly line: number;
  /** JSON text of the content. */
  readonly contentJson: string;
  readonly to: readonly string[];
  /** Milliseconds since 1970, the time in the id. */
  readonly timestamp: number;
  readonly editedAt: number;
}

/** One place in a timeline; without `message` when it may no longer be shown. */
export interface TimelineEntry {
  readonly seq: bigint;
  readonly messageId: bigint;
  readonly conversation: { readonly type: number; readonly target: string; readonly line: number };
  readonly message: StoredMessage | null;
}

/** Where a timeline stands. */
export interface TimelineState {
  /** The newest seq. */
  readonly head: bigint;
  /** The oldest seq that is kept, less one: nothing up to here can be pulled. */
  readonly floor: bigint;
  /** Renewed when what clients hold must be dropped. */
  readonly epoch: string;
}

/** Where a user's timeline stands; null for an unknown user. */
export async function getTimelineState(store: Store, userId: string): Promise<TimelineState | null> {
  const [row] = await store.sql<TimelineState[]>`
    SELECT head, floor, epoch FROM t_user_timeline WHERE uid = ${userId}`;
  return row ?? null;
}

/** What a page of a timeline may hold. */
export interface PageLimits {
  /** 1–500. */
  readonly limit: number;
  /** Bytes of content; the first entry is given whatever its size. */
  readonly maxBytes: number;
}

/** Bytes of an entry besides its content, about. */
const ENTRY_BYTES = 400;

/**
 * Every entry after `cursor`, oldest first, with the state of the timeline as the same statement saw it; null for an
 * unknown user. A cursor below the floor starts after the floor.
 */
export async function pullTimeline(
  store: Store,
  userId: string,
  cursor: bigint,
  limits: PageLimits,
  nowMs: number,
): Promise<TimelineState & { readonly entries: readonly TimelineEntry[] } | null> {
  // octet_length reads the size of a large text without its bytes: what the page cannot take is never loaded.
  const rows = await store.sql<(TimelineState & { [column in keyof EntryRow]: EntryRow[column] | null })[]>`
    SELECT t.head, t.floor, t.epoch, p.*
    FROM t_user_timeline t
    LEFT JOIN LATERAL (
      SELECT * FROM (
        SELECT u.seq, u.message_id, u.type, u.target, u.line,
          m.sender, m.client_message_id, m.content, m.recipients, m.edited_at_ms, m.expires_at_ms,
          sum(coalesce(octet_length(m.content), 0) + ${ENTRY_BYTES}::int) OVER (ORDER BY u.seq) AS bytes_to_here,
          row_number() OVER (ORDER BY u.seq) AS place
        FROM (
          SELECT * FROM t_user_messages
          WHERE uid = ${userId} AND seq > greatest(${cursor}::bigint, t.floor)
          ORDER BY seq LIMIT ${limits.limit}
        ) u
        LEFT JOIN LATERAL (
          SELECT * FROM t_messages b WHERE b.shard = u.shard AND b.message_id = u.message_id
        ) m ON true
      ) sized
      WHERE bytes_to_here <= ${limits.maxBytes} OR place = 1
    ) p ON true
    WHERE t.uid = ${userId}
    ORDER BY p.seq`;
  const [first] = rows;
  if (first === undefined) return null;
  return {
    head: first.head,
    floor: first.floor,
    epoch: first.epoch,
    entries: first.seq === null ? [] : rows.map((row) => toEntry(row as EntryRow, nowMs)),
  };
}

interface EntryRow {
  readonly seq: bigint;
  readonly message_id: bigint;
  readonly type: number;
  readonly target: string;
  readonly line: number;
  readonly sender: string | null;
  readonly client_message_id: string;
  readonly content: string;
  readonly recipients: string[] | null;
  readonly edited_at_ms: bigint;
  readonly expires_at_ms: bigint;
}

function toEntry(row: EntryRow, nowMs: number): TimelineEntry {
  return {
    seq: row.seq,
    messageId: row.message_id,
    conversation: { type: row.type, target: row.target, line: row.line },
    message: row.sender === null ? null : shownMessage({ ...row, sender: row.sender }, nowMs),
  };
}

/** A body as it stands in `t_messages`. */
export interface BodyRow {
  readonly message_id: bigint;
  readonly type: number;
  readonly line: number;
  readonly sender: string;
  readonly client_message_id: string;
  readonly content: string;
  readonly recipients: string[] | null;
  readonly edited_at_ms: bigint;
  readonly expires_at_ms: bigint;
}

/** The message of a body, or null when its time to be shown is over. */
export function shownMessage(row: BodyRow, nowMs: number): StoredMessage | null {
  if (row.expires_at_ms !== 0n && row.expires_at_ms <= nowMs) return null;
  return {
    messageId: row.message_id,
    clientMessageId: row.client_message_id,
    from: row.sender,
    conversationType: row.type,
    line: row.line,
    contentJson: row.content,
    to: row.recipients ?? [],
    timestamp: messageIdTimeMs(row.message_id),
    editedAt: Number(row.edited_at_ms),
  };
}

/** Which part of a conversation's history is wanted; at most one of `before` and `after`. */
export interface HistoryRange {
  readonly conversationType: number;
  /** As it is stored: for single chats both ids. */
  readonly canonicalTarget: string;
  readonly line: number;
  /** Exclusive; the newest messages when null. */
  readonly before: bigint | null;
  /** Exclusive; with it the messages that follow at once. */
  readonly after: bigint | null;
  /** 1–100. */
  readonly count: number;
  readonly contentTypes: readonly number[] | null;
}

/** Months of one history request, at most: what retention can keep. */
const MAX_MONTHS = 36;

/**
 * Messages of one conversation that `userId` may see, newest first, read month by month until the page is full.
 */
export async function listHistory(
  store: Store,
  userId: string,
  range: HistoryRange,
  nowMs: number,
): Promise<{ readonly messages: readonly StoredMessage[]; readonly hasMore: boolean }> {
  const found: BodyRow[] = [];
  const wanted = range.count + 1;
  const shards = range.after === null ? monthsBack(range.before, nowMs) : monthsForward(range.after, nowMs);
  // The page is nearly always full after the first month; the rest is asked for in growing groups, side by side.
  for (let start = 0, size = 1; start < shards.length && found.length < wanted; start += size, size *= 4) {
    const group = shards.slice(start, start + size);
    const months = await Promise.all(
      group.map((shard) => readMonth(store.sql, shard, userId, range, wanted, nowMs)),
    );
    found.push(...months.flat());
  }
  const page = found.slice(0, range.count);
  if (range.after !== null) page.reverse();
  return {
    messages: page.flatMap((row) => shownMessage(row, nowMs) ?? []),
    hasMore: found.length > range.count,
  };
}

function readMonth(
  sql: Sql,
  shard: number,
  userId: string,
  range: HistoryRange,
  wanted: number,
  nowMs: number,
): Promise<BodyRow[]> {
  const types = range.contentTypes;
  return sql<BodyRow[]>`
    SELECT message_id, type, line, sender, client_message_id, content, recipients, edited_at_ms, expires_at_ms
    FROM t_messages
    WHERE shard = ${shard} AND target = ${range.canonicalTarget} AND type = ${range.conversationType}
      AND line = ${range.line}
      ${range.before === null ? sql`` : sql`AND message_id < ${range.before}`}
      ${range.after === null ? sql`` : sql`AND message_id > ${range.after}`}
      ${types === null ? sql`` : sql`AND content_type = ANY(${[...types]}::int[])`}
      AND (recipients IS NULL OR sender = ${userId} OR ${userId} = ANY(recipients))
      AND (expires_at_ms = 0 OR expires_at_ms > ${nowMs})
    ORDER BY message_id ${range.after === null ? sql`DESC` : sql`ASC`} LIMIT ${wanted}`;
}

function monthsBack(before: bigint | null, nowMs: number): number[] {
  const shards: number[] = [];
  let timeMs = before === null ? nowMs + 1000 : Math.min(messageIdTimeMs(before), nowMs + 1000);
  for (let i = 0; i < MAX_MONTHS; i++) {
    const month = monthOfTime(timeMs);
    shards.push(month.shard);
    timeMs = month.startMs - 1;
  }
  return shards;
}

function monthsForward(after: bigint, nowMs: number): number[] {
  const shards = monthsBack(null, nowMs);
  const start = shards.indexOf(messageShard(after));
  return (start < 0 ? shards : shards.slice(0, start + 1)).reverse();
}
