/** What can be flushed. */
export interface Flushable {
  /** Managed by the flusher: whether it stands in the set. */
  isDirty: boolean;
  /** Managed by the flusher: when it was flushed last, on the clock of `performance.now()`. */
  flushedAtMs: number;
  /** Managed by the flusher: flushes that need no pause before them. */
  eagerFlushes: number;
  /** Bytes written and not flushed. */
  readonly dueBytes: number;
  /** Hands over what has been written; must not throw. */
  flush(nowMs: number): void;
}

/** A busy socket gets a frame at most so often: what comes in between joins one frame. */
const PAUSE_MS = 2;
/** After a pause in which nothing came, so many flushes go without: who asks and waits for its answer gets it at once. */
const EAGER_FLUSHES = 1_024;

/**
 * Collects the sockets that were written to in this turn and flushes them behind it, one frame each. `setImmediate`
 * runs behind all microtasks and costs less than a message channel; timers wait a millisecond and more.
 */
export class Flusher {
  #dirty: Flushable[] = [];
  #isScheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Bytes that were due when a pause began. */
  readonly #paused = new Map<Flushable, number>();

  /** Flushes it behind this turn. */
  mark(flushable: Flushable): void {
    if (flushable.isDirty) return;
    flushable.isDirty = true;
    this.#dirty.push(flushable);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#round);
  }

  readonly #round = (): void => {
    this.#isScheduled = false;
    const nowMs = performance.now();
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const flushable of dirty) {
      if (!flushable.isDirty) {
        this.#paused.delete(flushable);
        continue;
      }
      if (nowMs - flushable.flushedAtMs < PAUSE_MS && flushable.eagerFlushes === 0) {
        if (!this.#paused.has(flushable)) this.#paused.set(flushable, flushable.dueBytes);
        this.#dirty.push(flushable);
        continue;
      }
      this.#learn(flushable);
      flushable.isDirty = false;
      flushable.flushedAtMs = nowMs;
      flushable.flush(nowMs);
    }
    if (this.#dirty.length > 0 && this.#timer === undefined && !this.#isScheduled) {
      this.#timer = setTimeout(this.#afterPause, PAUSE_MS);
    }
  };

  /** Whether the pause before this flush was worth it tells whether the next ones need one. */
  #learn(flushable: Flushable): void {
    const dueBytes = this.#paused.get(flushable);
    if (dueBytes === undefined) {
      if (flushable.eagerFlushes > 0) flushable.eagerFlushes--;
      return;
    }
    this.#paused.delete(flushable);
    flushable.eagerFlushes = flushable.dueBytes === dueBytes ? EAGER_FLUSHES : 0;
  }

  readonly #afterPause = (): void => {
    this.#timer = undefined;
    this.#round();
  };
}
