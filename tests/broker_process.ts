/** The server as a process of its own, for tests that look at its memory and at every line it writes. */
import assert from "node:assert/strict";
import { createTestDatabase } from "./database.ts";
import { freePort } from "./process.ts";

/** A line of the log. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly event: string;
  readonly [field: string]: unknown;
}

/** A running server process with a database of its own; it is stopped and cleared away with its test. */
export interface BrokerProcess extends AsyncDisposable {
  readonly url: string;
  readonly wsUrl: string;
  readonly tcpPort: number;
  readonly adminSecret: string;
  readonly dataDir: string;
  /** What it has written so far; what is no line of the log is an `error` called `output`. */
  readonly lines: readonly LogLine[];
  /** Hears of every further line. */
  onLine: ((line: LogLine) => void) | null;
  readonly hasExited: boolean;
  /** A value of `/metrics`. */
  figure(name: string): Promise<number>;
  /** SIGTERM; the exit code. Safe to call twice. */
  stop(): Promise<number>;
}

const ADMIN_SECRET = "a secret of the tests alone";
const START_PATIENCE_MS = 60_000;
const STOP_PATIENCE_MS = 20_000;

/** Starts `main.ts`, with anonymous clients and every topic open unless `settings` say otherwise. */
export async function startBrokerProcess(
  settings: Readonly<Record<string, string>> = {},
): Promise<BrokerProcess> {
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await createTestDatabase());
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-broker-" });
  opened.defer(() => Deno.remove(dataDir, { recursive: true }));
  const [port, tcpPort] = [freePort(), freePort()];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL("../main.ts", import.meta.url).pathname],
    env: {
      PORT: String(port),
      MQTT_TCP_PORT: String(tcpPort),
      DATA_DIR: dataDir,
      DATABASE_URL: database.url,
      ADMIN_SECRET,
      MESSAGE_SHARDS: "4",
      DRAIN_SECONDS: "0",
      LOG_FORMAT: "json",
      BROKER_ANONYMOUS: "true",
      OPEN_TOPICS: "#",
      ...settings,
    },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: LogLine[] = [];
  let hasExited = false;
  const status = child.status.then((ended) => {
    hasExited = true;
    return ended;
  });
  const url = `http://127.0.0.1:${port}`;
  const server = {
    url,
    wsUrl: `ws://127.0.0.1:${port}/mqtt`,
    tcpPort,
    adminSecret: ADMIN_SECRET,
    dataDir,
    lines,
    onLine: null as BrokerProcess["onLine"],
    get hasExited() {
      return hasExited;
    },
    figure: (name: string) => readFigure(url, name),
    async stop() {
      if (!hasExited) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_PATIENCE_MS);
      const [{ code }] = await Promise.all([status, read]);
      clearTimeout(timer);
      return code;
    },
  };
  const read = readLines(child.stderr, (line) => {
    lines.push(line);
    server.onLine?.(line);
  });
  opened.defer(async () => {
    await server.stop();
  });
  const deadline = performance.now() + START_PATIENCE_MS;
  while (!lines.some(({ event }) => event === "ready")) {
    assert.ok(!hasExited, `the server ended at its start: ${JSON.stringify(lines)}`);
    assert.ok(performance.now() < deadline, "the server was not ready in time");
    await new Promise((resume) => setTimeout(resume, 20));
  }
  const parts = opened.move();
  return Object.assign(server, { [Symbol.asyncDispose]: () => parts.disposeAsync() });
}

async function readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>, tell: (line: LogLine) => void) {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = `${rest}${text}`.split("\n");
    rest = parts.pop()!;
    for (const part of parts) tell(parseLine(part));
  }
  if (rest !== "") tell(parseLine(rest));
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { level: "error", event: "output", text };
  }
}

/** A value of `/metrics`. */
async function readFigure(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
  assert.ok(value !== undefined, `${name} is not among the metrics`);
  return Number(value);
}
