/**
 * The commit pipeline: sends of all connections join one fair queue and are stored in batches, one transaction at a
 * time. A flush starts when the previous one is done: an idle server at once, a busy one batches by itself.
 *
 * Nothing is answered before its transaction has committed, and a commit whose outcome was lost with its connection
 * is looked up under the same row locks before anybody is answered.
 */

import type { Log } from "../log.ts";
import { flush, type LostAttempt } from "./flush.ts";
import { MessageIdClock, messageIdTimeMs } from "./ids.ts";
import { type LaneItem, type LaneLimits, Lanes } from "./lanes.ts";
import { MonthGuard } from "./month_guard.ts";
import { type PipelineConnection, SQLSTATE } from "./pipeline_connection.ts";
import type { Send, SendOutcome } from "./send.ts";

/** Limits of the queue; rows are timeline rows. */
export interface CommitLimits extends LaneLimits {
  /** A send that waited so long for its turn is answered `timeout`. */
  readonly patienceMs: number;
  /** A flush is tried again for so long before its sends are answered. */
  readonly flushPatienceMs: number;
}

const COMMIT_LIMITS: CommitLimits = {
  maxRowsPerTake: 4_000,
  maxRowsPerLane: 1_000,
  maxItemsPerLane: 200,
  maxItems: 20_000,
  maxBytes: 64 * 1024 * 1024,
  patienceMs: 5_000,
  flushPatienceMs: 10_000,
};

/** How a send joins the queue. */
export interface SubmitOptions {
  /** Sends of one connection; see {@linkcode SendGeneration}. */
  readonly order: SendGeneration;
  /** When the lane is full: `wait` holds the connection back, `refuse` answers `full` at once. */
  readonly whenFull: "wait" | "refuse";
}

/** Grows when a send of a connection failed for a passing reason; older sends of that connection then fail too. */
export interface SendGeneration {
  readonly generation: number;
}

/** A send that has joined, or is about to. */
export interface Submission {
  /** Resolves when the send has its place in the queue; null when it has it already. */
  readonly entered: Promise<void> | null;
  /** Resolves after the commit; sends of one flush resolve in seq order, in one turn. */
  readonly outcome: Promise<SendOutcome>;
}

/** What the pipeline has done since it was opened. */
export interface CommitStats {
  readonly waiting: number;
  readonly stored: number;
  readonly repeated: number;
  readonly refused: number;
  readonly flushes: number;
  /** Flushes tried again after a failure. */
  readonly retries: number;
  readonly flushMs: number;
}

interface Queued extends LaneItem {
  /** Null for a marker: it is answered in its place and stores nothing. */
  readonly send: Send | null;
  readonly order: SendGeneration;
  readonly generation: number;
  readonly sinceMs: number;
  readonly resolve: (outcome: SendOutcome) => void;
  settled: boolean;
}

interface Waiter {
  readonly queued: Queued;
  readonly enter: () => void;
}

// A marker's answer is not looked at: only its moment counts.
const PASSED: SendOutcome = { status: "refused", reason: "failed" };

/** The order of what belongs to no connection. */
const FREE: SendGeneration = { generation: 0 };

function laneOf(conversationType: number, line: number, target: string): string {
  return `${conversationType}|${line}|${target}`;
}

/** What the pipeline needs. */
export interface CommitPipelineOptions {
  readonly connection: PipelineConnection;
  readonly lease: { readonly node: number; canSend(): boolean };
  readonly log: Log;
  readonly nowMs?: () => number;
  /** Where the queue's limits differ from the usual ones. */
  readonly limits?: Partial<CommitLimits>;
}

/** Stores messages in batches; one per process. */
export class CommitPipeline {
  readonly #connection: PipelineConnection;
  readonly #lease: CommitPipelineOptions["lease"];
  readonly #log: Log;
  readonly #nowMs: () => number;
  readonly #limits: CommitLimits;
  readonly #lanes: Lanes<Queued>;
  readonly #clock = new MessageIdClock();
  readonly #months: MonthGuard;
  #waiters: Waiter[] = [];
  #inFlight: readonly Queued[] = [];
  #running: Promise<void> | null = null;
  #deadline: ReturnType<typeof setInterval> | undefined;
  #closed = false;
  #stats = { stored: 0, repeated: 0, refused: 0, flushes: 0, retries: 0, flushMs: 0 };

