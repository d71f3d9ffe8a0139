/** Tests of open topics with MQTT.js: each runs through both doors, and in every version that has what it is about. */
import type { IClientOptions } from "mqtt";
import type { Env } from "../config.ts";
import type { ProtocolLevel } from "../broker/packet.ts";
import { type Door, DOORS } from "./mqtt_client.ts";
import { JsClient } from "./mqtt_js_client.ts";
import { startServer, type TestServer } from "./server.ts";

/** A door and a version of one server, topics that no other has, and clients that are gone at its end. */
export class JsStage implements AsyncDisposable {
  readonly server: TestServer;
  readonly door: Door;
  readonly level: ProtocolLevel;
  readonly #clients = new AsyncDisposableStack();
  #count = 0;

  constructor(server: TestServer, door: Door, level: ProtocolLevel) {
    this.server = server;
    this.door = door;
    this.level = level;
  }

  /** A client identifier, a topic or a topic filter of this stage. */
  own(rest: string): string {
    return `${this.door}${this.level}/${rest}`;
  }

  /** Connects an anonymous client. */
  async connect(options: IClientOptions = {}): Promise<JsClient> {
    const clientId = this.own(`client-${++this.#count}`);
    const client = JsClient.connect(this.server, this.door, {
      protocolVersion: this.level,
      clientId,
      ...options,
    });
    return this.#clients.use(await client);
  }

  /** Connects a client whose session goes on where it stood, and outlives its connection. */
  resume(clientId: string, options: IClientOptions = {}): Promise<JsClient> {
    const properties = { sessionExpiryInterval: 600, ...options.properties };
    return this.connect({ clientId, clean: false, ...options, ...(this.level === 5 ? { properties } : {}) });
  }

  /** Waits until whole seconds have passed on the server's clock, which sends a delayed will then. */
  async pass(seconds: number): Promise<void> {
    const topic = this.own(`clock-${++this.#count}`);
    await using watch = await JsClient.connect(this.server, this.door, { protocolVersion: 5 });
    await watch.mqtt.subscribeAsync(topic, { qos: 0 });
    await using gone = await JsClient.connect(this.server, this.door, {
      protocolVersion: 5,
      properties: { sessionExpiryInterval: seconds + 60 },
      will: { topic, payload: "passed", properties: { willDelayInterval: seconds } },
    });
    await gone.lose();
    await watch.next();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#clients.disposeAsync();
  }
}

/** Runs a test on every stage of these versions; all share a server. */
export function testOnStages(
  name: string,
  levels: readonly ProtocolLevel[],
  run: (stage: JsStage) => Promise<void>,
  settings: Env = {},
): void {
  Deno.test(name, async (t) => {
    await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#", ...settings });
    for (const door of DOORS) {
      for (const level of levels) {
        await t.step({
          name: `over ${door} in ${level === 5 ? "5.0" : "3.1.1"}`,
          // The server outlives the step, and what the step left in it is its own affair.
          sanitizeOps: false,
          sanitizeResources: false,
          fn: async () => {
            await using stage = new JsStage(server, door, level);
            await run(stage);
          },
        });
      }
    }
  });
}
