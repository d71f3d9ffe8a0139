/** The server under measurement: `main.ts` as a process of its own, as an operator starts it. */
import { freePort } from "../../tests/process.ts";
import { makeDataFolder } from "./bench_cluster.ts";
import type { Cleanup } from "./cleanup.ts";

/** How the server is started. */
export interface ServerOptions extends ServerPlace {
  /** Settings besides those every benchmark has. */
  readonly env: Readonly<Record<string, string>>;
  /** Folder for a V8 CPU profile, written when the server stops; `null` for none. */
  readonly profileDir: string | null;
}

/** A running server. */
export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  readonly wsUrl: string;
  readonly adminSecret: string;
  readonly pid: number;
  /** `null`: its own. */
  readonly databaseUrl: string | null;
  /** From the start of the process to the first 200 of `/readyz`. */
  readonly startMs: number;
}

/** Where a server keeps its things. */
export interface ServerPlace {
  /** `null`: it runs its own Postgres under `dataDir`. */
  readonly databaseUrl: string | null;
  /** An existing folder, which is left alone; none: a temporary one. */
  readonly dataDir?: string;
}

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const ADMIN_SECRET = "a secret of the benchmarks alone";
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;
/** What the program needs of its surroundings; a developer's own settings would change the figures. */
const INHERITED = ["PATH", "HOME", "DENO_DIR", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"];

/** Starts a server and waits until it is ready. */
export async function startServer(options: ServerOptions, cleanup: Cleanup): Promise<ServerProcess> {
  await using opened = new AsyncDisposableStack();
  const dataDir = options.dataDir ?? opened.use(await makeDataFolder(cleanup)).path;
  const port = freePort();
  const env: Record<string, string> = {
    PORT: String(port),
    DATA_DIR: dataDir,
    ADMIN_SECRET,
    RATE_LIMITS: "off",
    DRAIN_SECONDS: "0",
    LOG_LEVEL: "warn",
    ...options.databaseUrl !== null && { DATABASE_URL: options.databaseUrl },
    ...options.env,
  };
  for (const name of INHERITED) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  const profiling = options.profileDir === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profileDir}`];
  const startedAt = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...profiling, MAIN],
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
    // Ctrl-C is for the benchmark, which stops the server itself.
    detached: true,
  }).spawn();
  opened.use(cleanup.add(() => stopProcess(child)));
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(child, url);
  const startMs = performance.now() - startedAt;
  const parts = opened.move();
  return {
    url,
    wsUrl: `ws://127.0.0.1:${port}/mqtt`,
    adminSecret: ADMIN_SECRET,
    pid: child.pid,
    databaseUrl: options.databaseUrl,
    startMs,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function waitUntilReady(child: Deno.ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + START_LIMIT_MS;
  let ended: Deno.CommandStatus | null = null;
  child.status.then((status) => ended = status);
  while (performance.now() < deadline) {
    if (ended !== null) throw new Error("The server ended at its start; its reason stands above.");
    try {
      const answer = await fetch(`${url}/readyz`);
      await answer.body?.cancel();
      if (answer.ok) return;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // not listening yet
    }
    await new Promise((resume) => setTimeout(resume, 5));
  }
  throw new Error(`The server was not ready within ${START_LIMIT_MS / 1_000} s.`);
}

/** SIGTERM, and SIGKILL when that is not enough. */
export async function stopProcess(child: Deno.ChildProcess): Promise<void> {
  const kill = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended already
    }
  };
  kill("SIGTERM");
  const timer = setTimeout(() => {
    console.error(`Process ${child.pid} did not stop within ${STOP_LIMIT_MS / 1_000} s and is killed.`);
    kill("SIGKILL");
  }, STOP_LIMIT_MS);
  await child.status;
  clearTimeout(timer);
}
