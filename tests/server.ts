/** The real server on a free port, with a fresh database and a folder of its own. */
import { type Config, type Env, readConfig } from "../config.ts";
import type { Log } from "../log.ts";
import { boot, type Hearth } from "../main.ts";
import { createTestDatabase, quietLog } from "./database.ts";

/** A running server that is drained and cleared away with its test. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** Where MQTT over WebSocket connects. */
  readonly wsUrl: string;
  /** The port of plain MQTT. */
  readonly tcpPort: number;
  readonly adminSecret: string;
  readonly config: Config;
  readonly hearth: Hearth;
}

/** Starts a server; `overrides` are settings as in the environment, `log` is for tests that read it. */
export async function startServer(overrides: Env = {}, log: Log = quietLog()): Promise<TestServer> {
  await using opened = new AsyncDisposableStack();
  const database = opened.use(await createTestDatabase());
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-server-" });
  opened.defer(() => Deno.remove(dataDir, { recursive: true }));
  const config = readConfig({
    PORT: "0",
    MQTT_TCP_PORT: "0",
    DATA_DIR: dataDir,
    DATABASE_URL: database.url,
    // Few partitions: the schema of a test server is made in a tenth of the time.
    MESSAGE_SHARDS: "4",
    DRAIN_SECONDS: "0",
    ...overrides,
  });
  const hearth = await boot(config, { log });
  opened.defer(() => hearth.drain("the test is over"));
  const parts = opened.move();
  return {
    url: hearth.url,
    wsUrl: `${hearth.url.replace(/^http/, "ws")}/mqtt`,
    tcpPort: hearth.mqttTcpPort ?? 0,
    adminSecret: hearth.adminSecret,
    config,
    hearth,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
