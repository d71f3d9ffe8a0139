/**
 * Plain MQTT from one client to another, several such pairs at once. Each message must arrive once and in order, and
 * where there is one, so must its acknowledgement; a broker never has more than a window of each pair's messages, so
 * that none has a reason to drop any.
 */
import { BenchError } from "./bench.ts";
import { type BrokerSpan, measureSpan } from "./broker_load.ts";
import { inParallel } from "./load_client.ts";
import { MqttLoadClient } from "./mqtt_load_client.ts";
import type { Broker } from "./peers/broker.ts";
import { PublishRing } from "./publish_ring.ts";

/** What the pairs do. */
export interface PairsLoad {
  readonly qos: 0 | 1 | 2;
  readonly pairs: number;
  /** Messages of a pair under way: not received, or not acknowledged. */
  readonly window: number;
  readonly bodyBytes: number;
  /** Whether the subscribers' sessions outlive their connections. */
  readonly isPersistent: boolean;
}

const READ_BYTES = 65_536;
const CLEAN_SESSION = 0x02;
const DRAIN_LIMIT_MS = 10_000;

/** Lets the pairs run and measures how many messages a second are received. */
export async function measurePairs(
  broker: Broker,
  load: PairsLoad,
  times: { readonly warmUpMs: number; readonly spanMs: number },
): Promise<BrokerSpan> {
  const pairs = Array.from({ length: load.pairs }, () => new Pair(broker, load));
  try {
    const run = crypto.randomUUID().slice(0, 8);
    await inParallel(pairs.length, (i) => pairs[i]!.open(`${run}-${i}`));
    for (const pair of pairs) pair.start();
    const received = () => pairs.reduce((sum, pair) => sum + pair.received, 0);
    const span = await measureSpan(broker, received, times);
    for (const pair of pairs) pair.stop();
    await drain(broker, pairs);
    return span;
  } finally {
    for (const pair of pairs) pair.close();
  }
}

async function drain(broker: Broker, pairs: readonly Pair[]): Promise<void> {
  for (const limit = performance.now() + DRAIN_LIMIT_MS;;) {
    const missing = pairs.reduce((sum, pair) => sum + pair.underWay, 0);
    if (missing === 0) return;
    if (performance.now() > limit) throw new BenchError(`${broker.name} lost ${missing} messages.`);
    await new Promise((resume) => setTimeout(resume, 5));
  }
}

/** A publisher, a subscriber, and a topic of their own. */
class Pair {
  readonly #broker: Broker;
  readonly #load: PairsLoad;
  #publisher: MqttLoadClient | null = null;
  #subscriber: MqttLoadClient | null = null;
  #ring: PublishRing | null = null;
  #sent = 0;
  #received = 0;
  #completed = 0;
  #isRunning = false;
  #failure: BenchError | null = null;

  constructor(broker: Broker, load: PairsLoad) {
    this.#broker = broker;
    this.#load = load;
  }

  /** Messages that arrived. */
  get received(): number {
    return this.#received;
  }

  /** @throws BenchError when something went wrong that makes figures meaningless. */
  get underWay(): number {
    if (this.#failure !== null) throw this.#failure;
    return this.#sent - this.#done;
  }

  async open(name: string): Promise<void> {
    const { qos, window, bodyBytes, isPersistent } = this.#load;
    const { url } = this.#broker;
    const topic = `bench/${name}`;
    const lost = (reason: string) => this.#fail(`a connection was lost: ${reason}`);
    this.#subscriber = await MqttLoadClient.connect({
      url,
      connect: { clientId: `s-${name}`, flags: isPersistent ? 0 : CLEAN_SESSION },
      observer: {
        message: (mark) => this.#message(mark),
        completed: () => this.#fail("a subscriber was sent an acknowledgement"),
        lost,
      },
      readBytes: READ_BYTES,
    });
    await this.#subscriber.subscribe(topic, qos);
    this.#publisher = await MqttLoadClient.connect({
      url,
      connect: { clientId: `p-${name}`, flags: CLEAN_SESSION },
      observer: {
        message: () => this.#fail("a publisher was sent a message"),
        completed: (packetId) => this.#acknowledged(packetId),
        lost,
      },
      readBytes: READ_BYTES,
    });
    const { isFramed } = this.#publisher;
    this.#ring = new PublishRing({ topic, qos, size: window, bodyBytes, isFramed });
  }

  start(): void {
    this.#isRunning = true;
    this.#fill();
  }

  stop(): void {
    this.#isRunning = false;
  }

  close(): void {
    this.#subscriber?.close();
    this.#publisher?.close();
  }

  get #done(): number {
    return this.#load.qos === 0 ? this.#received : Math.min(this.#received, this.#completed);
  }

  #message(mark: number): void {
    const expected = this.#received % this.#load.window;
    if (mark !== expected) return this.#fail(`message ${mark} came instead of ${expected}`);
    this.#received++;
    this.#fill();
  }

  #acknowledged(packetId: number): void {
    const expected = this.#completed % this.#load.window + 1;
    if (packetId !== expected) return this.#fail(`${packetId} was acknowledged instead of ${expected}`);
    this.#completed++;
    this.#fill();
  }

  #fill(): void {
    const free = this.#load.window - (this.#sent - this.#done);
    if (free === 0 || !this.#isRunning) return;
    this.#ring!.send(this.#sent, free, (frames) => this.#publisher!.sendFramed(frames));
    this.#sent += free;
  }

  #fail(reason: string): void {
    this.#isRunning = false;
    this.#failure ??= new BenchError(`${this.#broker.name}, QoS ${this.#load.qos}: ${reason}.`);
  }
}
