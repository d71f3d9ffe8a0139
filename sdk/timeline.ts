/**
 * The client rule for timelines, without any I/O: which entries apply, when to pull, when to start over.
 *
 * @module
 */

/** What to do with an entry: it is the next one, something before it is missing, or it is known. */
export type Verdict = "apply" | "pull" | "ignore";

/** Where a client stands, to be kept between runs. */
export interface Position {
  /** The server's epoch this position belongs to. */
  readonly epoch: string;
  /** The last applied seq of the user's own timeline, a decimal string. */
  readonly cursor: string;
}

/** What a pull brought. */
export interface PulledPage<E> {
  /** Oldest first, seq after seq. */
  readonly entries: readonly E[];
  /** Everything up to here has been given. */
  readonly cursor: string;
  /** The newest seq there is. */
  readonly head: string;
  /** The oldest seq kept. */
  readonly floor: string;
}

/** One timeline as a client holds it: a cursor without gaps, and the newest seq it has heard of. */
export class Timeline {
  #cursor: bigint;
  #heard: bigint;

  /** Everything up to `cursor` counts as applied. */
  constructor(cursor: string) {
    this.#cursor = this.#heard = BigInt(cursor);
  }

  /** The last applied seq, a decimal string. */
  get cursor(): string {
    return String(this.#cursor);
  }

  /** Whether something is known to be missing. */
  get isBehind(): boolean {
    return this.#heard > this.#cursor;
  }

  /** Judges an entry that arrived; `apply` moves the cursor. */
  offer(seq: string): Verdict {
    const number = BigInt(seq);
    if (number > this.#heard) this.#heard = number;
    if (number <= this.#cursor) return "ignore";
    if (number > this.#cursor + 1n) return "pull";
    this.#cursor = number;
    return "apply";
  }

  /** Notes that the timeline goes at least as far as `head`. */
  hear(head: string): void {
    const number = BigInt(head);
    if (number > this.#heard) this.#heard = number;
  }

  /**
   * Takes a page: returns what of it is new, in order, and moves the cursor to the page's. Entries that events
   * applied meanwhile are left out.
   */
  take<E extends { readonly seq: string }>(page: PulledPage<E>): E[] {
    const news = page.entries.filter((entry) => BigInt(entry.seq) > this.#cursor);
    const cursor = BigInt(page.cursor);
    if (cursor > this.#cursor) this.#cursor = cursor;
    this.hear(page.head);
    return news;
  }
}

/** How to go on after `sync`. */
export type Start = "continue" | "new-device";

/**
 * Decides after `sync` whether a held position still leads on: not when there is none, when the epoch changed,
 * when the server stands behind the client, when what follows is no longer kept, or when more than `maxCatchUp`
 * entries were missed and starting over is cheaper.
 */
export function startAfterSync(
  held: Position | null,
  answer: { readonly epoch: string; readonly head: string; readonly floor: string },
  maxCatchUp: number,
): Start {
  if (held === null || held.epoch !== answer.epoch) return "new-device";
  const cursor = BigInt(held.cursor);
  const head = BigInt(answer.head);
  if (cursor > head || cursor < BigInt(answer.floor)) return "new-device";
  return head - cursor > BigInt(Math.min(maxCatchUp, Number.MAX_SAFE_INTEGER)) ? "new-device" : "continue";
}
