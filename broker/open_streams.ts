import type { ByteStream } from "./byte_stream.ts";

/** The streams that are not closed on both sides: a connection that is over may still have its last word to send. */
export class OpenStreams {
  readonly #streams = new Set<ByteStream>();
  #idle: (() => void)[] = [];

  /** A stream was opened. */
  add(stream: ByteStream): void {
    this.#streams.add(stream);
  }

  /** A stream is closed; saying it again changes nothing. */
  delete(stream: ByteStream): void {
    if (!this.#streams.delete(stream) || this.#streams.size > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  /** Resolves when none is open, or when their peers have had so long. */
  async settled(patienceMs: number): Promise<void> {
    if (this.#streams.size === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
      timer = setTimeout(resolve, patienceMs);
    });
    clearTimeout(timer);
  }
}
