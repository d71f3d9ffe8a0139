import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import type { ProtocolLevel } from "../../broker/packet.ts";
import { acknowledgement, publish } from "../mqtt_bytes.ts";
import { type Door, RawClient, type Target } from "../mqtt_client.ts";

/** Codes that say no, of every acknowledgement. */
const REFUSED = 0x80;

/**
 * An honest client that sends itself messages of QoS 1 and 2, one after the other, while others do their worst. Each
 * exchange must be whole, and each message must come once and as it was sent.
 */
export class Bystander {
  readonly #client: RawClient;
  readonly #topic: string;
  readonly #done: Promise<void>;
  #isStopping = false;
  #heard: Packet[] = [];
  /** Messages that went all the way. */
  trips = 0;
  /** What it noticed; null: nothing. */
  failure: Error | null = null;

  private constructor(client: RawClient, topic: string) {
    this.#client = client;
    this.#topic = topic;
    this.#done = this.#run();
  }

  /** Connects, subscribes and begins. */
  static async start(server: Target, door: Door, level: ProtocolLevel): Promise<Bystander> {
    const client = await RawClient.open(server, door, level);
    const id = crypto.randomUUID();
    const connack = await client.connect({ clientId: `bystander-${id}` });
    assert.equal(level === 5 ? connack.reasonCode : connack.returnCode, 0);
    const topic = `bystander/${id}`;
    assert.equal(await client.subscribe(topic, 2), 2);
    return new Bystander(client, topic);
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isStopping) {
        const qos = 1 + this.trips % 2;
        await this.#goRound(qos, `trip ${this.trips}`);
        this.trips++;
      }
    } catch (error) {
      this.failure = error as Error;
    }
  }

  async #goRound(qos: number, payload: string): Promise<void> {
    const packetId = 1 + this.trips % 60_000;
    await this.#client.send(publish(this.#topic, { level: this.#client.level, qos, packetId, payload }));
    if (qos === 1) await this.#take("puback", packetId);
    else {
      await this.#take("pubrec", packetId);
      await this.#client.send(acknowledgement(0x62, packetId));
      await this.#take("pubcomp", packetId);
    }
    const message = await this.#take("publish");
    assert.ok(message.cmd === "publish");
    assert.deepEqual([String(message.payload), message.qos, message.dup], [payload, qos, false]);
    const answer = message.messageId!;
    await this.#client.send(acknowledgement(qos === 1 ? 0x40 : 0x50, answer));
    if (qos === 1) return;
    await this.#take("pubrel", answer);
    await this.#client.send(acknowledgement(0x70, answer));
  }

  /** The next packet of a kind, with this identifier; another of its kind is a fault. */
  async #take(cmd: Packet["cmd"], packetId?: number): Promise<Packet> {
    for (;;) {
      const at = this.#heard.findIndex((heard) => heard.cmd === cmd);
      const packet = at < 0 ? await this.#client.next() : this.#heard.splice(at, 1)[0]!;
      if (packet.cmd !== cmd) {
        assert.notEqual(packet.cmd, "disconnect", JSON.stringify(packet));
        this.#heard.push(packet);
        continue;
      }
      if (packetId !== undefined) assert.equal(packet.messageId, packetId);
      assert.ok(!("reasonCode" in packet) || (packet.reasonCode ?? 0) < REFUSED, JSON.stringify(packet));
      return packet;
    }
  }

  /** Ends it; what it noticed is thrown. The number of messages that went all the way. */
  async stop(): Promise<number> {
    this.#isStopping = true;
    await this.#done;
    await this.#client[Symbol.asyncDispose]();
    if (this.failure !== null) throw new Error("the bystander noticed", { cause: this.failure });
    assert.deepEqual(this.#heard, [], "nothing comes that was not asked for");
    return this.trips;
  }
}
