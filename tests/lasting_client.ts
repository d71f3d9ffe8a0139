/**
 * MQTT clients whose sessions outlive their connections. They keep what a client has to keep and do at QoS 2 what the
 * specifications ask of one: with a broker that does its part, every message is heard once.
 *
 * Source: MQTT Version 3.1.1 and 5.0, sections 4.3.3 and 4.4.
 */
import assert from "node:assert/strict";
import type { IPublishPacket, Packet } from "mqtt-packet";
import type { ProtocolLevel } from "../broker/packet.ts";
import { acknowledgement, packet, properties, publish, subscribe, uint32 } from "./mqtt_bytes.ts";
import { RawClient, type Target, within } from "./mqtt_client.ts";

/** The packets of an exchange as a publisher sends and gets them, in order. */
export const PUBLISHER_STEPS = ["PUBLISH sent", "PUBREC got", "PUBREL sent", "PUBCOMP got"] as const;

/** The packets of an exchange as a subscriber gets and sends them, in order. */
export const SUBSCRIBER_STEPS = ["PUBLISH got", "PUBREC sent", "PUBREL got", "PUBCOMP sent"] as const;

/** A packet of an exchange that has been sent, or got and noted. */
export type Step = (typeof PUBLISHER_STEPS)[number] | (typeof SUBSCRIBER_STEPS)[number];

/** Hears of every step; the client does nothing more on this connection when it says `stop`. */
export type Watch = (step: Step) => "stop" | void;

/** What a client does in its session. */
interface Part {
  /** What the session begins with. */
  begin(): Promise<void>;
  /** What a session that goes on begins its new connection with. */
  resume(): Promise<void>;
  receive(packet: Packet): Promise<void>;
}

/** What both ends of an exchange have: a session, and at times a connection. */
export class LastingSession implements AsyncDisposable {
  readonly clientId: string;
  readonly level: ProtocolLevel;
  watch: Watch = () => {};
  readonly #part: Part;
  #raw: RawClient | null = null;
  #isStopped = false;
  #isKnown = false;
  #pings = 0;
  #reading: Promise<void> = Promise.resolve();
  /** Asked again whenever something has happened. */
  #awaited: { readonly isSo: () => boolean; resolve(): void } | null = null;

  constructor(clientId: string, level: ProtocolLevel, part: Part) {
    this.clientId = clientId;
    this.level = level;
    this.#part = part;
  }

