/**
 * The one database connection the commit pipeline writes through.
 *
 * Statements are pipelined on it, so it must be exactly one, never recycled within a transaction, and replaced whole
 * when anything about it is in doubt.
 */

import postgres from "postgres";
import type { Log } from "../log.ts";
import { openSql, type Sql } from "./sql.ts";

/** What SQLSTATE codes say about a failed flush. Source: PostgreSQL manual, appendix A. */
export const SQLSTATE = {
  /**
   * Whether the server refused a statement, so that nothing was stored and the connection still stands. Classes 08
   * (connection), 53 (out of resources), 57 (operator intervention) and 58 (system error) pass with time, as do
   * serialization failures and deadlocks (40); so does everything the driver itself reports.
   */
  isStatementFault(cause: unknown): boolean {
    if (!(cause instanceof postgres.PostgresError)) return false;
    return !/^(08|40|53|57|58)/.test(cause.code);
  },
} as const;

// Batches arrive as arrays of unknown length: the planner guesses ten rows and would change its mind with every
// statistics run. Each statement has one right plan, nested loops over primary keys; it is chosen here once.
const PLANNER = {
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
} as const;

/** A single connection with its own number, which grows each time the connection closes. */
export class PipelineConnection {
  readonly #url: string;
  readonly #log: Log;
  #number = 0;
  #sql: Sql;

  constructor(url: string, log: Log) {
    this.#url = url;
    this.#log = log;
    this.#sql = this.#open();
  }

  /** The pool of one connection. */
  get sql(): Sql {
    return this.#sql;
  }

  /** Grows when the connection closes: a transaction must not go on under another number. */
  get number(): number {
    return this.#number;
  }

  /** Ends a transaction that a statement has spoiled. */
  async rollback(): Promise<void> {
    try {
      await this.#sql`ROLLBACK`;
    } catch (cause) {
      this.#log.debug("rollback failed, taking a new connection", { cause: String(cause) });
      await this.replace();
    }
  }

  /** Drops the connection without waiting for it and opens another. */
  async replace(): Promise<void> {
    const former = this.#sql;
    this.#number++;
    this.#sql = this.#open();
    await former.end({ timeout: 0 }).catch((cause) => {
      this.#log.debug("closing a broken connection failed", { cause: String(cause) });
    });
  }

  /** Ends the connection after what is under way. */
  async close(): Promise<void> {
    await this.#sql.end({ timeout: 5 });
  }

  #open(): Sql {
    return openSql(this.#url, {
      maxConnections: 1,
      log: this.#log,
      applicationName: "hearth commit",
      startupSettings: PLANNER,
      arrayTypes: false, // arrays travel as literals here
      onClose: () => {
        this.#number++;
      },
    });
  }
}
