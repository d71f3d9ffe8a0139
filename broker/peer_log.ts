import type { Log, LogFields } from "../log.ts";

const BURST = 20;
const PER_SECOND = 1;

/** One line per peer that did something wrong, but never more than a few a second: a flood must not fill the disk. */
export class PeerLog {
  readonly #log: Log;
  readonly #event: string;
  readonly #level: "info" | "warn";
  #tokens = BURST;
  #atMs = 0;
  #suppressed = 0;

  /** `event` is what the lines begin with. */
  constructor(log: Log, event = "peer broke MQTT", level: "info" | "warn" = "info") {
    this.#log = log;
    this.#event = event;
    this.#level = level;
  }

  /** Tells of one; those that were left out are counted in the next line. */
  tell(fields: LogFields, nowMs: number): void {
    this.#tokens = Math.min(BURST, this.#tokens + Math.max(0, nowMs - this.#atMs) / 1_000 * PER_SECOND);
    this.#atMs = nowMs;
    if (this.#tokens < 1) {
      this.#suppressed++;
      return;
    }
    this.#tokens--;
    this.#log[this.#level](this.#event, {
      ...fields,
      ...(this.#suppressed === 0 ? {} : { untold: this.#suppressed }),
    });
    this.#suppressed = 0;
  }
}
