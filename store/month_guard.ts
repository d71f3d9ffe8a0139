import { messageIdTimeMs, monthOfTime } from "./ids.ts";
import type { PipelineConnection } from "./pipeline_connection.ts";

/**
 * Watches that a month's partition of `t_messages` does not take rows while it still holds those of three years ago.
 *
 * Partitions repeat every 36 months and are emptied by the retention job alone; where that has not happened, sends
 * are refused rather than mixing years.
 */
export class MonthGuard {
  readonly #connection: PipelineConnection;
  #knownMonthMs = -1;
  #takenShard: number | null = null;

  constructor(connection: PipelineConnection) {
    this.#connection = connection;
  }

  /** Looks at the partition of a moment's month once a month. */
  async learn(timeMs: number): Promise<void> {
    const month = monthOfTime(timeMs);
    if (month.startMs === this.#knownMonthMs) return;
    const [oldest] = await this.#connection.sql<{ message_id: bigint }[]>`
      SELECT message_id FROM t_messages WHERE shard = ${month.shard} ORDER BY message_id LIMIT 1`;
    const monthsApart = oldest === undefined
      ? 0
      : month.startMs - monthOfTime(messageIdTimeMs(oldest.message_id)).startMs;
    this.#takenShard = monthsApart > 0 ? month.shard : null;
    this.#knownMonthMs = month.startMs;
  }

  /** Whether the shard still holds another year's rows. */
  isTaken(shard: number): boolean {
    return shard === this.#takenShard;
  }
}
