/**
 * Deliveries of open topics: one at a time with everything that is its own, or the bytes that many receivers share.
 * Pure.
 *
 * Source: MQTT Version 5.0, section 3.3.
 */

import { putVariable, variableBytes } from "./encode.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketWriter } from "./packet_writer.ts";
import type { Publication } from "./publication.ts";

/** A publication as one receiver gets it. */
export interface PublicationDelivery {
  readonly publication: Publication;
  readonly qos: number;
  readonly retain: boolean;
  /** Of the subscriptions that asked for it; 5.0. [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5] */
  readonly subscriptionIds: readonly number[];
}

/** What a delivery is sent with, this time and on this connection. */
export interface PublicationOptions {
  readonly level: ProtocolLevel;
  /** Not looked at for QoS 0. */
  readonly packetId: number;
  /** Whether it has been sent before; QoS 0 never has. [MQTT-3.3.1-1] [MQTT-3.3.1-2] */
  readonly dup: boolean;
  /** What is left of the Message Expiry Interval; null for none; 5.0. [MQTT-3.3.2-6] */
  readonly expirySeconds: number | null;
  /** 1 to the client's Topic Alias Maximum; null for none; 5.0. [MQTT-3.3.2-8] [MQTT-3.3.2-11] */
  readonly topicAlias: number | null;
  /** Whether the alias stands for the topic already, which is then left out. */
  readonly isAliasKnown: boolean;
}

const PROPERTIES = { messageExpiryInterval: 0x02, topicAlias: 0x23, subscriptionIdentifier: 0x0b } as const;

const utf8 = new TextEncoder();
const NO_TOPIC = new Uint8Array(0);

// A fan-out asks for one topic again and again, and so do the two steps of one delivery.
let lastTopic = "";
let lastTopicBytes: Uint8Array = NO_TOPIC;

/** Bytes a PUBLISH takes. */
export function publicationBytes(
  delivery: PublicationDelivery,
  level: ProtocolLevel,
  expirySeconds: number | null,
  topicAlias: number | null,
  isAliasKnown: boolean,
): number {
  const properties = propertyBytes(delivery, expirySeconds, topicAlias);
  const topic = topicBytes(delivery.publication.topic, level, topicAlias, isAliasKnown);
  const remaining = remainingLength(delivery, level, topic, properties);
  return 1 + variableBytes(remaining) + remaining;
}

/** Writes a PUBLISH; where in the writer it begins. 3.1.1 has no properties: they are left out. */
export function writePublication(
  writer: PacketWriter,
  delivery: PublicationDelivery,
  options: PublicationOptions,
): number {
  const { publication, qos, subscriptionIds } = delivery;
  const { level, packetId, expirySeconds, topicAlias } = options;
  const properties = propertyBytes(delivery, expirySeconds, topicAlias);
  const topic = topicBytes(publication.topic, level, topicAlias, options.isAliasKnown);
  const remaining = remainingLength(delivery, level, topic, properties);
  const start = writer.reserve(1 + variableBytes(remaining) + remaining);
  const { bytes } = writer;
  let at = start;
  bytes[at++] = 0x30 | (options.dup && qos > 0 ? 8 : 0) | (qos << 1) | (delivery.retain ? 1 : 0);
  at = putVariable(bytes, at, remaining);
  at = putUint16(bytes, at, topic.length);
  bytes.set(topic, at);
  at += topic.length;
  if (qos > 0) at = putUint16(bytes, at, packetId);
  if (level === 5) {
    at = putVariable(bytes, at, properties);
    if (expirySeconds !== null) {
      bytes[at++] = PROPERTIES.messageExpiryInterval;
      at = putUint16(bytes, at, expirySeconds >>> 16);
      at = putUint16(bytes, at, expirySeconds & 0xffff);
    }
    if (topicAlias !== null) {
      bytes[at++] = PROPERTIES.topicAlias;
      at = putUint16(bytes, at, topicAlias);
    }
    for (const subscriptionId of subscriptionIds) {
      bytes[at++] = PROPERTIES.subscriptionIdentifier;
      at = putVariable(bytes, at, subscriptionId);
    }
    bytes.set(publication.properties, at);
    at += publication.properties.length;
  }
  bytes.set(publication.payload, at);
  return start;
}

