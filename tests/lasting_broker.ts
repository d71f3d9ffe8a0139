/** An ordinary MQTT broker as a process of its own, that tests end and start again on what it has stored. */
import assert from "node:assert/strict";
import type { ProtocolLevel } from "../broker/packet.ts";
import { ConformanceClient, type Hello } from "./conformance_client.ts";
import { createTestDatabase } from "./database.ts";
import { RawClient, type Target } from "./mqtt_client.ts";
import { freePort, type ServerProcess, startProcess } from "./process.ts";

/** How a process ends. */
export type Ending = "kill -9" | "a normal stop";

/** Both of them. */
export const ENDINGS: readonly Ending[] = ["kill -9", "a normal stop"];

/** A server that takes anybody in and has every topic open; what it stores stays until its test ends. */
export class LastingBroker implements Target, AsyncDisposable {
  readonly #env: Record<string, string>;
  readonly #dataDir: string;
  readonly #parts: AsyncDisposableStack;
  #server: ServerProcess | null = null;
  tcpPort = 0;
  wsUrl = "";

  private constructor(env: Record<string, string>, dataDir: string, parts: AsyncDisposableStack) {
    this.#env = env;
    this.#dataDir = dataDir;
    this.#parts = parts;
  }

  /** Starts a server with nothing stored; `settings` are as in the environment. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<LastingBroker> {
    await using parts = new AsyncDisposableStack();
    const database = parts.use(await createTestDatabase());
    const dataDir = await Deno.makeTempDir({ prefix: "hearth-broker-" });
    parts.defer(() => Deno.remove(dataDir, { recursive: true }));
    const env = { DATABASE_URL: database.url, BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#", ...settings };
    const broker = new LastingBroker(env, dataDir, parts.move());
    broker.#parts.defer(async () => {
      await broker.#server?.kill();
    });
    await broker.start();
    return broker;
  }

  /** Starts on what was stored, on other ports: while it was down, another program may have taken the old ones. */
  async start(): Promise<void> {
    assert.equal(this.#server, null, "it runs");
    const port = freePort();
    this.tcpPort = freePort();
    this.wsUrl = `ws://127.0.0.1:${port}/mqtt`;
    const env = { ...this.#env, MQTT_TCP_PORT: String(this.tcpPort) };
    this.#server = await startProcess({ dataDir: this.#dataDir, port, env });
  }

  /** Whether it has been started and not been ended. */
  get isRunning(): boolean {
    return this.#server !== null;
  }

  /** Connects a client over TCP. */
  async connect(clientId: string, level: ProtocolLevel, hello: Hello = {}): Promise<ConformanceClient> {
    const raw = this.#parts.use(await RawClient.open(this, "TCP", level));
    return await ConformanceClient.connect(raw, { ...hello, clientId });
  }

  /** Waits until everything that the server has taken in is stored. */
  async settled(): Promise<void> {
    // Its CONNACK waits for its session to be stored, and that lies behind all of theirs.
    const last = await this.connect("settled", 5, { clean: false, expirySeconds: 3_600 });
    await last.drop();
  }

  /** Ends it; the signal is sent before this returns. */
  async end(ending: Ending): Promise<void> {
    const server = this.#server!;
    this.#server = null;
    if (ending === "kill -9") await server.kill();
    else assert.equal(await server.stop(), 0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }
}
