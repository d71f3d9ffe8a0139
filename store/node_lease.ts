import type { Log } from "../log.ts";
import type { Sql } from "./sql.ts";
import { StartError } from "./start_error.ts";

/** The number of this node inside message ids, held for as long as it is renewed. */
export interface NodeLease {
  /** 0–63. Another number may stand here after the database was away for longer than the lease. */
  readonly node: number;
  /** Names this holding of the number; changes with it. */
  readonly epoch: string;
  /** The database's clock minus ours, in milliseconds, half a round trip taken off. */
  readonly clockSkewMs: number;
  /** Whether new message ids may be given: the lease surely stands and the clocks agree within 5 s. */
  canSend(): boolean;
  /** Tells other nodes how busy this one is, with the next renewal: the number of open connections. */
  reportLoad(load: number): void;
  /** Gives the number back and stops renewing; safe to call twice. */
  release(): Promise<void>;
}

/** How a node introduces itself. */
export interface NodeLeaseOptions {
  /** Where other nodes and clients reach this one, as text; may be empty for a single node. */
  readonly address: string;
  readonly log: Log;
  /** How long a lease lasts without renewal, and how often it is renewed; 15 s and 5 s. */
  readonly leaseSeconds?: number;
  readonly renewSeconds?: number;
}

/** More than this and a starting node does not become ready. */
const START_SKEW_MS = 2_000;
/** More than this and a running node stops giving ids. */
const SEND_SKEW_MS = 5_000;
/**
 * A number rests this long after its lease ended: two holders whose clocks are off by up to 5 s each must not be
 * able to give the same id.
 */
const REST_SECONDS = 10;

/**
 * Takes the lowest free node number by the database's clock and keeps renewing it.
 *
 * @throws StartError when the clocks differ by more than 2 s or when all 64 numbers are taken.
 */
export async function acquireNodeLease(sql: Sql, options: NodeLeaseOptions): Promise<NodeLease> {
  const lease = new Lease(sql, options);
  await lease.start();
  return lease;
}

class Lease implements NodeLease {
  #node = -1;
  #epoch = "";
  #load = 0;
  #clockSkewMs = 0;
  /** Measured from before the request, on both clocks: one stands still in a suspended machine, the other jumps. */
  #validUntil = { monotonicMs: 0, wallMs: 0 };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewal: Promise<void> = Promise.resolve();
  #released: Promise<void> | null = null;
  #failing = false;
  readonly #sql: Sql;
  readonly #options: NodeLeaseOptions;
  readonly #leaseMs: number;
  readonly #renewMs: number;

  constructor(sql: Sql, options: NodeLeaseOptions) {
    this.#sql = sql;
    this.#options = options;
    this.#leaseMs = (options.leaseSeconds ?? 15) * 1000;
    this.#renewMs = (options.renewSeconds ?? 5) * 1000;
  }

  get node(): number {
    return this.#node;
  }

  get epoch(): string {
    return this.#epoch;
  }

  get clockSkewMs(): number {
    return this.#clockSkewMs;
  }

  canSend(): boolean {
    return this.#released === null && performance.now() < this.#validUntil.monotonicMs &&
      Date.now() < this.#validUntil.wallMs && Math.abs(this.#clockSkewMs) <= SEND_SKEW_MS;
  }

  reportLoad(load: number): void {
    this.#load = load;
  }

  async start(): Promise<void> {
    await this.#measureClock();
    await this.#acquire();
    this.#schedule(this.#renewMs);
  }

  release(): Promise<void> {
    this.#released ??= this.#giveBack();
    return this.#released;
  }

