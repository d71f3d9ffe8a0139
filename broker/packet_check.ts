/**
 * The strict check between the byte stream and the session. The codec parses without validating, and by the time it
 * is done the evidence is lost: ill-formed UTF-8 has become U+FFFD, surplus bytes are gone. So every packet is walked
 * here first, on its bytes. The frequent packets (PUBLISH, acknowledgements, PINGREQ) are read in that same walk; the
 * rare ones go on to the codec.
 *
 * Tags without a version are those of MQTT 5.0 unless the comment says 3.1.1.
 */

import { ByteReader } from "./byte_reader.ts";
import { parseConnect, parseDisconnect, parseSubscribe, parseUnsubscribe } from "./codec.ts";
import type { AcknowledgementPacket, ConnectPacket, Packet, ProtocolLevel, PublishPacket } from "./packet.ts";
import { NO_PROPERTIES, readProperties } from "./properties.ts";
import { malformed, ProtocolError, REASONS, violation } from "./protocol_error.ts";
import { hasWildcard, isTopicFilter, splitShare } from "./topic.ts";

/** Control packet types by the upper four bits of the first byte. */
const TYPES = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
  auth: 15,
} as const;

const PINGREQ: Packet = { type: "pingreq" };
const AUTH: Packet = { type: "auth" };

