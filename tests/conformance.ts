/** Cases written from the MQTT specifications, run through both doors and in both versions against one server. */
import type { Env } from "../config.ts";
import type { ProtocolLevel } from "../broker/packet.ts";
import { ConformanceClient, type Hello } from "./conformance_client.ts";
import { type Door, DOORS, RawClient, type Target } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

type Run = (stage: Stage) => Promise<void>;

interface Case {
  /** A sentence, and behind it the statements it shows; those of 3.1.1 as `3.1.1 [MQTT-…]`. */
  readonly name: string;
  readonly levels: readonly ProtocolLevel[];
  readonly run: Run;
}

/** A broker that takes anybody in and has every topic open. */
type Broker = Target & AsyncDisposable;

/**
 * Starts the server. `CONFORMANCE_BROKER=1883,ws://127.0.0.1:9001/` measures the cases themselves by another broker on
 * this machine that runs already; the settings are then its own.
 */
async function startBroker(settings: Env): Promise<Broker> {
  const [port, wsUrl] = (Deno.env.get("CONFORMANCE_BROKER") ?? "").split(",");
  if (wsUrl !== undefined) {
    return { tcpPort: Number(port), wsUrl, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  return await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#", ...settings });
}

const runId = crypto.randomUUID().slice(0, 8);
let stages = 0;

/** What a case plays on: names of its own, and clients that are gone when it ends. */
export class Stage implements AsyncDisposable {
  readonly broker: Target;
  readonly door: Door;
  readonly level: ProtocolLevel;
  /** Begins the topics and client identifiers of this case, and of no other. */
  readonly name = `c${runId}${++stages}`;
  readonly #clients = new AsyncDisposableStack();
  #count = 0;

  constructor(broker: Target, door: Door, level: ProtocolLevel) {
    this.broker = broker;
    this.door = door;
    this.level = level;
  }

  /** A topic, or a topic filter, of this case. */
  topic(rest: string): string {
    return `${this.name}/${rest}`;
  }

  /** A socket on which nothing has been sent. */
  async open(level = this.level): Promise<RawClient> {
    return this.#clients.use(await RawClient.open(this.broker, this.door, level));
  }

  /** A client that has sent its CONNECT and was let in. */
  async connect(hello: Hello = {}): Promise<ConformanceClient> {
    const clientId = hello.clientId ?? `${this.name}x${++this.#count}`;
    return await ConformanceClient.connect(await this.open(hello.level), { ...hello, clientId });
  }

  /** A client that has subscribed, QoS 2 unless it says otherwise. */
  async subscriber(topicFilter: string, options = 2, hello: Hello = {}): Promise<ConformanceClient> {
    const client = await this.connect(hello);
    await client.subscribe([[topicFilter, options]]);
    return client;
  }

  /** Waits until whole seconds have passed on the server's clock, which sends a delayed will then. */
  async pass(seconds: number): Promise<void> {
    const topic = this.topic(`clock${++this.#count}`);
    const watch = await this.subscriber(topic, 0, { level: 5 });
    const gone = await this.connect({
      level: 5,
      expirySeconds: seconds + 60,
      will: { topic, payload: "passed", delaySeconds: seconds },
    });
    await gone.drop();
    await watch.message();
  }

  /** Ends every connection. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#clients.disposeAsync();
  }
}

const TAG = /(?:3\.1\.1 )?\[MQTT-[^\]]+\]/g;

function stepName(name: string, door: Door, level: ProtocolLevel): string {
  const sentence = name.split(TAG, 1)[0]!.trim();
  const tags = (name.match(TAG) ?? []).filter((tag) => tag.startsWith("3.1.1") === (level === 4));
  return [`${sentence}, ${level === 5 ? "5.0" : "3.1.1"} over ${door}`, ...tags].join(" ");
}

/** The cases of a file. */
export class Conformance {
  readonly #cases: Case[] = [];

  /** A case of both versions. */
  both(name: string, run: Run): void {
    this.#cases.push({ name, levels: [4, 5], run });
  }

  /** A case of 5.0 alone. */
  v5(name: string, run: Run): void {
    this.#cases.push({ name, levels: [5], run });
  }

  /** A case of 3.1.1 alone. */
  v311(name: string, run: Run): void {
    this.#cases.push({ name, levels: [4], run });
  }

  /** Makes the cases a test: each is a step, and all share a server. */
  test(name: string, settings: Env = {}): void {
    Deno.test(name, async (t) => {
      await using broker = await startBroker(settings);
      // Both doors at a time: much of it is waiting.
      await Promise.all(DOORS.map(async (door) => {
        for (const { name, levels, run } of this.#cases) {
          for (const level of levels) {
            await t.step({
              name: stepName(name, door, level),
              // Steps are side by side in one server: what is left open shows at the end of the test.
              sanitizeExit: false,
              sanitizeOps: false,
              sanitizeResources: false,
              fn: async () => {
                await using stage = new Stage(broker, door, level);
                await run(stage);
              },
            });
          }
        }
      }));
    });
  }
}
