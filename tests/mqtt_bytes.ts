/** MQTT packets byte by byte, so that tests can say what no library would send. */
import assert from "node:assert/strict";
import { type Packet as CodecPacket, parser } from "mqtt-packet";
import { Framing } from "../broker/framing.ts";
import type { ConnectPacket, Packet, ProtocolLevel } from "../broker/packet.ts";
import { readConnect, readConnectLevel, readPacket } from "../broker/packet_check.ts";
import { ProtocolError } from "../broker/protocol_error.ts";

/** A byte, or several. */
export type Part = number | ArrayLike<number>;

const utf8 = new TextEncoder();

/** Joins bytes. */
export function join(...parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => typeof part === "number" ? [part] : Array.from(part)));
}

/** Two bytes, the higher first. */
export function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

/** Four bytes, the highest first. */
export function uint32(value: number): Uint8Array {
  return join(uint16(value >>> 16), uint16(value & 0xffff));
}

/** A Variable Byte Integer. */
export function variable(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    const more = value >= 128 ? 0x80 : 0;
    bytes.push((value & 0x7f) | more);
    value = Math.floor(value / 128);
  } while (value > 0);
  return Uint8Array.from(bytes);
}

/** Bytes behind their length: a UTF-8 Encoded String or Binary Data. */
export function counted(content: string | ArrayLike<number>): Uint8Array {
  const bytes = typeof content === "string" ? utf8.encode(content) : content;
  return join(uint16(bytes.length), bytes);
}

/** Properties of 5.0 behind their length. */
export function properties(...parts: readonly Part[]): Uint8Array {
  const bytes = join(...parts);
  return join(variable(bytes.length), bytes);
}

/** A user property. */
export function userProperty(
  name: string | ArrayLike<number>,
  value: string | ArrayLike<number>,
): Uint8Array {
  return join(0x26, counted(name), counted(value));
}

/** A string with U+0000. */
export const NUL: readonly number[] = [0x61, 0x00, 0x62];

