/**
 * The frequent packets, written by hand into a {@linkcode PacketWriter}: nothing is allocated per packet.
 */

import type { Outgoing } from "./outgoing.ts";
import type { ProtocolLevel } from "./packet.ts";
import type { PacketWriter } from "./packet_writer.ts";

/** First bytes of the acknowledgements; PUBREL has a reserved flag set. */
export const ACKNOWLEDGEMENTS = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

const utf8 = new TextEncoder();
const CODE_KEY = utf8.encode("code");

/** PUBACK, PUBREC, PUBREL or PUBCOMP; a reason of 0 is left out, which both versions read alike. */
export function writeAcknowledgement(
  writer: PacketWriter,
  first: number,
  packetId: number,
  reason = 0,
  code = 0,
): void {
  if (reason === 0) {
    const at = writer.reserve(4);
    const { bytes } = writer;
    bytes[at] = first;
    bytes[at + 1] = 2;
    bytes[at + 2] = packetId >> 8;
    bytes[at + 3] = packetId & 0xff;
    return;
  }
  // The IM code travels as the user property `code`.
  const digits = code === 0 ? "" : String(code);
  const properties = code === 0 ? 0 : 5 + CODE_KEY.length + digits.length;
  const length = 3 + (properties === 0 ? 0 : 1 + properties);
  const at = writer.reserve(2 + length);
  const { bytes } = writer;
  bytes[at] = first;
  bytes[at + 1] = length;
  bytes[at + 2] = packetId >> 8;
  bytes[at + 3] = packetId & 0xff;
  bytes[at + 4] = reason;
  if (properties === 0) return;
  bytes[at + 5] = properties;
  bytes[at + 6] = 0x26;
  bytes[at + 7] = 0;
  bytes[at + 8] = CODE_KEY.length;
  bytes.set(CODE_KEY, at + 9);
  const value = at + 9 + CODE_KEY.length;
  bytes[value] = 0;
  bytes[value + 1] = digits.length;
  for (let i = 0; i < digits.length; i++) bytes[value + 2 + i] = digits.charCodeAt(i);
}

/** PINGRESP. */
export function writePingresp(writer: PacketWriter): void {
  const at = writer.reserve(2);
  writer.bytes[at] = 0xd0;
  writer.bytes[at + 1] = 0;
}

/** A server's DISCONNECT, which only 5.0 has. */
export function writeDisconnect(writer: PacketWriter, reason: number): void {
  const at = writer.reserve(3);
  writer.bytes[at] = 0xe0;
  writer.bytes[at + 1] = 1;
  writer.bytes[at + 2] = reason;
}

/** Bytes a PUBLISH takes; QoS 0 has no packet identifier. */
export function publishBytes(outgoing: Outgoing, qos: number, level: ProtocolLevel): number {
  const remaining = remainingLength(outgoing, qos, level);
  return 1 + variableBytes(remaining) + remaining;
}

/** Writes a PUBLISH without retain and DUP; nothing here is ever sent twice. [MQTT-3.3.1-1] [MQTT-3.3.1-3] */
export function writePublish(
  writer: PacketWriter,
  outgoing: Outgoing,
  qos: number,
  packetId: number,
  level: ProtocolLevel,
): void {
  const { topic, properties, prefix, tail } = outgoing;
  const remaining = remainingLength(outgoing, qos, level);
  let at = writer.reserve(1 + variableBytes(remaining) + remaining);
  const { bytes } = writer;
  bytes[at++] = 0x30 | (qos << 1);
  at = putVariable(bytes, at, remaining);
  bytes[at++] = topic.length >> 8;
  bytes[at++] = topic.length & 0xff;
  bytes.set(topic, at);
  at += topic.length;
  if (qos > 0) {
    bytes[at++] = packetId >> 8;
    bytes[at++] = packetId & 0xff;
  }
  if (level === 5) {
    at = putVariable(bytes, at, properties.length);
    bytes.set(properties, at);
    at += properties.length;
  }
  for (let i = 0; i < prefix.length; i++) bytes[at++] = prefix.charCodeAt(i);
  bytes.set(tail, at);
}

/** Puts the packet identifier into a PUBLISH of QoS 1 or 2 that was encoded before it had one. */
export function setPacketId(publish: Uint8Array, packetId: number): void {
  let at = 1;
  while (publish[at++]! >= 0x80);
  at += 2 + ((publish[at]! << 8) | publish[at + 1]!);
  publish[at] = packetId >> 8;
  publish[at + 1] = packetId & 0xff;
}

function remainingLength(
  { topic, properties, prefix, tail }: Outgoing,
  qos: number,
  level: ProtocolLevel,
): number {
  return 2 + topic.length + (qos > 0 ? 2 : 0) + prefix.length + tail.length +
    (level === 5 ? variableBytes(properties.length) + properties.length : 0);
}

/** Bytes of a Variable Byte Integer. */
export function variableBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** Puts a Variable Byte Integer; where it ends. */
export function putVariable(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 128) {
    bytes[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}