/** Subscription Identifier properties, one behind the other; empty for none. */
export function encodeSubscriptionIds(subscriptionIds: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(5 * subscriptionIds.length);
  let at = 0;
  for (const subscriptionId of subscriptionIds) {
    bytes[at++] = PROPERTIES.subscriptionIdentifier;
    at = putVariable(bytes, at, subscriptionId);
  }
  return bytes.slice(0, at);
}

/** A PUBLISH that many receivers share: all but its packet identifier. */
export interface EncodedPublication {
  /** Never to be changed: the next receiver gets them too. */
  readonly bytes: Uint8Array;
  /** Where the packet identifier goes; -1 at QoS 0. */
  readonly packetIdAt: number;
}

/**
 * A publication and its encodings: each is made once, for the first receiver that needs it. They hold no subscription
 * identifiers, no alias, no expiry and no DUP: what has any of these is written by {@linkcode writePublication}.
 */
export class SharedPublication {
  readonly publication: Publication;
  /** Whether it pays to encode it apart from any receiver. */
  readonly hasManyReceivers: boolean;
  #encoded: (EncodedPublication | undefined)[] | null = null;

  constructor(publication: Publication, hasManyReceivers = true) {
    this.publication = publication;
    this.hasManyReceivers = hasManyReceivers;
  }

  /** The PUBLISH for receivers of one version, QoS and RETAIN flag. */
  encoded(level: ProtocolLevel, qos: number, retain: boolean): EncodedPublication {
    const slot = (level - 4) * 6 + qos * 2 + (retain ? 1 : 0);
    return (this.#encoded ??= [])[slot] ??= encode(this.publication, level, qos, retain);
  }
}

/** Appends a shared PUBLISH with the packet identifier of this receiver; where in the writer it begins. */
export function appendPublication(
  writer: PacketWriter,
  { bytes, packetIdAt }: EncodedPublication,
  packetId: number,
): number {
  const start = writer.length;
  writer.append(bytes);
  if (packetIdAt >= 0) putUint16(writer.bytes, start + packetIdAt, packetId);
  return start;
}

function encode(
  publication: Publication,
  level: ProtocolLevel,
  qos: number,
  retain: boolean,
): EncodedPublication {
  const delivery = { publication, qos, retain, subscriptionIds: [] };
  const writer = new PacketWriter(publicationBytes(delivery, level, null, null, false));
  writePublication(writer, delivery, {
    level,
    packetId: 0,
    dup: false,
    expirySeconds: null,
    topicAlias: null,
    isAliasKnown: false,
  });
  const { bytes } = writer;
  if (qos === 0) return { bytes, packetIdAt: -1 };
  let topicAt = 1;
  while (bytes[topicAt++]! >= 0x80);
  return { bytes, packetIdAt: topicAt + 2 + ((bytes[topicAt]! << 8) | bytes[topicAt + 1]!) };
}

/** Without their own length; 5.0 alone has them. */
function propertyBytes(
  { publication, subscriptionIds }: PublicationDelivery,
  expirySeconds: number | null,
  topicAlias: number | null,
): number {
  let length = publication.properties.length + (expirySeconds === null ? 0 : 5) +
    (topicAlias === null ? 0 : 3);
  for (const subscriptionId of subscriptionIds) length += 1 + variableBytes(subscriptionId);
  return length;
}

function topicBytes(
  topic: string,
  level: ProtocolLevel,
  topicAlias: number | null,
  isAliasKnown: boolean,
): Uint8Array {
  if (level === 5 && topicAlias !== null && isAliasKnown) return NO_TOPIC;
  if (topic !== lastTopic) {
    lastTopicBytes = utf8.encode(topic);
    lastTopic = topic;
  }
  return lastTopicBytes;
}

function remainingLength(
  { publication, qos }: PublicationDelivery,
  level: ProtocolLevel,
  topic: Uint8Array,
  properties: number,
): number {
  return 2 + topic.length + (qos > 0 ? 2 : 0) + (level === 5 ? variableBytes(properties) + properties : 0) +
    publication.payload.length;
}

function putUint16(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
  return at + 2;
}
