/** The server as a process of its own, for tests that kill it. */
import assert from "node:assert/strict";

/** A running server process. */
export interface ServerProcess {
  readonly url: string;
  readonly adminSecret: string;
  readonly dataDir: string;
  readonly pid: number;
  exited(): boolean;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and waits for the exit code. */
  stop(): Promise<number>;
}

const ADMIN_SECRET = "a secret of the tests alone";

/** A port that nobody listens on now. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** Starts `main.ts` on its own PostgreSQL and waits until it is ready. */
export async function startProcess(
  options: { readonly dataDir: string; readonly port: number; readonly env?: Record<string, string> },
): Promise<ServerProcess> {
  const { dataDir, port } = options;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL("../main.ts", import.meta.url).pathname],
    env: {
      PORT: String(port),
      DATA_DIR: dataDir,
      ADMIN_SECRET,
      RATE_LIMITS: "off",
      MESSAGE_SHARDS: "4",
      DRAIN_SECONDS: "1",
      LOG_LEVEL: "error",
      ...options.env,
    },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  // A test that kills makes the log long and of no interest, unless the server ends by itself.
  const said = new Response(child.stderr).text();
  let exited = false;
  const status = child.status.then((ended) => {
    exited = true;
    return ended;
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = performance.now() + 60_000;
  for (;;) {
    if (exited) assert.fail(`the server ended at its start: ${await said}`);
    assert.ok(performance.now() < deadline, "the server was not ready within a minute");
    try {
      const answer = await fetch(`${url}/readyz`);
      await answer.body?.cancel();
      if (answer.ok) break;
    } catch {
      // not listening yet
    }
    await new Promise((resume) => setTimeout(resume, 25));
  }
  return {
    url,
    adminSecret: ADMIN_SECRET,
    dataDir,
    pid: child.pid,
    exited: () => exited,
    async kill() {
      child.kill("SIGKILL");
      await Promise.all([status, said]);
    },
    async stop() {
      if (!exited) child.kill("SIGTERM");
      const [{ code }] = await Promise.all([status, said]);
      return code;
    },
  };
}
