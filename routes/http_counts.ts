/** How many requests were answered, by the first digit of their status. */
export class HttpCounts {
  readonly #byClass = new Map<number, number>();

  /** Counts an answer. */
  add(status: number): void {
    const digit = Math.floor(status / 100);
    this.#byClass.set(digit, (this.#byClass.get(digit) ?? 0) + 1);
  }

  /** `2xx` and its like, with their counts. */
  entries(): readonly (readonly [string, number])[] {
    return [1, 2, 3, 4, 5].map((digit) => [`${digit}xx`, this.#byClass.get(digit) ?? 0]);
  }
}
