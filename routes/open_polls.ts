import { AppError } from "../im/mod.ts";

/** Long polls that one address may have open. */
const MAX_PER_ADDRESS = 64;
/** When a place is likely to be free again. */
const RETRY_MS = 5_000;

/** The long polls open on this node, counted by address. */
export class OpenPolls {
  readonly #byAddress = new Map<string, number>();
  readonly #ending = new AbortController();
  #count = 0;

  /** How many are open. */
  get count(): number {
    return this.#count;
  }

  /**
   * Runs a poll; its signal aborts when the client is gone or the server stops.
   *
   * @param key what the client is counted by; null is not limited
   * @param gone aborts when nobody waits for the answer any more
   * @throws {AppError} `request/too-often`; `server/error` once the server stops, since a client that is told to wait
   * on asks again at once
   */
  async hold<T>(
    key: string | null,
    gone: AbortSignal,
    poll: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#requireRunning();
    if (key !== null && (this.#byAddress.get(key) ?? 0) >= MAX_PER_ADDRESS) {
      throw new AppError("request/too-often", "Too many open requests.", { retryAfterMs: RETRY_MS });
    }
    this.#add(key, 1);
    try {
      return await poll(AbortSignal.any([gone, this.#ending.signal]));
    } finally {
      this.#add(key, -1);
    }
  }

  /** Ends the open polls and refuses new ones. */
  end(): void {
    this.#ending.abort();
  }

  #requireRunning(): void {
    if (this.#ending.signal.aborted) {
      throw new AppError("server/error", "The server is stopping. Try again.");
    }
  }

  #add(key: string | null, change: 1 | -1): void {
    this.#count += change;
    if (key === null) return;
    const open = (this.#byAddress.get(key) ?? 0) + change;
    if (open === 0) this.#byAddress.delete(key);
    else this.#byAddress.set(key, open);
  }
}
