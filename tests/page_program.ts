/** Hearth as `deno task start` runs it, in a folder of its own. */
import assert from "node:assert/strict";
import { launch } from "./launch.ts";

/** The program as a process that can be stopped and started again on the same folder and port. */
export class Program implements AsyncDisposable {
  readonly #folder: string;
  #port = 0;
  #running: { stop(): Promise<void> } | null = null;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts on an empty folder. */
  static async onEmptyFolder(): Promise<Program> {
    const folder = await Deno.makeTempDir({ prefix: "hearth-page-" });
    // The database may run under another account, which has to get through here.
    await Deno.chmod(folder, 0o711);
    const program = new Program(folder);
    await program.start();
    return program;
  }

  /** `http://127.0.0.1:<port>`. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The secret that the first start made. */
  readAdminSecret(): Promise<string> {
    return Deno.readTextFile(`${this.#folder}/data/admin_secret`);
  }

  /** The port it listens on. */
  get port(): number {
    return this.#port;
  }

  /** Starts the process and waits for the line that names its address. */
  async start(): Promise<void> {
    const launched = launch({
      PORT: String(this.#port),
      DATA_DIR: `${this.#folder}/data`,
      DRAIN_SECONDS: "1",
      // Some pages are looked at with more than anybody writes in a minute.
      RATE_LIMITS: "off",
      // Quiet: a line read while some other test runs is what the sanitizers would find there.
      LOG_LEVEL: "error",
    });
    this.#port = Number(new URL(await launched.ready).port);
    this.#running = {
      async stop() {
        launched.kill("SIGTERM");
        const { code, output } = await launched.ended;
        assert.equal(code, 0, output);
      },
    };
  }

  /** SIGTERM, and waits for the clean end. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      await Deno.remove(this.#folder, { recursive: true });
    }
  }
}
