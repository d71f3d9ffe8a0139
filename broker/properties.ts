import type { ByteReader } from "./byte_reader.ts";
import { malformed, ProtocolError, REASONS, violation } from "./protocol_error.ts";
import { hasWildcard } from "./topic.ts";

/** Where properties stand; a will has its own set inside CONNECT. */
export type PropertyPlace =
  | "connect"
  | "will"
  | "publish"
  | "acknowledgement"
  | "subscribe"
  | "unsubscribe"
  | "disconnect"
  | "auth";

type PropertyKind = "flag" | "uint16" | "uint32" | "variable" | "text" | "binary" | "pair";

interface PropertyRule {
  readonly kind: PropertyKind;
  readonly places: readonly PropertyPlace[];
  readonly isNonZero?: true;
  /** Said by a publisher to the broker alone: it does not go on to receivers. */
  readonly isOurs?: true;
}

const ANYWHERE: readonly PropertyPlace[] = [
  "connect",
  "will",
  "publish",
  "acknowledgement",
  "subscribe",
  "unsubscribe",
  "disconnect",
  "auth",
];
const MESSAGE: readonly PropertyPlace[] = ["publish", "will"];

/** Identifiers of the properties whose values are needed here. */
export const PROPERTY_IDS = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  willDelayInterval: 0x18,
  topicAlias: 0x23,
  userProperty: 0x26,
} as const;

/**
 * What a client may send, by identifier. Properties that only servers send are missing: they are refused.
 *
 * Source: MQTT Version 5.0, section 2.2.2.2.
 */
const RULES: ReadonlyMap<number, PropertyRule> = new Map<number, PropertyRule>([
  [0x01, { kind: "flag", places: MESSAGE }], // Payload Format Indicator
  [0x02, { kind: "uint32", places: MESSAGE, isOurs: true }], // Message Expiry Interval
  [0x03, { kind: "text", places: MESSAGE }], // Content Type
  [0x08, { kind: "text", places: MESSAGE }], // Response Topic
  [0x09, { kind: "binary", places: MESSAGE }], // Correlation Data
  [0x0b, { kind: "variable", places: ["subscribe"], isNonZero: true }], // Subscription Identifier [MQTT-3.3.4-6]
  [0x11, { kind: "uint32", places: ["connect", "disconnect"] }], // Session Expiry Interval
  [0x15, { kind: "text", places: ["connect", "auth"] }], // Authentication Method
  [0x16, { kind: "binary", places: ["connect", "auth"] }], // Authentication Data
  [0x17, { kind: "flag", places: ["connect"] }], // Request Problem Information
  [0x18, { kind: "uint32", places: ["will"], isOurs: true }], // Will Delay Interval
  [0x19, { kind: "flag", places: ["connect"] }], // Request Response Information
  [0x1f, { kind: "text", places: ["acknowledgement", "disconnect", "auth"] }], // Reason String
  [0x21, { kind: "uint16", places: ["connect"], isNonZero: true }], // Receive Maximum
  [0x22, { kind: "uint16", places: ["connect"] }], // Topic Alias Maximum
  [0x23, { kind: "uint16", places: ["publish"], isOurs: true }], // Topic Alias
  [0x26, { kind: "pair", places: ANYWHERE }], // User Property
  [0x27, { kind: "uint32", places: ["connect"], isNonZero: true }], // Maximum Packet Size
]);