  /** Connects, for the first time or to the session it has. */
  async connect(target: Target): Promise<void> {
    await this.drop();
    const raw = await RawClient.open(target, "TCP", this.level);
    this.#raw = raw;
    this.#isStopped = false;
    const expiry = this.level === 5 ? { properties: properties(0x11, uint32(3_600)) } : {};
    const connack = await raw.connect({ clientId: this.clientId, flags: 0, ...expiry });
    assert.equal(this.level === 5 ? connack.reasonCode : connack.returnCode, 0);
    assert.equal(connack.sessionPresent, this.#isKnown, `${this.clientId}: session present`);
    this.#reading = this.#read(raw);
    // Whoever connects again, or ends, hears of what went wrong.
    this.#reading.catch(() => {});
    if (!this.#isKnown) await this.#part.begin();
    else await this.#part.resume();
    this.#isKnown = true;
  }

  async #read(raw: RawClient): Promise<void> {
    for (;;) {
      let packet: Packet;
      try {
        packet = await raw.next();
      } catch (error) {
        if (raw.isClosed) return;
        throw error;
      }
      if (this.#isStopped) return;
      if (packet.cmd === "pingresp") this.#pings++;
      else await this.#part.receive(packet);
      this.#look();
    }
  }

  #look(): void {
    if (this.#awaited?.isSo() !== true) return;
    this.#awaited.resolve();
    this.#awaited = null;
  }

  /** Whether it came to be so before the connection ended; rejects when the server broke MQTT. */
  async until(isSo: () => boolean): Promise<boolean> {
    if (isSo()) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaited = { isSo, resolve };
    await within(`what ${this.clientId} waits for`, Promise.race([promise, this.#reading]));
    return isSo();
  }

  /** Waits for the answer to a PINGREQ: what the server had sent before has been dealt with. */
  async answered(): Promise<void> {
    const before = this.#pings;
    await this.send(packet(0xc0));
    assert.ok(await this.until(() => this.#pings > before));
  }

  /** Does nothing more on this connection. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Goes a step; false when there it ends for this connection. */
  step(step: Step): boolean {
    if (this.#isStopped) return false;
    this.#isStopped = this.watch(step) === "stop";
    return !this.#isStopped;
  }

  /** Sends, unless the client has been stopped or has no connection. */
  async send(bytes: Uint8Array): Promise<boolean> {
    if (this.#isStopped || this.#raw === null || this.#raw.isClosed) return false;
    await this.#raw.send(bytes);
    return true;
  }

  /** Waits until the connection has ended, and reports what broke MQTT on it. */
  async ended(): Promise<void> {
    await this.#raw?.closed;
    await this.#reading;
  }

  /** Ends the connection without a word. */
  async drop(): Promise<void> {
    await this.#raw?.[Symbol.asyncDispose]();
    this.#raw = null;
    await this.#reading;
  }

  /** Ends the connection; who waited for the client has heard by now what broke MQTT. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#raw?.[Symbol.asyncDispose]();
  }
}

/** Sends its messages at QoS 2. */
export class LastingPublisher implements Part {
  readonly session: LastingSession;
  readonly topic: string;
  /** All that were sent, in order. */
  readonly sent: string[] = [];
  /** By packet identifier, in the order they were sent. */
  readonly #unfinished = new Map<number, { readonly payload: string; state: "sent" | "got" | "released" }>();
  #lastPacketId = 0;

  constructor(clientId: string, level: ProtocolLevel, topic: string) {
    this.session = new LastingSession(clientId, level, this);
    this.topic = topic;
  }

  /** Begins an exchange; without a connection, the next one brings the message. */
  async publish(payload: string): Promise<void> {
    // An identifier is free again as soon as its exchange has ended, and few of them meet every mistake with it.
    do this.#lastPacketId = this.#lastPacketId % 8 + 1; while (this.#unfinished.has(this.#lastPacketId));
    this.sent.push(payload);
    this.#unfinished.set(this.#lastPacketId, { payload, state: "sent" });
    await this.#sendMessage(this.#lastPacketId, payload, false);
  }

  async #sendMessage(packetId: number, payload: string, isDup: boolean): Promise<void> {
    const { session: { level }, topic } = this;
    if (await this.session.send(publish(topic, { level, qos: 2, packetId, payload, isDup }))) {
      this.session.step("PUBLISH sent");
    }
  }

  async #release(packetId: number): Promise<void> {
    if (!await this.session.send(acknowledgement(0x62, packetId))) return;
    const exchange = this.#unfinished.get(packetId);
    if (exchange !== undefined) exchange.state = "released";
    this.session.step("PUBREL sent");
  }

  begin(): Promise<void> {
    return this.resume();
  }

  async resume(): Promise<void> {
    // A copy: exchanges end meanwhile.
    for (const [packetId, { payload, state }] of [...this.#unfinished]) {
      if (state === "sent") await this.#sendMessage(packetId, payload, true); // [MQTT-4.4.0-1]
      else await this.#release(packetId);
    }
  }

  async receive(packet: Packet): Promise<void> {
    assert.ok(packet.cmd === "pubrec" || packet.cmd === "pubcomp", `the publisher got ${packet.cmd}`);
    const packetId = packet.messageId!;
    const exchange = this.#unfinished.get(packetId);
    assert.ok(exchange !== undefined, `${packet.cmd} for an exchange that has ended`);
    if (packet.cmd === "pubrec") {
      assert.ok((packet.reasonCode ?? 0) < 0x80);
      if (exchange.state === "sent") exchange.state = "got";
      if (this.session.step("PUBREC got")) await this.#release(packetId);
      return;
    }
    assert.notEqual(exchange.state, "sent", "PUBCOMP came before PUBREC");
    this.#unfinished.delete(packetId);
    this.session.step("PUBCOMP got");
  }

  /** Waits until no more exchanges than this have not ended; false when the connection ends before. */
  unfinishedFall(to: number): Promise<boolean> {
    return this.session.until(() => this.#unfinished.size <= to);
  }
}

/** Hears what comes on one topic at QoS 2. */
export class LastingSubscriber implements Part {
  readonly session: LastingSession;
  readonly topic: string;
  /** What the application heard. */
  readonly heard: string[] = [];
  /** What is heard already and must not be heard again, by packet identifier, until its PUBREL. */
  readonly #received = new Map<number, string>();
  #isSubscribed = false;

  constructor(clientId: string, level: ProtocolLevel, topic: string) {
    this.session = new LastingSession(clientId, level, this);
    this.topic = topic;
  }

  async begin(): Promise<void> {
    const { session: { level }, topic } = this;
    await this.session.send(subscribe(level, 1, [topic, 2]));
    assert.ok(await this.session.until(() => this.#isSubscribed));
  }

  resume(): Promise<void> {
    return Promise.resolve();
  }

  async receive(packet: Packet): Promise<void> {
    if (packet.cmd === "suback") this.#isSubscribed = true;
    else if (packet.cmd === "publish") await this.#receiveMessage(packet);
    else {
      assert.equal(packet.cmd, "pubrel");
      await this.#receiveRelease(packet.messageId!);
    }
  }

  async #receiveMessage({ messageId, payload, qos, dup }: IPublishPacket): Promise<void> {
    const packetId = messageId!;
    const text = String(payload);
    assert.equal(qos, 2);
    const known = this.#received.get(packetId);
    if (known === undefined) {
      this.#received.set(packetId, text);
      this.heard.push(text);
    } else {
      assert.equal(text, known, "an identifier stands for one message until its PUBREL");
      assert.equal(dup, true, "what is sent again says so"); // [MQTT-3.3.1-1]
    }
    if (!this.session.step("PUBLISH got")) return;
    if (await this.session.send(acknowledgement(0x50, packetId))) this.session.step("PUBREC sent");
  }

  async #receiveRelease(packetId: number): Promise<void> {
    this.#received.delete(packetId);
    if (!this.session.step("PUBREL got")) return;
    if (await this.session.send(acknowledgement(0x70, packetId))) this.session.step("PUBCOMP sent");
  }

  /** Waits until this message has been heard and all exchanges have ended; false when the connection ends before. */
  hears(text: string): Promise<boolean> {
    return this.session.until(() => this.heard.includes(text) && this.#received.size === 0);
  }
}
