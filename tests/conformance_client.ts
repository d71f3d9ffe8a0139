/** A client that plays its part of the protocol by the book, so that a case says only what differs. */
import assert from "node:assert/strict";
import type { IConnackPacket, IPublishPacket, Packet } from "mqtt-packet";
import type { ProtocolLevel } from "../broker/packet.ts";
import {
  acknowledgement,
  counted,
  join,
  packet,
  type Part,
  properties,
  publish,
  uint16,
  uint32,
  will,
} from "./mqtt_bytes.ts";
import type { RawClient } from "./mqtt_client.ts";

/** What a CONNECT says; properties are of 5.0 and left out of a CONNECT of 3.1.1. */
export interface Hello {
  readonly level?: ProtocolLevel;
  readonly clientId?: string;
  /** Clean Session, or Clean Start; true unless it says otherwise. */
  readonly clean?: boolean;
  readonly keepAliveSeconds?: number;
  /** Session Expiry Interval. */
  readonly expirySeconds?: number;
  readonly properties?: readonly Part[];
  readonly will?: WillParts;
}

/** A will and how it is to be sent. */
export interface WillParts {
  readonly topic: string;
  readonly payload: string;
  readonly qos?: number;
  readonly isRetain?: boolean;
  readonly delaySeconds?: number;
  readonly properties?: readonly Part[];
}

/** How a message is published. */
export interface Manner {
  readonly qos?: number;
  readonly isRetain?: boolean;
  readonly isDup?: boolean;
  readonly packetId?: number;
  readonly properties?: readonly Part[];
}

/** A filter with its options byte, which is the QoS where nothing else is asked for. */
export type Filter = readonly [topicFilter: string, options: number];

export const PINGREQ = packet(0xc0);

/** The CONNECT of a hello. */
export function connectOf(level: ProtocolLevel, clientId: string, hello: Hello): Uint8Array<ArrayBuffer> {
  const { clean = true, keepAliveSeconds = 0, expirySeconds, will: last } = hello;
  const flags = (clean ? 0x02 : 0) |
    (last === undefined ? 0 : 0x04 | ((last.qos ?? 0) << 3) | (last.isRetain ? 0x20 : 0));
  const expiry = expirySeconds === undefined ? [] : join(0x11, uint32(expirySeconds));
  const delay = last?.delaySeconds === undefined ? [] : join(0x18, uint32(last.delaySeconds));
  return packet(
    0x10,
    counted("MQTT"),
    level,
    flags,
    uint16(keepAliveSeconds),
    level === 5 ? properties(expiry, ...hello.properties ?? []) : [],
    counted(clientId),
    last === undefined
      ? []
      : will(level, last.topic, last.payload, properties(delay, ...last.properties ?? [])),
  );
}

/** The payload of a message as text. */
export function text({ payload }: IPublishPacket): string {
  return String(payload);
}

/** A connected client. Packets that are not asked for yet are kept until they are. */
export class ConformanceClient {
  readonly raw: RawClient;
  readonly clientId: string;
  readonly connack: IConnackPacket;
  readonly #heard: Packet[] = [];
  #lastPacketId = 0;

  private constructor(raw: RawClient, clientId: string, connack: IConnackPacket) {
    this.raw = raw;
    this.clientId = clientId;
    this.connack = connack;
  }

  /** Sends CONNECT and expects to be let in. */
  static async connect(raw: RawClient, hello: Hello & { clientId: string }): Promise<ConformanceClient> {
    await raw.send(connectOf(raw.level, hello.clientId, hello));
    const connack = await raw.next();
    assert.ok(connack.cmd === "connack", `heard ${connack.cmd}`);
    assert.equal(raw.level === 5 ? connack.reasonCode : connack.returnCode, 0);
    return new ConformanceClient(raw, hello.clientId, connack);
  }

  get level(): ProtocolLevel {
    return this.raw.level;
  }

