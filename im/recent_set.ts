/**
 * Values that were looked for lately, as many as fit: the oldest are forgotten half a set at a time, so that finding one
 * moves nothing.
 */
export class RecentSet {
  readonly #half: number;
  #young = new Set<string>();
  #old: ReadonlySet<string> = new Set<string>();

  /** Holds at most `capacity` values, and always the last half as many that were added or found. */
  constructor(capacity: number) {
    this.#half = Math.ceil(capacity / 2);
  }

  /** Whether a value is remembered; then it counts as used. */
  has(value: string): boolean {
    if (this.#young.has(value)) return true;
    if (!this.#old.has(value)) return false;
    this.add(value);
    return true;
  }

  /** Remembers a value. */
  add(value: string): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(value);
  }
}
