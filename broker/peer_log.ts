import type { Log } from "../log.ts";

const BURST = 20;
const PER_SECOND = 1;

/** One line per peer that broke MQTT, but never more than a few a second: a flood of them must not fill the disk. */
export class PeerLog {
  readonly #log: Log;
  #tokens = BURST;
  #atMs = 0;
  #suppressed = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Tells of one; those that were left out are counted in the next line. */
  tell(
    fields: { readonly address: string; readonly reason: string; readonly userId?: string },
    nowMs: number,
  ): void {
    this.#tokens = Math.min(BURST, this.#tokens + Math.max(0, nowMs - this.#atMs) / 1_000 * PER_SECOND);
    this.#atMs = nowMs;
    if (this.#tokens < 1) {
      this.#suppressed++;
      return;
    }
    this.#tokens--;
    this.#log.info("peer broke MQTT", {
      ...fields,
      ...(this.#suppressed === 0 ? {} : { untold: this.#suppressed }),
    });
    this.#suppressed = 0;
  }
}
