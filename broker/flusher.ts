/** What can be flushed. */
export interface Flushable {
  /** Managed by the flusher: whether it stands in the set. */
  isDirty: boolean;
  /** When it was flushed last, on the clock of `performance.now()`. */
  flushedAtMs: number;
  /** Hands over what has been written; must not throw. */
  flush(nowMs: number): void;
}

/** A busy socket gets a frame at most so often: what comes in between joins one frame. */
const PAUSE_MS = 2;

/**
 * Collects the sockets that were written to in this turn and flushes them behind it, one frame each. `setImmediate`
 * runs behind all microtasks and costs less than a message channel; timers wait a millisecond and more.
 */
export class Flusher {
  #dirty: Flushable[] = [];
  #isScheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

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
      if (!flushable.isDirty) continue;
      if (nowMs - flushable.flushedAtMs < PAUSE_MS) {
        this.#dirty.push(flushable);
        continue;
      }
      flushable.isDirty = false;
      flushable.flushedAtMs = nowMs;
      flushable.flush(nowMs);
    }
    if (this.#dirty.length > 0 && this.#timer === undefined && !this.#isScheduled) {
      this.#timer = setTimeout(this.#afterPause, PAUSE_MS);
    }
  };

  readonly #afterPause = (): void => {
    this.#timer = undefined;
    this.#round();
  };
}
