/** Plain MQTT from one publisher to many subscribers of its topic, QoS 0; each must receive every message in order. */
import { BenchError } from "./bench.ts";
import { type BrokerSpan, measureSpan } from "./broker_load.ts";
import { reach } from "./clock.ts";
import { Histogram } from "./histogram.ts";
import { inParallel } from "./load_client.ts";
import { MqttLoadClient } from "./mqtt_load_client.ts";
import type { Broker } from "./peers/broker.ts";
import { PublishRing } from "./publish_ring.ts";

/** The most messages that have not reached every subscriber. */
const RING = 32;
const READ_BYTES = 16_384;
const CLEAN_SESSION = 0x02;
const DRAIN_LIMIT_MS = 10_000;

/** A publisher and its subscribers, connected. */
export class FanOut implements Disposable {
  readonly #broker: Broker;
  readonly #clients: MqttLoadClient[] = [];
  /** Messages each subscriber has received. */
  readonly #received: Uint32Array;
  /** Subscribers that have not received the message at this place of the ring. */
  readonly #missing = new Uint32Array(RING);
  readonly #dueAtMs = new Float64Array(RING);
  #ring!: PublishRing;
  #publisher!: MqttLoadClient;
  #sent = 0;
  #done = 0;
  #deliveries = 0;
  /** Messages under way while it is flooding; 0 else. */
  #window = 0;
  #latency: Histogram | null = null;
  #failure: BenchError | null = null;

  private constructor(broker: Broker, subscribers: number) {
    this.#broker = broker;
    this.#received = new Uint32Array(subscribers);
  }

  /** Connects and subscribes them all. */
  static async open(broker: Broker, subscribers: number, bodyBytes: number): Promise<FanOut> {
    const fanOut = new FanOut(broker, subscribers);
    try {
      await fanOut.#connect(bodyBytes);
      return fanOut;
    } catch (error) {
      fanOut[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Publishes as fast as the slowest subscriber receives, and measures deliveries a second; `window` messages, 1 to
   * 32, are under way.
   */
  async flood(
    window: number,
    times: { readonly warmUpMs: number; readonly spanMs: number },
  ): Promise<BrokerSpan> {
    this.#window = window;
    this.#fill();
    const span = await measureSpan(this.#broker, () => this.#deliveries, times);
    this.#window = 0;
    await this.#drain();
    return span;
  }

  /**
   * Publishes at a fixed rate, whatever became of the messages before; the latency of each delivery counts from when
   * its message was due.
   */
  async pace(perSecond: number, spanMs: number): Promise<Histogram> {
    const latency = this.#latency = new Histogram();
    const beginAt = performance.now();
    const count = Math.ceil(perSecond * spanMs / 1_000);
    for (let i = 0; i < count; i++) {
      const dueAtMs = beginAt + i / perSecond * 1_000;
      await reach(dueAtMs);
      // A broker that is a whole window behind: the wait is part of the figure.
      while (this.#underWay === RING) await new Promise((resume) => setTimeout(resume, 1));
      this.#publish(1, dueAtMs);
    }
    await this.#drain();
    this.#latency = null;
    return latency;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }

  /** @throws BenchError when something went wrong that makes figures meaningless. */
  get #underWay(): number {
    if (this.#failure !== null) throw this.#failure;
    return this.#sent - this.#done;
  }

  async #connect(bodyBytes: number): Promise<void> {
    const name = crypto.randomUUID().slice(0, 8);
    const topic = `bench/${name}`;
    const connect = async (clientId: string, message: (mark: number) => void) => {
      const client = await MqttLoadClient.connect({
        url: this.#broker.url,
        connect: { clientId, flags: CLEAN_SESSION },
        observer: {
          message,
          completed: () => this.#fail("an acknowledgement came"),
          lost: (reason) => this.#fail(`a connection was lost: ${reason}`),
        },
        readBytes: READ_BYTES,
      });
      this.#clients.push(client);
      return client;
    };
    await inParallel(this.#received.length, async (i) => {
      const client = await connect(`s-${name}-${i}`, (mark) => this.#message(i, mark));
      await client.subscribe(topic, 0);
    });
    this.#publisher = await connect(`p-${name}`, () => this.#fail("the publisher was sent a message"));
    const { isFramed } = this.#publisher;
    this.#ring = new PublishRing({ topic, qos: 0, size: RING, bodyBytes, isFramed });
  }

  #message(subscriber: number, mark: number): void {
    const expected = this.#received[subscriber]!++ % RING;
    if (mark !== expected) return this.#fail(`message ${mark} came instead of ${expected}`);
    this.#deliveries++;
    this.#latency?.record(performance.now() - this.#dueAtMs[mark]!);
    if (--this.#missing[mark]! > 0) return;
    this.#done++;
    this.#fill();
  }

  #fill(): void {
    const free = this.#window - (this.#sent - this.#done);
    if (free > 0) this.#publish(free, performance.now());
  }

  #publish(count: number, dueAtMs: number): void {
    for (let number = this.#sent; number < this.#sent + count; number++) {
      this.#missing[number % RING] = this.#received.length;
      this.#dueAtMs[number % RING] = dueAtMs;
    }
    this.#ring.send(this.#sent, count, (frames) => this.#publisher.sendFramed(frames));
    this.#sent += count;
  }

  async #drain(): Promise<void> {
    for (const limit = performance.now() + DRAIN_LIMIT_MS; this.#underWay > 0;) {
      if (performance.now() > limit) {
        throw new BenchError(`${this.#broker.name} did not deliver ${this.#underWay} messages to everybody.`);
      }
      await new Promise((resume) => setTimeout(resume, 5));
    }
  }

  #fail(reason: string): void {
    this.#window = 0;
    this.#failure ??= new BenchError(`${this.#broker.name}, fan-out: ${reason}.`);
  }
}