  /** The next packet of a kind; what comes before it is kept. */
  async take<C extends Packet["cmd"]>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    const isIt = (heard: Packet): heard is Extract<Packet, { cmd: C }> => heard.cmd === cmd;
    const at = this.#heard.findIndex(isIt);
    if (at >= 0) return this.#heard.splice(at, 1)[0] as Extract<Packet, { cmd: C }>;
    for (;;) {
      let heard: Packet;
      try {
        heard = await this.raw.next();
      } catch (cause) {
        const kept = this.#heard.map(({ cmd }) => cmd).join(", ") || "nothing";
        throw new Error(`${this.clientId} waits for ${cmd} and has heard ${kept}`, { cause });
      }
      if (isIt(heard)) return heard;
      this.#heard.push(heard);
    }
  }

  /** Publishes and plays the exchange to its end; the reason code, 0 where there is none. */
  async publish(topic: string, payload: string, manner: Manner = {}): Promise<number> {
    const { qos = 0, packetId = this.nextPacketId() } = manner;
    await this.raw.send(this.publishBytes(topic, payload, { ...manner, packetId }));
    if (qos === 0) return 0;
    if (qos === 1) {
      const puback = await this.take("puback");
      assert.equal(puback.messageId, packetId);
      return puback.reasonCode ?? 0;
    }
    const pubrec = await this.take("pubrec");
    assert.equal(pubrec.messageId, packetId);
    const reason = pubrec.reasonCode ?? 0;
    if (reason < 0x80) await this.release(packetId);
    return reason;
  }

  /** The bytes of a PUBLISH. */
  publishBytes(topic: string, payload: string, manner: Manner = {}): Uint8Array<ArrayBuffer> {
    const { properties: parts, ...rest } = manner;
    return publish(topic, {
      level: this.level,
      payload,
      ...rest,
      ...(parts === undefined ? {} : { properties: properties(...parts) }),
    });
  }

  /** Sends PUBREL and expects its PUBCOMP; the reason code. */
  async release(packetId: number): Promise<number> {
    await this.raw.send(acknowledgement(0x62, packetId));
    const pubcomp = await this.take("pubcomp");
    assert.equal(pubcomp.messageId, packetId);
    return pubcomp.reasonCode ?? 0;
  }

  /** A packet identifier that is not in use. */
  nextPacketId(): number {
    return ++this.#lastPacketId;
  }

  /** Subscribes; the codes of the SUBACK. */
  async subscribe(filters: readonly Filter[], ...parts: readonly Part[]): Promise<number[]> {
    const packetId = this.nextPacketId();
    await this.raw.send(packet(
      0x82,
      uint16(packetId),
      this.level === 5 ? properties(...parts) : [],
      ...filters.map(([topicFilter, options]) => join(counted(topicFilter), options)),
    ));
    const suback = await this.take("suback");
    assert.equal(suback.messageId, packetId);
    return suback.granted as number[];
  }

  /** Unsubscribes; the codes of the UNSUBACK, none in 3.1.1. */
  async unsubscribe(...topicFilters: readonly string[]): Promise<number[]> {
    const packetId = this.nextPacketId();
    await this.raw.send(packet(
      0xa2,
      uint16(packetId),
      this.level === 5 ? properties() : [],
      ...topicFilters.map((topicFilter) => counted(topicFilter)),
    ));
    const unsuback = await this.take("unsuback");
    assert.equal(unsuback.messageId, packetId);
    return unsuback.granted ?? [];
  }

  /** The next message, acknowledged to the end of its exchange. */
  async message(): Promise<IPublishPacket> {
    const message = await this.take("publish");
    await this.acknowledge(message);
    return message;
  }

  /** Acknowledges a message as its QoS asks for. */
  async acknowledge({ qos, messageId }: IPublishPacket): Promise<void> {
    if (qos === 1) await this.raw.send(acknowledgement(0x40, messageId!));
    if (qos < 2) return;
    await this.raw.send(acknowledgement(0x50, messageId!));
    const pubrel = await this.take("pubrel");
    assert.equal(pubrel.messageId, messageId);
    await this.raw.send(acknowledgement(0x70, messageId!));
  }

  /** As many messages as are asked for, acknowledged. */
  async messages(count: number): Promise<IPublishPacket[]> {
    const messages: IPublishPacket[] = [];
    while (messages.length < count) messages.push(await this.message());
    return messages;
  }

  /** The messages before the one with this payload, acknowledged like that one. */
  async messagesBefore(payload: string): Promise<IPublishPacket[]> {
    const messages: IPublishPacket[] = [];
    for (;;) {
      const message = await this.message();
      if (text(message) === payload) return messages;
      messages.push(message);
    }
  }

  /** Expects that no message is under way: none comes before the answer to a PINGREQ. */
  async expectSilence(): Promise<void> {
    await this.raw.send(PINGREQ);
    await this.take("pingresp");
    const messages = this.#heard.filter((heard) => heard.cmd === "publish");
    assert.deepEqual(messages.map(text), []);
  }

  /** Expects the server to close; the reason of its DISCONNECT, null where there is none. */
  async closedWith(): Promise<number | null> {
    const rest = [...this.#heard, ...await this.raw.rest()];
    const last = rest.at(-1);
    return last?.cmd === "disconnect" ? last.reasonCode ?? null : null;
  }

  /** Says good-bye and waits until the server has closed. */
  async disconnect(reason = 0, ...parts: readonly Part[]): Promise<void> {
    await this.raw.send(this.level === 5 ? packet(0xe0, reason, properties(...parts)) : packet(0xe0));
    await this.raw.closed;
  }

  /** Ends the connection without a word. */
  async drop(): Promise<void> {
    await this.raw[Symbol.asyncDispose]();
  }
}
