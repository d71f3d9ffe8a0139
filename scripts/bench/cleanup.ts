/** What must be stopped or removed, whether the run ends by itself or is interrupted. */
export class Cleanup {
  readonly #open = new Set<() => Promise<void>>();

  /** Remembers how something is closed; disposing of the answer closes it, once. */
  add(close: () => Promise<void>): AsyncDisposable {
    let closed: Promise<void> | null = null;
    const once = () => {
      closed ??= close().finally(() => this.#open.delete(once));
      return closed;
    };
    this.#open.add(once);
    return { [Symbol.asyncDispose]: once };
  }

  /** Closes everything, the newest first; what cannot be closed is printed and does not keep the rest open. */
  async closeAll(): Promise<void> {
    for (let newest = [...this.#open].at(-1); newest !== undefined; newest = [...this.#open].at(-1)) {
      this.#open.delete(newest);
      await newest().catch((error) => console.error(error));
    }
  }
}
