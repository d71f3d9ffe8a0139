/**
 * The strict check between the byte stream and the session. The codec parses without validating, and by the time it
 * is done the evidence is lost: ill-formed UTF-8 has become U+FFFD, surplus bytes are gone. So every packet is walked
 * here first, on its bytes. Most are read in that same walk; CONNECT and DISCONNECT go on to the codec.
 *
 * Tags without a version are those of MQTT 5.0 unless the comment says 3.1.1.
 */

import { ByteReader, isUtf8 } from "./byte_reader.ts";
import { parseConnect, parseDisconnect } from "./codec.ts";
import type {
  AcknowledgementPacket,
  ConnectPacket,
  Packet,
  ProtocolLevel,
  PublishPacket,
  SubscribePacket,
  UnsubscribePacket,
  Will,
} from "./packet.ts";
import { NO_PROPERTIES, type Properties, readProperties } from "./properties.ts";
import type { SubscriptionOptions } from "./publication.ts";
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

/** Reason codes a client may put into PUBACK and PUBREC, into PUBREL and PUBCOMP, into DISCONNECT, and into AUTH. */
const PUBLISH_REASONS: ReadonlySet<number> = new Set([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASE_REASONS: ReadonlySet<number> = new Set([0, 0x92]);
const DISCONNECT_REASONS: ReadonlySet<number> = new Set([
  ...[0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
]);
const AUTH_REASONS: ReadonlySet<number> = new Set([0x18, 0x19]);

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
        return readSubscribe(first, level);
      case TYPES.unsubscribe:
        return readUnsubscribe(first, level);
      case TYPES.disconnect:
        checkDisconnect(first, level);
        return parseDisconnect(bytes.subarray(packetStart, packetEnd), level);
      case TYPES.auth:
        if (level < 5) throw malformed("The packet type is reserved.");
        requireFlags(first, 0); // [MQTT-3.15.1-1]
        if (bodyStart !== packetEnd) {
          if (!AUTH_REASONS.has(reader.readByte())) {
            throw malformed("The reason code does not belong here."); // [MQTT-3.15.2-1]
          }
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
  let will: Will | null;
  try {
    will = checkConnect(level);
  } finally {
    reader.release();
  }
  return parseConnect(bytes.subarray(packetStart, packetEnd), level, will);
}

/** Checks a CONNECT; the will comes back, as the codec loses the order of its user properties. */
function checkConnect(level: ProtocolLevel): Will | null {
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
  const will = hasWill ? readWill(willQos, (flags & 0x20) !== 0, level) : null;
  if (hasUserName) reader.skipText(); // [MQTT-3.1.3-12]
  if (hasPassword) reader.readBinary();
  reader.requireEnd();
  return will;
}

/** Copied out of the packet, as it outlives it. */
function readWill(qos: number, retain: boolean, level: ProtocolLevel): Will {
  const properties = level === 5 ? readProperties(reader, "will") : NO_PROPERTIES;
  const topic = reader.readText(); // [MQTT-3.1.3-11]
  if (topic === "" || hasWildcard(topic)) throw malformed("The will topic is no topic name.");
  const payload = reader.readBinary();
  requirePayloadFormat(payload, properties);
  const { expirySeconds, delaySeconds, forwarded } = properties;
  return {
    publication: {
      topic,
      payload: payload.slice(),
      qos,
      retain,
      properties: forwarded.length === 0 ? forwarded : forwarded.slice(),
      expiresAtMs: null,
    },
    expirySeconds,
    delaySeconds,
  };
}

function readPublish(first: number, level: ProtocolLevel): PublishPacket {
  const qos = (first >> 1) & 3;
  if (qos === 3) throw malformed("The QoS is 3."); // [MQTT-3.3.1-4]
  if (qos === 0 && (first & 8) !== 0) throw malformed("DUP is set at QoS 0."); // [MQTT-3.3.1-2]
  const topic = reader.readText();
  if (hasWildcard(topic)) throw malformed("The topic name holds a wildcard."); // [MQTT-3.3.2-2]
  const packetId = qos === 0 ? 0 : readPacketId();
  const properties = level === 5 ? readProperties(reader, "publish") : NO_PROPERTIES;
  // An alias may stand for the topic; which aliases there are, the session knows.
  if (topic === "" && properties.topicAlias === null) throw violation("The topic name is empty."); // [MQTT-4.7.3-1]
  const payload = reader.readRest();
  requirePayloadFormat(payload, properties);
  return {
    type: "publish",
    topic,
    qos,
    retain: (first & 1) !== 0,
    packetId,
    payload,
    responseTopic: properties.responseTopic,
    correlationData: properties.correlationData,
    topicAlias: properties.topicAlias,
    expirySeconds: properties.expirySeconds,
    forwarded: properties.forwarded,
  };
}

/** A payload that claims to be UTF-8 must be. Source: MQTT Version 5.0, sections 3.3.2.3.2 and 3.1.3.2.3. */
function requirePayloadFormat(payload: Uint8Array, properties: Properties): void {
  if (properties.isText && !isUtf8(payload)) {
    throw new ProtocolError(REASONS.payloadFormatInvalid, "The payload is not the UTF-8 it claims to be.");
  }
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

function readSubscribe(first: number, level: ProtocolLevel): SubscribePacket {
  requireFlags(first, 2); // [MQTT-3.8.1-1]
  const packetId = readPacketId();
  const { subscriptionId } = level === 5 ? readProperties(reader, "subscribe") : NO_PROPERTIES;
  const subscriptions: { topicFilter: string; options: SubscriptionOptions }[] = [];
  if (reader.at === reader.end) throw violation("There is no topic filter."); // [MQTT-3.8.3-2]
  while (reader.at < reader.end) {
    const topicFilter = readTopicFilter();
    const options = readOptions(level, subscriptionId);
    if (level === 5) requireShare(topicFilter, options);
    subscriptions.push({ topicFilter, options });
  }
  return { type: "subscribe", packetId, subscriptions };
}

/** The byte behind a topic filter; 3.1.1 knows only the QoS in it. */
function readOptions(level: ProtocolLevel, subscriptionId: number | null): SubscriptionOptions {
  const options = reader.readByte();
  const qos = options & 3;
  if (qos === 3) throw violation("The QoS of a subscription is 3."); // 3.1.1 [MQTT-3.8.3-4]
  if ((options & (level === 5 ? 0xc0 : 0xfc)) !== 0) {
    throw malformed("Reserved bits of a subscription are set."); // [MQTT-3.8.3-5]
  }
  const retainHandling = options >> 4;
  if (retainHandling === 3) throw violation("Retain handling is 3.");
  return {
    qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling,
    subscriptionId,
  };
}

/** To 3.1.1 a shared subscription is a filter like any other: there a bad one is refused, and nothing closes. */
function requireShare(topicFilter: string, options: SubscriptionOptions): void {
  const share = splitShare(topicFilter);
  if (share === null) return;
  if (share.name === "" || hasWildcard(share.name) || !isTopicFilter(share.topicFilter)) {
    throw malformed("The shared subscription is no $share/name/filter."); // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
  }
  if (options.noLocal) throw violation("No Local is set on a shared subscription."); // [MQTT-3.8.3-4]
}

function readUnsubscribe(first: number, level: ProtocolLevel): UnsubscribePacket {
  requireFlags(first, 2); // [MQTT-3.10.1-1]
  const packetId = readPacketId();
  if (level === 5) readProperties(reader, "unsubscribe");
  const topicFilters: string[] = [];
  if (reader.at === reader.end) throw violation("There is no topic filter."); // [MQTT-3.10.3-2]
  while (reader.at < reader.end) topicFilters.push(readTopicFilter());
  return { type: "unsubscribe", packetId, topicFilters };
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
