import type { Log } from "../log.ts";

/** One rotation is kept beside the current file, so the two together stay below twice this. */
const MAX_FILE_BYTES = 5 * 1024 * 1024;
const KEPT_LINES = 30;

/** What the database server writes: kept in a bounded file, and told to our log when it is grave. */
export class ServerLog {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #path: string;
  readonly #log: Log;
  readonly #lines: string[] = [];
  readonly #finished: Promise<void>;
  #waiting: { readonly text: string; readonly resolve: (found: boolean) => void } | null = null;
  #over = false;

  constructor(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
    options: { readonly path: string; readonly log: Log },
  ) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    this.#path = options.path;
    this.#log = options.log;
    this.#finished = this.#read();
  }

  /** Resolves to true when a line with `text` came, to false when the server ended or `limitMs` passed first. */
  async waitFor(text: string, limitMs: number): Promise<boolean> {
    if (this.#lines.some((line) => line.includes(text))) return true;
    if (this.#over) return false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const found = await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), limitMs);
      this.#waiting = { text, resolve };
    });
    clearTimeout(timer);
    this.#waiting = null;
    return found;
  }

  /** The newest lines, as one text. */
  lastLines(): string {
    return this.#lines.join("\n");
  }

  /**
   * Stops reading once the process has ended. Its children may keep the pipe open a little longer; what they say
   * about the death of their parent is not waited for.
   */
  async close(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, 200));
    await Promise.race([this.#finished, limit]);
    clearTimeout(timer);
    await this.#reader.cancel();
    await this.#finished;
  }

  async #read(): Promise<void> {
    let rest = "";
    let bytes = await this.#size();
    while (true) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      if (lines.length === 0) continue;
      for (const line of lines) this.#take(line);
      const text = `${lines.join("\n")}\n`;
      bytes += text.length;
      try {
        if (bytes > MAX_FILE_BYTES) {
          await Deno.rename(this.#path, `${this.#path}.1`);
          bytes = text.length;
        }
        await Deno.writeTextFile(this.#path, text, { append: true, mode: 0o600 });
      } catch (error) {
        // A full disk must not stop the reading: the server would block on its pipe.
        this.#log.warn("database log not written", { path: this.#path, reason: String(error) });
      }
    }
    if (rest !== "") this.#take(rest);
    this.#over = true;
    this.#waiting?.resolve(false);
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    if (/\b(PANIC|WARNING):/.test(line)) this.#log.warn("database says", { text: line });
    else this.#log.debug("database says", { text: line });
    if (this.#waiting !== null && line.includes(this.#waiting.text)) this.#waiting.resolve(true);
  }

  async #size(): Promise<number> {
    try {
      return (await Deno.stat(this.#path)).size;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }
}
