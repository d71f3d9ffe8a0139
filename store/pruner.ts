/**
 * Forgets what is remembered for a limited time in Postgres: requests after 24 hours, senders' message ids after 30
 * days. In steps, so that no statement holds many rows, and safe on several nodes at once.
 */

import type { Log } from "../log.ts";
import { firstMessageIdAt, messageIdTimeMs, monthOfTime } from "./ids.ts";
import type { Sql } from "./sql.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** How long a `requestId` answers for its request. */
const KEEP_REQUESTS_MS = DAY_MS;
/** How long a `clientMessageId` answers for its message. */
const KEEP_CLIENT_MESSAGES_MS = 30 * DAY_MS;

/** The most rows of one step. The number stands in the statements: the planner must know that it is small. */
const STEP = 1_000;
/** Between two steps while there is more to do. */
const PAUSE_MS = 20;

/** How a pruner works. */
export interface PrunerOptions {
  readonly log: Log;
  /** Milliseconds since 1970; the system's clock by default. */
  readonly nowMs?: () => number;
  /** Between two runs, the first of which begins at once; a minute. */
  readonly intervalMs?: number;
}

/** Prunes from time to time, from when it is made until it is closed; one per process. */
export class Pruner {
  readonly #sql: Sql;
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #intervalMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isFailing = false;

  constructor(sql: Sql, options: PrunerOptions) {
    this.#sql = sql;
    this.#log = options.log;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#intervalMs = options.intervalMs ?? 60_000;
    this.#schedule(0);
  }

  /** Finishes the step under way and begins no other. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#step();
    }, delayMs);
  }

  async #step(): Promise<void> {
    let hasMore = false;
    try {
      const requests = await pruneClientRequests(this.#sql, this.#nowMs());
      const messages = await pruneClientMessages(this.#sql, this.#nowMs());
      hasMore = requests || messages;
      this.#isFailing = false;
    } catch (cause) {
      // Said once: while the database is away, every run fails.
      if (!this.#isFailing) this.#log.error("old requests and message ids not forgotten", cause);
      this.#isFailing = true;
    }
    this.#schedule(hasMore ? PAUSE_MS : this.#intervalMs);
  }
}

/** Forgets at most 1,000 requests that are older than 24 hours; whether there may be more. */
export async function pruneClientRequests(sql: Sql, nowMs: number): Promise<boolean> {
  const { count } = await sql`
    DELETE FROM t_client_requests WHERE (uid, client_id, request_id) IN (
      SELECT uid, client_id, request_id FROM t_client_requests
      WHERE created_at_ms < ${nowMs - KEEP_REQUESTS_MS} ORDER BY created_at_ms
      LIMIT ${sql.unsafe(String(STEP))} FOR UPDATE SKIP LOCKED)`;
  return count === STEP;
}

/**
 * Forgets what at most 1,000 senders' message ids became, 30 days and longer ago; whether there may be more.
 *
 * The rows are found through the messages themselves, month by month in the order of their ids: `t_client_messages`
 * needs no index by time, which every send would pay for.
 */
export function pruneClientMessages(sql: Sql, nowMs: number): Promise<boolean> {
  const end = firstMessageIdAt(nowMs - KEEP_CLIENT_MESSAGES_MS);
  return sql.begin(async (transaction) => {
    // Another node that is at it has the row.
    const [position] = await transaction<{ message_id: bigint }[]>`
      SELECT message_id FROM t_pruning WHERE name = 'client_messages' FOR UPDATE SKIP LOCKED`;
    if (position === undefined || position.message_id >= end) return false;
    const start = position.message_id;
    const month = monthOfTime(messageIdTimeMs(start));
    const monthEnd = firstMessageIdAt(month.endMs);
    const stop = monthEnd < end ? monthEnd : end;
    const [walked] = await transaction<{ count: number; last: bigint | null }[]>`
      WITH old AS (
        SELECT message_id, sender, client_message_id FROM t_messages
        WHERE shard = ${month.shard} AND message_id >= ${start} AND message_id < ${stop}
        ORDER BY message_id LIMIT ${transaction.unsafe(String(STEP))}
      ), forgotten AS (
        DELETE FROM t_client_messages c USING old
        WHERE c.sender = old.sender AND c.client_message_id = old.client_message_id
          AND c.message_id = old.message_id
      )
      SELECT count(*)::int AS count, max(message_id) AS last FROM old`;
    const { count, last } = walked!;
    const next = count === STEP ? last! + 1n : stop;
    await transaction`UPDATE t_pruning SET message_id = ${next} WHERE name = 'client_messages'`;
    return next < end;
  });
}