  constructor(options: CommitPipelineOptions) {
    this.#limits = { ...COMMIT_LIMITS, ...options.limits };
    this.#lanes = new Lanes(this.#limits);
    this.#connection = options.connection;
    this.#lease = options.lease;
    this.#log = options.log;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#months = new MonthGuard(options.connection);
  }

  /** Counters for metrics and benchmarks. */
  get stats(): CommitStats {
    return { waiting: this.#lanes.size + this.#waiters.length, ...this.#stats };
  }

  /** Puts a send into the queue. */
  submit(send: Send, options: SubmitOptions): Submission {
    let resolve!: (outcome: SendOutcome) => void;
    const outcome = new Promise<SendOutcome>((done) => resolve = done);
    const queued: Queued = {
      lane: laneOf(send.conversationType, send.line, send.canonicalTarget),
      rows: send.receivers.length,
      bytes: send.contentJson.length + 256 + 64 * send.receivers.length,
      send,
      order: options.order,
      generation: options.order.generation,
      sinceMs: this.#nowMs(),
      resolve,
      settled: false,
    };
    if (this.#closed) {
      this.#settle(queued, { status: "refused", reason: "failed" });
      return { entered: null, outcome };
    }
    this.#armDeadline();
    if (this.#lanes.hasRoom(queued.lane)) {
      this.#push(queued);
      return { entered: null, outcome };
    }
    if (options.whenFull === "refuse") {
      this.#settle(queued, { status: "refused", reason: "full" });
      return { entered: null, outcome };
    }
    const entered = new Promise<void>((enter) => this.#waiters.push({ queued, enter }));
    return { entered, outcome };
  }

  /**
   * Waits for the messages of a conversation that were submitted before, and gives an id and a time behind theirs
   * for a message that is not stored. It has its place in the queue at once, and resolves among the sends of its
   * flush in that place.
   */
  pass(
    conversationType: number,
    line: number,
    target: string,
  ): Promise<{ readonly messageId: bigint; readonly timestamp: number }> {
    const number = () => {
      const messageId = this.#clock.next(this.#nowMs(), this.#lease.node, 0n);
      return { messageId, timestamp: messageIdTimeMs(messageId) };
    };
    if (this.#running === null) return Promise.resolve(number());
    return new Promise((resolve) => {
      this.#armDeadline();
      this.#push({
        lane: laneOf(conversationType, line, target),
        rows: 0,
        bytes: 0,
        send: null,
        order: FREE,
        generation: 0,
        sinceMs: this.#nowMs(),
        resolve: () => resolve(number()),
        settled: false,
      });
    });
  }

  /** Stores what is waiting and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#running !== null) await this.#running;
    clearInterval(this.#deadline);
    this.#deadline = undefined;
    await this.#connection.close();
  }

  #push(queued: Queued): void {
    this.#lanes.push(queued);
    // Begun in a microtask, so that a frame full of sends makes one batch and not one message and the rest.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    try {
      while (this.#lanes.size > 0) {
        const batch = this.#lanes.take().filter((queued) => !this.#isWithdrawn(queued));
        this.#admitWaiters();
        if (batch.length > 0) await this.#store(batch);
      }
    } finally {
      this.#running = null;
    }
  }

  /** Sends that were answered while waiting, or whose connection has failed a send since, are not stored. */
  #isWithdrawn(queued: Queued): boolean {
    if (queued.settled) return true;
    if (queued.generation === queued.order.generation) return false;
    this.#settle(queued, { status: "refused", reason: "earlier-failed" });
    return true;
  }

