import type { Log } from "../log.ts";
import { type Account, commandAs } from "./embedded_account.ts";
import type { Binaries } from "./embedded_binaries.ts";
import { ServerLog } from "./embedded_log.ts";

/** What a postmaster is started with. */
export interface PostmasterOptions {
  readonly folder: string;
  readonly account: Account;
  readonly binaries: Binaries;
  readonly flags: readonly string[];
  readonly log: Log;
}

/** What the server says when clients may come; the language is fixed by its settings. */
const READY = "database system is ready to accept connections";
/** Replaying the log after a crash can take this long; then something is wrong. */
const START_LIMIT_MS = 300_000;
/** A fast shutdown writes a checkpoint, at most `max_wal_size` of dirty pages. */
const FAST_STOP_MS = 20_000;
const HARD_STOP_MS = 5_000;

/** One run of the PostgreSQL server process. */
export class Postmaster {
  readonly pid: number;
  /** Resolves when the process has ended, whatever the reason. */
  readonly exited: Promise<Deno.CommandStatus>;
  readonly #child: Deno.ChildProcess;
  readonly #output: ServerLog;

  private constructor(child: Deno.ChildProcess, output: ServerLog) {
    this.#child = child;
    this.#output = output;
    this.pid = child.pid;
    this.exited = this.#end();
  }

  /** Starts the server and waits until it takes clients; rejects with what it said when it does not. */
  static async start(options: PostmasterOptions): Promise<Postmaster> {
    const { folder, account, binaries, flags } = options;
    const args = ["-D", `${folder}/data`, ...flags];
    const child = commandAs(account, binaries.postgres, args, {
      env: { ...binaries.env },
      cwd: folder,
      stdout: "null",
      stderr: "piped",
      // Ctrl-C in a terminal reaches the whole process group; the database must outlive the drain.
      detached: true,
    }).spawn();
    const output = new ServerLog(child.stderr, { path: `${folder}/log`, log: options.log });
    const postmaster = new Postmaster(child, output);
    const ready = await output.waitFor(READY, START_LIMIT_MS);
    if (ready) return postmaster;
    await postmaster.stop();
    throw new Error(`PostgreSQL did not start: ${output.lastLines()}`);
  }

  /** The newest lines of the server's log. */
  lastLines(): string {
    return this.#output.lastLines();
  }

  /** Ends the process: fast, then hard, each for a bounded time. */
  async stop(): Promise<void> {
    for (
      const [signal, limitMs] of [["SIGINT", FAST_STOP_MS], ["SIGQUIT", HARD_STOP_MS], [
        "SIGKILL",
        HARD_STOP_MS,
      ]] as const
    ) {
      this.#signal(signal);
      if (await this.#endsWithin(limitMs)) return;
    }
  }

  /** Asks for a fast stop and does not wait. */
  interrupt(): void {
    this.#signal("SIGINT");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended already, which is what was asked for.
    }
  }

  async #end(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await this.#output.close();
    return status;
  }

  async #endsWithin(limitMs: number): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), limitMs));
    const ended = await Promise.race([this.exited.then(() => true as const), limit]);
    clearTimeout(timer);
    return ended;
  }
}
