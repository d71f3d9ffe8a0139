import type { ByteStream } from "./byte_stream.ts";

/** The streams that are not closed on both sides: a connection that is over may still have its last word to send. */
export class OpenStreams {
  /** With what is to happen when the stream is closed. */
  readonly #streams = new Map<ByteStream, (() => void) | null>();
  #idle: (() => void)[] = [];

  /** A stream was opened. */
  add(stream: ByteStream): void {
    this.#streams.set(stream, null);
  }

  /** Calls `done` once, when the stream is closed on both sides: at once when it is. */
  whenClosed(stream: ByteStream, done: () => void): void {
    if (this.#streams.has(stream)) this.#streams.set(stream, done);
    else done();
  }

  /** A stream is closed; saying it again changes nothing. */
  delete(stream: ByteStream): void {
    const done = this.#streams.get(stream);
    if (!this.#streams.delete(stream)) return;
    done?.();
    if (this.#streams.size > 0) return;
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