/** What the properties of a PUBLISH, a will or a SUBSCRIBE say. Byte arrays are views or arrays of their own. */
export interface Properties {
  /** Whether the payload claims to be UTF-8. */
  readonly isText: boolean;
  /** Message Expiry Interval in seconds; null for none. */
  readonly expirySeconds: number | null;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
  /** 1–65,535; null for none. */
  readonly topicAlias: number | null;
  /** Will Delay Interval. */
  readonly delaySeconds: number;
  /** 1–268,435,455; null for none. */
  readonly subscriptionId: number | null;
  /** What goes on to receivers, as {@linkcode Publication.properties}. */
  readonly forwarded: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** No properties, which is what most packets have. */
export const NO_PROPERTIES: Properties = {
  isText: false,
  expirySeconds: null,
  responseTopic: null,
  correlationData: null,
  topicAlias: null,
  delaySeconds: 0,
  subscriptionId: null,
  forwarded: EMPTY,
};

/** Checks a set of properties and reads what the broker itself acts on. */
export function readProperties(reader: ByteReader, place: PropertyPlace): Properties {
  const length = reader.readVariable();
  if (length === 0) return NO_PROPERTIES;
  const packetEnd = reader.end;
  const end = reader.at + length;
  if (end > packetEnd) throw malformed("The properties are longer than the packet.");
  reader.end = end;
  const seen = new Set<number>();
  const read: { -readonly [name in keyof Properties]: Properties[name] } = { ...NO_PROPERTIES };
  let runStart = reader.at;
  while (reader.at < end) {
    const start = reader.at;
    const id = reader.readVariable();
    const rule = RULES.get(id);
    if (rule === undefined || !rule.places.includes(place)) {
      throw malformed(`Property 0x${id.toString(16)} does not belong here.`);
    }
    if (seen.has(id) && id !== PROPERTY_IDS.userProperty) {
      throw violation(`Property 0x${id.toString(16)} stands here twice.`);
    }
    seen.add(id);
    switch (id) {
      case PROPERTY_IDS.responseTopic:
        read.responseTopic = reader.readText(); // [MQTT-3.3.2-13]
        if (hasWildcard(read.responseTopic)) {
          throw violation("The response topic holds a wildcard."); // [MQTT-3.3.2-14]
        }
        break;
      case PROPERTY_IDS.correlationData:
        read.correlationData = reader.readBinary();
        break;
      default: {
        const value = readValue(reader, id, rule);
        if (id === PROPERTY_IDS.payloadFormatIndicator) read.isText = value === 1;
        else if (id === PROPERTY_IDS.messageExpiryInterval) read.expirySeconds = value;
        else if (id === PROPERTY_IDS.willDelayInterval) read.delaySeconds = value;
        else if (id === PROPERTY_IDS.subscriptionIdentifier) read.subscriptionId = value;
        else if (id === PROPERTY_IDS.topicAlias) read.topicAlias = value;
      }
    }
    if (rule.isOurs) {
      read.forwarded = joined(read.forwarded, reader.bytes.subarray(runStart, start));
      runStart = reader.at;
    }
  }
  read.forwarded = joined(read.forwarded, reader.bytes.subarray(runStart, end));
  if (read.topicAlias === 0) {
    throw new ProtocolError(REASONS.topicAliasInvalid, "A topic alias is 0."); // [MQTT-3.3.2-8]
  }
  // The Authentication Method says what the data means.
  if (seen.has(0x16) && !seen.has(0x15)) throw violation("There is authentication data without a method.");
  reader.end = packetEnd;
  return read;
}

/** Both, one behind the other; nothing is copied where one of them is empty. */
function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (right.length === 0) return left;
  if (left.length === 0) return right;
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}

/** Steps over a value; comes back with it when it is a number, otherwise with 0. */
function readValue(reader: ByteReader, id: number, rule: PropertyRule): number {
  switch (rule.kind) {
    case "flag": {
      const value = reader.readByte();
      if (value > 1) throw violation(`Property 0x${id.toString(16)} is neither 0 nor 1.`);
      return value;
    }
    case "text":
      reader.skipText();
      return 0;
    case "binary":
      reader.readBinary();
      return 0;
    case "pair":
      reader.skipText(); // [MQTT-1.5.7-1]
      reader.skipText();
      return 0;
    default: {
      const value = rule.kind === "uint16"
        ? reader.readUint16()
        : rule.kind === "uint32"
        ? reader.readUint32()
        : reader.readVariable();
      if (value === 0 && rule.isNonZero) throw violation(`Property 0x${id.toString(16)} is 0.`);
      return value;
    }
  }
}