  /** The best of a few round trips, so that a slow first query does not look like a wrong clock. */
  async #measureClock(): Promise<void> {
    let best: { roundTripMs: number; skewMs: number } | null = null;
    for (let attempt = 0; attempt < 5; attempt++) {
      const started = this.#clocks();
      const [row] = await this.#sql<{ now_ms: number }[]>`
        SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms`;
      const roundTripMs = performance.now() - started.monotonicMs;
      const skewMs = row!.now_ms - (started.wallMs + roundTripMs / 2);
      if (best === null || roundTripMs < best.roundTripMs) best = { roundTripMs, skewMs };
      if (Math.abs(best.skewMs) <= START_SKEW_MS / 2) break;
    }
    this.#clockSkewMs = Math.round(best!.skewMs);
    if (Math.abs(this.#clockSkewMs) <= START_SKEW_MS) return;
    const seconds = (Math.abs(this.#clockSkewMs) / 1000).toFixed(1);
    throw new StartError(
      `The clock of this machine is ${seconds} s ${
        this.#clockSkewMs > 0 ? "behind" : "ahead of"
      } the database's; ` +
        "more than 2 s would mix up the order of messages. Set both clocks (NTP) and start again.",
    );
  }

  async #acquire(): Promise<void> {
    const epoch = crypto.randomUUID();
    // Losing a race costs one round; only 64 others can win one.
    for (let round = 0; round < 128; round++) {
      const started = this.#clocks();
      const rows = await this.#sql<{ number: number; now_ms: number }[]>`
        INSERT INTO t_node (number, epoch, address, load, expires_at)
        SELECT candidate.number, ${epoch}, ${this.#options.address}, ${this.#load},
          clock_timestamp() + ${this.#leaseMs} * interval '1 millisecond'
        FROM generate_series(0, 63) AS candidate(number)
        LEFT JOIN t_node AS taken ON taken.number = candidate.number
        WHERE taken.number IS NULL OR taken.expires_at <= clock_timestamp() - ${REST_SECONDS} * interval '1 second'
        ORDER BY candidate.number LIMIT 1
        ON CONFLICT (number) DO UPDATE SET epoch = excluded.epoch, address = excluded.address,
          load = excluded.load, expires_at = excluded.expires_at
        WHERE t_node.expires_at <= clock_timestamp() - ${REST_SECONDS} * interval '1 second'
        RETURNING number, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms`;
      const row = rows[0];
      if (row !== undefined) {
        this.#node = row.number;
        this.#epoch = epoch;
        this.#stands(started, row.now_ms);
        return;
      }
      const [free] = await this.#sql<{ taken: number }[]>`
        SELECT count(*)::int AS taken FROM t_node
        WHERE expires_at > clock_timestamp() - ${REST_SECONDS} * interval '1 second'`;
      if (free!.taken >= 64) break;
    }
    throw new StartError(
      "All 64 node numbers of this database are taken; stop a node, or wait half a minute for one that died.",
    );
  }

  #schedule(delayMs: number): void {
    if (this.#released !== null) return;
    this.#timer = setTimeout(() => {
      this.#renewal = this.#renew();
    }, delayMs);
  }

  async #renew(): Promise<void> {
    try {
      const started = this.#clocks();
      const rows = await this.#sql<{ now_ms: number }[]>`
        UPDATE t_node SET load = ${this.#load},
          expires_at = clock_timestamp() + ${this.#leaseMs} * interval '1 millisecond'
        WHERE number = ${this.#node} AND epoch = ${this.#epoch}
        RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms`;
      const row = rows[0];
      if (row !== undefined) this.#stands(started, row.now_ms);
      else {
        const lost = this.#node;
        await this.#acquire();
        this.#options.log.warn("node number lost and taken anew", { lost, node: this.#node });
      }
      if (this.#failing) this.#options.log.info("node lease renewed again", { node: this.#node });
      this.#failing = false;
      this.#schedule(this.#renewMs);
    } catch (error) {
      if (!this.#failing) {
        this.#options.log.error("node lease not renewed, trying again", error, { node: this.#node });
      }
      this.#failing = true;
      this.#schedule(Math.min(1000, this.#renewMs));
    }
  }

  #stands(started: { monotonicMs: number; wallMs: number }, databaseNowMs: number): void {
    const roundTripMs = performance.now() - started.monotonicMs;
    // A slow answer says nothing about clocks: half of its way may be anywhere.
    if (roundTripMs < 1000) {
      this.#clockSkewMs = Math.round(databaseNowMs - (started.wallMs + roundTripMs / 2));
    }
    this.#validUntil = {
      monotonicMs: started.monotonicMs + this.#leaseMs,
      wallMs: started.wallMs + this.#leaseMs,
    };
    if (Math.abs(this.#clockSkewMs) > SEND_SKEW_MS) {
      this.#options.log.warn("clock off the database's, sending paused", { skewMs: this.#clockSkewMs });
    }
  }

  async #giveBack(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#renewal;
    clearTimeout(this.#timer);
    try {
      // The row stays, without an epoch, so that the number rests before its next holder.
      await this.#sql`
        UPDATE t_node SET epoch = '', load = 0, expires_at = clock_timestamp()
        WHERE number = ${this.#node} AND epoch = ${this.#epoch}`;
    } catch (error) {
      this.#options.log.warn("node number not given back, it expires by itself", { reason: String(error) });
    }
  }

  #clocks(): { monotonicMs: number; wallMs: number } {
    return { monotonicMs: performance.now(), wallMs: Date.now() };
  }
}