  /** Flushes a batch until its outcome is known or patience ends. */
  async #store(batch: Queued[]): Promise<void> {
    this.#inFlight = batch;
    const startedAt = performance.now();
    const lost = new Map() as Map<Send, Extract<SendOutcome, { status: "stored" }>>;
    let open = batch;
    for (let attempt = 0;; attempt++) {
      const failure = await this.#attempt(open, lost);
      if (failure === null) break;
      const unanswered = open.filter((queued) => !queued.settled);
      if (failure.kind === "statement" && open.length > 1) {
        await this.#storeHalves(open, lost);
        break;
      }
      const patient = performance.now() - startedAt < this.#limits.flushPatienceMs;
      if (failure.kind === "statement" || !patient || unanswered.length === 0) {
        this.#log.error("messages not stored", failure.cause, { messages: open.length });
        this.#refuse(open, "failed");
        break;
      }
      this.#stats.retries++;
      if (attempt === 0) {
        this.#log.warn("database lost within a flush, trying again", { messages: open.length });
      }
      await new Promise((resume) => setTimeout(resume, Math.min(50 * 2 ** attempt, 1_000)));
      open = open.filter((queued) =>
        (queued.send !== null && lost.has(queued.send)) || !this.#isWithdrawn(queued)
      );
    }
    this.#inFlight = [];
    this.#stats.flushes++;
    this.#stats.flushMs += performance.now() - startedAt;
  }

  /** A statement failed for all: find whose fault it is, keeping order within each connection. */
  async #storeHalves(batch: Queued[], lost: LostAttempt): Promise<void> {
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      const open = half.filter((queued) => !this.#isWithdrawn(queued));
      if (open.length === 0) continue;
      const failure = await this.#attempt(open, new Map(lost));
      if (failure === null) continue;
      if (open.length > 1) await this.#storeHalves(open, lost);
      else {
        this.#log.error("a message could not be stored", failure.cause);
        this.#refuse(open, "failed");
      }
    }
  }

  /** One transaction; null when it committed and everybody was answered. */
  async #attempt(
    batch: readonly Queued[],
    lost: Map<Send, Extract<SendOutcome, { status: "stored" }>>,
  ): Promise<{ kind: "statement" | "connection"; cause: unknown } | null> {
    if (!this.#lease.canSend()) {
      this.#refuse(batch, "clock");
      return null;
    }
    const sends = batch.flatMap((queued) => queued.send === null ? [] : [queued.send]);
    let outcomes: SendOutcome[] = [];
    if (sends.length > 0) {
      try {
        const nowMs = this.#nowMs();
        await this.#months.learn(nowMs);
        outcomes = await flush(
          this.#connection.sql,
          () => this.#connection.number,
          sends,
          {
            clock: this.#clock,
            node: this.#lease.node,
            nowMs,
            isShardTaken: (shard) => this.#months.isTaken(shard),
          },
          lost,
          (numbered) => {
            for (const [send, stored] of numbered) lost.set(send, stored);
          },
        );
      } catch (cause) {
        if (SQLSTATE.isStatementFault(cause)) {
          await this.#connection.rollback();
          return { kind: "statement", cause };
        }
        await this.#connection.replace();
        return { kind: "connection", cause };
      }
    }
    // One synchronous loop: the continuations run in seq order, each sender's answer before the next message.
    let next = 0;
    for (const queued of batch) {
      if (queued.send === null) this.#settle(queued, PASSED);
      else this.#settle(queued, outcomes[next++]!);
    }
    return null;
  }

  #refuse(batch: readonly Queued[], reason: Extract<SendOutcome, { status: "refused" }>["reason"]): void {
    for (const queued of batch) this.#settle(queued, { status: "refused", reason });
  }

  #settle(queued: Queued, outcome: SendOutcome): void {
    if (queued.settled) return;
    queued.settled = true;
    if (queued.send !== null) this.#stats[outcome.status]++;
    queued.resolve(outcome);
  }

  #admitWaiters(): void {
    if (this.#waiters.length === 0) return;
    const still: Waiter[] = [];
    const full = new Set<string>(); // a lane's waiters enter in the order they came
    for (const waiter of this.#waiters) {
      const { queued } = waiter;
      if (this.#isWithdrawn(queued)) waiter.enter();
      else if (full.has(queued.lane) || !this.#lanes.hasRoom(queued.lane)) {
        full.add(queued.lane);
        still.push(waiter);
      } else {
        this.#push(queued);
        waiter.enter();
      }
    }
    this.#waiters = still;
  }

  /** One timer for all: answers what has waited too long, and stops itself when nothing waits. */
  #armDeadline(): void {
    this.#deadline ??= setInterval(() => {
      const nowMs = this.#nowMs();
      for (const waiter of this.#waiters) this.#expire(waiter.queued, nowMs, this.#limits.patienceMs);
      this.#admitWaiters();
      this.#lanes.forEach((queued) => this.#expire(queued, nowMs, this.#limits.patienceMs));
      for (const queued of this.#inFlight) this.#expire(queued, nowMs, this.#limits.flushPatienceMs);
      if (this.#lanes.size === 0 && this.#waiters.length === 0 && this.#inFlight.length === 0) {
        clearInterval(this.#deadline);
        this.#deadline = undefined;
      }
    }, 500);
  }

  #expire(queued: Queued, nowMs: number, patienceMs: number): void {
    if (!queued.settled && nowMs - queued.sinceMs > patienceMs) {
      this.#settle(queued, { status: "refused", reason: "timeout" });
    }
  }
}