/** Reason codes a client may put into PUBACK and PUBREC, into PUBREL and PUBCOMP, and into DISCONNECT. */
const PUBLISH_REASONS: ReadonlySet<number> = new Set([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASE_REASONS: ReadonlySet<number> = new Set([0, 0x92]);
const DISCONNECT_REASONS: ReadonlySet<number> = new Set([
  ...[0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
]);

// Packets are checked one at a time and without waiting, so one reader serves all connections.
const reader = new ByteReader();

/**
 * Reads one packet of a session that has begun.
 *
 * @throws {ProtocolError} when the packet is malformed, or only servers send it
 */
export function readPacket(
  bytes: Uint8Array,
  packetStart: number,
  bodyStart: number,
  packetEnd: number,
  level: ProtocolLevel,
): Packet {
  const first = bytes[packetStart]!;
  const type = first >> 4;
  reader.open(bytes, bodyStart, packetEnd);
  try {
    switch (type) {
      case TYPES.publish:
        return readPublish(first, level);
      case TYPES.puback:
      case TYPES.pubrec:
      case TYPES.pubrel:
      case TYPES.pubcomp:
        return readAcknowledgement(first, level);
      case TYPES.pingreq:
        requireFlags(first, 0);
        reader.requireEnd();
        return PINGREQ;
      case TYPES.subscribe:
        checkSubscribe(first, level);
        return parseSubscribe(bytes.subarray(packetStart, packetEnd), level);
      case TYPES.unsubscribe:
        checkUnsubscribe(first, level);
        return parseUnsubscribe(bytes.subarray(packetStart, packetEnd), level);
      case TYPES.disconnect:
        checkDisconnect(first, level);
        return parseDisconnect(bytes.subarray(packetStart, packetEnd), level);
      case TYPES.auth:
        if (level < 5) throw malformed("The packet type is reserved.");
        requireFlags(first, 0); // [MQTT-3.15.1-1]
        if (bodyStart !== packetEnd) {
          reader.readByte();
          if (reader.at < packetEnd) readProperties(reader, "auth");
          reader.requireEnd();
        }
        return AUTH;
      case TYPES.connect:
        throw violation("A second CONNECT on one connection."); // [MQTT-3.1.0-2]
      case 0:
        throw malformed("The packet type is reserved.");
      default:
        throw violation("Only servers send this packet.");
    }
  } finally {
    reader.release();
  }
}

/** What a CONNECT says of its protocol; known before anything else is looked at. */
export type ConnectLevel = ProtocolLevel | "unsupported";

/**
 * Reads protocol name and level of the first packet, so that an unknown level can be answered.
 *
 * @throws {ProtocolError} when it is no CONNECT, or of no protocol we know
 */
export function readConnectLevel(
  bytes: Uint8Array,
  packetStart: number,
  bodyStart: number,
  packetEnd: number,
): ConnectLevel {
  const first = bytes[packetStart]!;
  if (first >> 4 !== TYPES.connect) throw violation("The first packet is no CONNECT."); // [MQTT-3.1.0-1]
  requireFlags(first, 0);
  reader.open(bytes, bodyStart, packetEnd);
  try {
    const name = reader.readText();
    const level = reader.readByte();
    if (name === "MQTT") return level === 4 || level === 5 ? level : "unsupported";
    // MQTT 3.1, the version before, announced itself so: it learns that its level is not served.
    if (name === "MQIsdp") return "unsupported";
    throw violation("The protocol name is not MQTT."); // [MQTT-3.1.2-1]
  } finally {
    reader.release();
  }
}

/**
 * Reads the first packet, whose level is known to be served.
 *
 * @throws {ProtocolError} when it is malformed
 */
export function readConnect(
  bytes: Uint8Array,
  packetStart: number,
  bodyStart: number,
  packetEnd: number,
  level: ProtocolLevel,
): ConnectPacket {
  // Name and level, seven bytes, have been read.
  reader.open(bytes, bodyStart + 7, packetEnd);
  try {
    checkConnect(level);
  } finally {
    reader.release();
  }
  return parseConnect(bytes.subarray(packetStart, packetEnd), level);
}

function checkConnect(level: ProtocolLevel): void {
  const flags = reader.readByte();
  const hasUserName = (flags & 0x80) !== 0;
  const hasPassword = (flags & 0x40) !== 0;
  const hasWill = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 3;
  if ((flags & 0x01) !== 0) throw malformed("The reserved CONNECT flag is set."); // [MQTT-3.1.2-3]
  if (willQos === 3) throw malformed("The will QoS is 3."); // [MQTT-3.1.2-12], 3.1.1 [MQTT-3.1.2-14]
  if (!hasWill && (flags & 0x38) !== 0) {
    throw malformed("Will QoS or will retain is set without a will."); // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  }
  if (level === 4 && hasPassword && !hasUserName) {
    throw malformed("There is a password without a user name."); // 3.1.1 [MQTT-3.1.2-22]
  }
  reader.readUint16();
  if (level === 5) readProperties(reader, "connect");
  reader.skipText(); // the client identifier [MQTT-3.1.3-1] [MQTT-3.1.3-4]
  if (hasWill) {
    if (level === 5) readProperties(reader, "will");
    const topic = reader.readText(); // [MQTT-3.1.3-11]
    if (topic === "" || hasWildcard(topic)) throw malformed("The will topic is no topic name.");
    reader.readBinary();
  }
  if (hasUserName) reader.skipText(); // [MQTT-3.1.3-12]
  if (hasPassword) reader.readBinary();
  reader.requireEnd();
}

function readPublish(first: number, level: ProtocolLevel): PublishPacket {
  const qos = (first >> 1) & 3;
  if (qos === 3) throw malformed("The QoS is 3."); // [MQTT-3.3.1-4]
  if (qos === 0 && (first & 8) !== 0) throw malformed("DUP is set at QoS 0."); // [MQTT-3.3.1-2]
  const topic = reader.readText();
  if (hasWildcard(topic)) throw malformed("The topic name holds a wildcard."); // [MQTT-3.3.2-2]
  const packetId = qos === 0 ? 0 : readPacketId();
  const properties = level === 5 ? readProperties(reader, "publish") : NO_PROPERTIES;
  if (properties !== NO_PROPERTIES) {
    // Our Topic Alias Maximum is 0.
    if (properties.hasTopicAlias) {
      throw new ProtocolError(REASONS.topicAliasInvalid, "Topic aliases are not accepted."); // [MQTT-3.3.2-9]
    }
    if (properties.responseTopic !== null && hasWildcard(properties.responseTopic)) {
      throw violation("The response topic holds a wildcard."); // [MQTT-3.3.2-14]
    }
  }
  if (topic === "") throw violation("The topic name is empty."); // [MQTT-4.7.3-1]
  return {
    type: "publish",
    topic,
    qos,
    packetId,
    payload: reader.bytes.subarray(reader.at, reader.end),
    responseTopic: properties.responseTopic,
    correlationData: properties.correlationData,
  };
}

function readAcknowledgement(first: number, level: ProtocolLevel): AcknowledgementPacket {
  const type = first >> 4;
  requireFlags(first, type === TYPES.pubrel ? 2 : 0); // [MQTT-3.6.1-1]
  const packetId = readPacketId();
  let reason = 0;
  if (level === 5 && reader.at < reader.end) {
    reason = reader.readByte();
    const known = type === TYPES.puback || type === TYPES.pubrec ? PUBLISH_REASONS : RELEASE_REASONS;
    if (!known.has(reason)) throw malformed(`The reason code 0x${reason.toString(16)} does not belong here.`);
    if (reader.at < reader.end) readProperties(reader, "acknowledgement");
  }
  reader.requireEnd();
  return {
    type: type === TYPES.puback
      ? "puback"
      : type === TYPES.pubrec
      ? "pubrec"
      : type === TYPES.pubrel
      ? "pubrel"
      : "pubcomp",
    packetId,
    reason,
  };
}

function checkSubscribe(first: number, level: ProtocolLevel): void {
  requireFlags(first, 2); // [MQTT-3.8.1-1]
  readPacketId();
  if (level === 5) readProperties(reader, "subscribe");
  if (reader.at === reader.end) throw violation("There is no topic filter."); // [MQTT-3.8.3-2]
  while (reader.at < reader.end) {
    const topicFilter = readTopicFilter();
    const options = reader.readByte();
    if ((options & 3) === 3) throw violation("The QoS of a subscription is 3."); // 3.1.1 [MQTT-3.8.3-4]
    if ((options & (level === 5 ? 0xc0 : 0xfc)) !== 0) {
      throw malformed("Reserved bits of a subscription are set."); // [MQTT-3.8.3-5]
    }
    if (level < 5) continue;
    if ((options & 0x30) === 0x30) throw violation("Retain handling is 3.");
    const share = splitShare(topicFilter);
    if (share === null) continue;
    if (share.name === "" || hasWildcard(share.name) || !isTopicFilter(share.topicFilter)) {
      throw malformed("The shared subscription is no $share/name/filter."); // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    }
    if ((options & 4) !== 0) throw violation("No Local is set on a shared subscription."); // [MQTT-3.8.3-4]
  }
}

function checkUnsubscribe(first: number, level: ProtocolLevel): void {
  requireFlags(first, 2); // [MQTT-3.10.1-1]
  readPacketId();
  if (level === 5) readProperties(reader, "unsubscribe");
  if (reader.at === reader.end) throw violation("There is no topic filter."); // [MQTT-3.10.3-2]
  while (reader.at < reader.end) readTopicFilter();
}

function checkDisconnect(first: number, level: ProtocolLevel): void {
  requireFlags(first, 0); // [MQTT-3.14.1-1]
  if (level === 5 && reader.at < reader.end) {
    const reason = reader.readByte();
    if (!DISCONNECT_REASONS.has(reason)) throw malformed("The reason code does not belong here.");
    if (reader.at < reader.end) readProperties(reader, "disconnect");
  }
  reader.requireEnd();
}

function readTopicFilter(): string {
  const topicFilter = reader.readText(); // [MQTT-3.8.3-1] [MQTT-3.10.3-1]
  if (!isTopicFilter(topicFilter)) throw malformed("A topic filter is not well formed.");
  return topicFilter;
}

function readPacketId(): number {
  const packetId = reader.readUint16();
  if (packetId === 0) throw violation("The packet identifier is 0."); // [MQTT-2.2.1-3]
  return packetId;
}

function requireFlags(first: number, flags: number): void {
  if ((first & 15) !== flags) throw malformed("The reserved flags of the fixed header are wrong."); // [MQTT-2.1.3-1]
}
