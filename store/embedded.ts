/** Hearth's own PostgreSQL: started with it, watched, started again when it dies, stopped with it. */
import { resolve } from "node:path";
import type { Log } from "../log.ts";
import { lockFolder, makeDataDir } from "./data_dir.ts";
import { type Account, chooseAccount } from "./embedded_account.ts";
import { type Binaries, exists, locateBinaries } from "./embedded_binaries.ts";
import { CLUSTER_USER, makeCluster, stopLeftOver, verifyMajor } from "./embedded_cluster.ts";
import { Postmaster } from "./embedded_postmaster.ts";

/** A running PostgreSQL of our own. */
export interface EmbeddedPostgres {
  /** Address for `openSql`; the same after the server died and was started again. */
  readonly url: string;
  /** Process id of the server now running; null while it is being started again. */
  readonly pid: number | null;
  /** As in `18.4.0-beta.17`. */
  readonly version: string;
  /** How often the server died and was started again. */
  readonly restarts: number;
  /** Calls `listener` each time the server died, before it is started again. */
  onExit(listener: (status: Deno.CommandStatus) => void): void;
  /** Stops the server: clients are disconnected and everything is on disk when this resolves. */
  stop(): Promise<void>;
}

/** Where the server lives. */
export interface EmbeddedOptions {
  /** Its files go to `pg` inside this folder. */
  readonly dataDir: string;
  readonly log: Log;
}

/** A longer socket path does not fit the operating system's address structure (108 bytes, 104 on macOS). */
const MAX_SOCKET_PATH = 99;

/**
 * Starts PostgreSQL on `dataDir`/pg, making the database first when there is none.
 *
 * It listens on a Unix socket in that folder (measured against loopback TCP with this driver: 1.6–1.8 times the
 * queries in sequence, 1.1–1.4 times in parallel), or on a free loopback port where the path is too long for one.
 * Clients need the random password in `dataDir`/pg/password either way.
 *
 * @throws StartError when another Hearth has the folder, when its data is of another major version, when root
 * finds no account to run it as, or where there are no programs for this platform.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { log } = options;
  const dataDir = resolve(options.dataDir);
  const folder = `${dataDir}/pg`;
  await makeDataDir(dataDir);
  if (!await exists(folder)) await Deno.mkdir(folder, { mode: 0o700 });
  const lock = await lockFolder(folder, dataDir);
  try {
    const found = await locateBinaries(folder);
    await verifyMajor(folder, found);
    await stopLeftOver(`${folder}/data`, log);
    const { account, binaries } = await chooseAccount(folder, found, log);
    const password = await makeCluster(folder, binaries, account, log);
    const { url, flags } = await chooseDoor(folder, password);
    const server = new Server({ folder, account, binaries, flags, url, log, release: () => lock.release() });
    await server.start();
    return server;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Durability stays on; the rest is for many small transactions beside a program that needs memory too. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  max_connections: "100",
  shared_buffers: "256MB",
  wal_buffers: "16MB",
  max_wal_size: "2GB",
  min_wal_size: "256MB",
  checkpoint_timeout: "15min",
  jit: "off",
  max_logical_replication_workers: "0",
  logging_collector: "off",
  log_destination: "stderr",
  log_line_prefix: "%m [%p] ",
  log_timezone: "UTC",
  timezone: "UTC",
  lc_messages: "C",
  cluster_name: "hearth",
};

async function chooseDoor(
  folder: string,
  password: string,
): Promise<{ url: string; flags: readonly string[] }> {
  const flags = Object.entries(SETTINGS).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const socket = `${folder}/.s.PGSQL.5432`;
  if (Deno.build.os !== "windows" && new TextEncoder().encode(socket).length <= MAX_SOCKET_PATH) {
    flags.push("-c", "listen_addresses=", "-c", `unix_socket_directories=${quoteList(folder)}`);
    flags.push("-c", "unix_socket_permissions=0700", "-p", "5432");
    const host = encodeURIComponent(folder);
    return { url: `postgres://${CLUSTER_USER}:${password}@localhost:5432/postgres?host=${host}`, flags };
  }
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr;
  probe.close();
  await Promise.resolve();
  flags.push("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", String(port));
  return { url: `postgres://${CLUSTER_USER}:${password}@127.0.0.1:${port}/postgres`, flags };
}

/** A folder name in a setting that takes a comma-separated list of them. */
function quoteList(folder: string): string {
  return `"${folder.replaceAll('"', '""')}"`;
}

interface ServerOptions {
  readonly folder: string;
  readonly account: Account;
  readonly binaries: Binaries;
  readonly flags: readonly string[];
  readonly url: string;
  readonly log: Log;
  readonly release: () => void;
}

/** Keeps one postmaster running until it is stopped. */
class Server implements EmbeddedPostgres {
  readonly url: string;
  readonly version: string;
  readonly #options: ServerOptions;
  readonly #listeners: ((status: Deno.CommandStatus) => void)[] = [];
  #postmaster: Postmaster | null = null;
  #restarts = 0;
  #stopping: Promise<void> | null = null;
  #watch: Promise<void> = Promise.resolve();
  /** Ends a back-off early when the server is to stop. */
  #wake: (() => void) | null = null;
  /** A process that ends without draining takes its database along; only kill -9 leaves it behind. */
  readonly #unload = () => this.#postmaster?.interrupt();

  constructor(options: ServerOptions) {
    this.#options = options;
    this.url = options.url;
    this.version = options.binaries.version;
  }

  get pid(): number | null {
    return this.#postmaster?.pid ?? null;
  }

  get restarts(): number {
    return this.#restarts;
  }

  onExit(listener: (status: Deno.CommandStatus) => void): void {
    this.#listeners.push(listener);
  }

  async start(): Promise<void> {
    this.#postmaster = await Postmaster.start(this.#options);
    this.#watch = this.#supervise(this.#postmaster);
    addEventListener("unload", this.#unload);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#wake?.();
    await this.#postmaster?.stop();
    await this.#watch;
    removeEventListener("unload", this.#unload);
    this.#options.release();
  }

  async #supervise(first: Postmaster): Promise<void> {
    const { log } = this.#options;
    let postmaster: Postmaster = first;
    while (true) {
      const status = await postmaster.exited;
      this.#postmaster = null;
      if (this.#stopping !== null) return;
      log.error("database process ended by itself, starting it again", postmaster.lastLines(), {
        pid: postmaster.pid,
        code: status.code,
        signal: status.signal,
      });
      for (const listener of this.#listeners) listener(status);
      const next = await this.#startAgain();
      if (next === null) return;
      postmaster = next;
    }
  }

  /**
   * The children of a killed postmaster hold its shared memory until they notice; until then a new one refuses to
   * start, so this tries until it is told to stop.
   */
  async #startAgain(): Promise<Postmaster | null> {
    const { log } = this.#options;
    const started = performance.now();
    for (let attempt = 0; this.#stopping === null; attempt++) {
      try {
        const postmaster = await Postmaster.start(this.#options);
        this.#restarts++;
        this.#postmaster = postmaster;
        log.info("database running again", {
          pid: postmaster.pid,
          ms: Math.round(performance.now() - started),
        });
        // Asked to stop in the meantime: stop() has not seen this one.
        if (this.#stopping !== null) await postmaster.stop();
        return postmaster;
      } catch (error) {
        if (attempt > 0 && attempt % 10 === 0) {
          log.error("database does not start again, still trying", error);
        }
        await this.#pause(Math.min(50 * 2 ** attempt, 2000));
      }
    }
    return null;
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopping !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