/** Ill-formed UTF-8. */
export const ILL_FORMED: readonly (readonly [name: string, bytes: readonly number[]])[] = [
  ["a lone continuation byte", [0x61, 0x80]],
  ["a surrogate", [0xed, 0xa0, 0x80]],
  ["an overlong form", [0xc0, 0xaf]],
  ["a character beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
  ["a character that is cut short", [0xe2, 0x82]],
];

/** A packet: its first byte, its remaining length, its content. */
export function packet(first: number, ...parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  const content = join(...parts);
  return join(first, variable(content.length), content);
}

/** What a CONNECT may differ in. */
export interface ConnectParts {
  readonly level?: number;
  readonly name?: string;
  readonly flags?: number;
  readonly keepAliveSeconds?: number;
  readonly properties?: Uint8Array;
  readonly clientId?: string | ArrayLike<number>;
  /** Will properties, topic and payload, as they stand between client identifier and user name. */
  readonly will?: Uint8Array;
  readonly userName?: string | ArrayLike<number>;
  readonly password?: string | ArrayLike<number>;
  readonly surplus?: Uint8Array;
}

/** A CONNECT; flags are those of what it holds, with clean start, unless they are given. */
export function connect(parts: ConnectParts = {}): Uint8Array<ArrayBuffer> {
  const { level = 5, userName, password, will } = parts;
  const flags = parts.flags ??
    0x02 | (userName === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40) |
      (will === undefined ? 0 : 0x04);
  return packet(
    0x10,
    counted(parts.name ?? "MQTT"),
    level,
    flags,
    uint16(parts.keepAliveSeconds ?? 0),
    level >= 5 ? parts.properties ?? properties() : [],
    counted(parts.clientId ?? "client-1"),
    will ?? [],
    userName === undefined ? [] : counted(userName),
    password === undefined ? [] : counted(password),
    parts.surplus ?? [],
  );
}

/** A will as it stands in a CONNECT; properties are those of 5.0, behind their length. */
export function will(
  level: number,
  topic: string | ArrayLike<number>,
  payload: string | ArrayLike<number>,
  willProperties: Uint8Array = properties(),
): Uint8Array<ArrayBuffer> {
  return join(level === 5 ? willProperties : [], counted(topic), counted(payload));
}

/** What a PUBLISH may differ in. */
export interface PublishParts {
  readonly level?: ProtocolLevel;
  readonly qos?: number;
  readonly packetId?: number;
  readonly isDup?: boolean;
  readonly isRetain?: boolean;
  readonly properties?: Uint8Array;
  readonly payload?: string | ArrayLike<number>;
}

/** A PUBLISH. */
export function publish(
  topic: string | ArrayLike<number>,
  parts: PublishParts = {},
): Uint8Array<ArrayBuffer> {
  const { level = 5, qos = 0, packetId = 1, isDup = false, isRetain = false, payload = "{}" } = parts;
  return packet(
    0x30 | (isDup ? 8 : 0) | (qos << 1) | (isRetain ? 1 : 0),
    counted(topic),
    qos === 0 ? [] : uint16(packetId),
    level === 5 ? parts.properties ?? properties() : [],
    typeof payload === "string" ? utf8.encode(payload) : payload,
  );
}

/** A SUBSCRIBE to filters, each with its options byte. */
export function subscribe(
  level: ProtocolLevel,
  packetId: number,
  ...filters: readonly (readonly [topicFilter: string | ArrayLike<number>, options: number])[]
): Uint8Array<ArrayBuffer> {
  return packet(
    0x82,
    uint16(packetId),
    level === 5 ? properties() : [],
    ...filters.map(([topicFilter, options]) => join(counted(topicFilter), options)),
  );
}

/** A packet that holds an identifier and nothing else, such as PUBACK. */
export function acknowledgement(first: number, packetId: number): Uint8Array<ArrayBuffer> {
  return packet(first, uint16(packetId));
}

/** Reads packets of a running session as the server does: framing, then the strict check. */
export function readPackets(bytes: Uint8Array, level: ProtocolLevel, maxPacketBytes = 262_144): Packet[] {
  const framing = new Framing(maxPacketBytes);
  framing.push(bytes);
  const packets: Packet[] = [];
  while (framing.next()) {
    packets.push(
      readPacket(framing.bytes, framing.packetStart, framing.bodyStart, framing.packetEnd, level),
    );
  }
  return packets;
}

/** Reads a first packet as the server does; `unsupported` when its level is not served. */
export function readFirst(bytes: Uint8Array): ConnectPacket | "unsupported" {
  const framing = new Framing(262_144);
  framing.push(bytes);
  assert.ok(framing.next(), "the packet is whole");
  const { packetStart, bodyStart, packetEnd } = framing;
  const level = readConnectLevel(framing.bytes, packetStart, bodyStart, packetEnd);
  return level === "unsupported"
    ? level
    : readConnect(framing.bytes, packetStart, bodyStart, packetEnd, level);
}

/** The 5.0 reason code with which this breaks MQTT; anything else it throws fails the test. */
export function reasonOf(read: () => unknown): number | null {
  try {
    read();
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason;
    throw error;
  }
  return null;
}

/** What a client reads: the codec was written apart from the server's own encoding. */
export function readAsClient(bytes: Uint8Array, level: ProtocolLevel): CodecPacket[] {
  const packets: CodecPacket[] = [];
  const reader = parser({ protocolVersion: level });
  reader.on("packet", (read) => packets.push(read));
  reader.on("error", (error) => {
    throw error;
  });
  const left = reader.parse(bytes as Parameters<typeof reader.parse>[0]);
  assert.equal(left, 0, "every byte belongs to a packet");
  return packets;
}

/** A SUBSCRIBE or UNSUBSCRIBE, by its first byte, with whatever stands for its filters. */
export function filters(
  level: ProtocolLevel,
  first: number,
  ...parts: readonly Part[]
): Uint8Array<ArrayBuffer> {
  return packet(first, uint16(1), level === 5 ? properties() : [], ...parts);
}
