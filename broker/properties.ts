import type { ByteReader } from "./byte_reader.ts";
import { malformed, ProtocolError, REASONS, violation } from "./protocol_error.ts";

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

/** Identifiers of the properties whose values the hot path needs. */
export const PROPERTY_IDS = {
  responseTopic: 0x08,
  correlationData: 0x09,
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
  [0x02, { kind: "uint32", places: MESSAGE }], // Message Expiry Interval
  [0x03, { kind: "text", places: MESSAGE }], // Content Type
  [0x08, { kind: "text", places: MESSAGE }], // Response Topic
  [0x09, { kind: "binary", places: MESSAGE }], // Correlation Data
  [0x0b, { kind: "variable", places: ["subscribe"], isNonZero: true }], // Subscription Identifier [MQTT-3.3.4-6]
  [0x11, { kind: "uint32", places: ["connect", "disconnect"] }], // Session Expiry Interval
  [0x15, { kind: "text", places: ["connect", "auth"] }], // Authentication Method
  [0x16, { kind: "binary", places: ["connect", "auth"] }], // Authentication Data
  [0x17, { kind: "flag", places: ["connect"] }], // Request Problem Information
  [0x18, { kind: "uint32", places: ["will"] }], // Will Delay Interval
  [0x19, { kind: "flag", places: ["connect"] }], // Request Response Information
  [0x1f, { kind: "text", places: ["acknowledgement", "disconnect", "auth"] }], // Reason String
  [0x21, { kind: "uint16", places: ["connect"], isNonZero: true }], // Receive Maximum
  [0x22, { kind: "uint16", places: ["connect"] }], // Topic Alias Maximum
  [0x23, { kind: "uint16", places: ["publish"] }], // Topic Alias
  [0x26, { kind: "pair", places: ANYWHERE }], // User Property
  [0x27, { kind: "uint32", places: ["connect"], isNonZero: true }], // Maximum Packet Size
]);

/** The properties of a PUBLISH that requests use. */
export interface PublishProperties {
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
  readonly hasTopicAlias: boolean;
}

/** A PUBLISH without properties. */
export const NO_PROPERTIES: PublishProperties = {
  responseTopic: null,
  correlationData: null,
  hasTopicAlias: false,
};

/** Checks a set of properties; what a PUBLISH says comes back. */
export function readProperties(reader: ByteReader, place: PropertyPlace): PublishProperties {
  const length = reader.readVariable();
  if (length === 0) return NO_PROPERTIES;
  const packetEnd = reader.end;
  const end = reader.at + length;
  if (end > packetEnd) throw malformed("The properties are longer than the packet.");
  reader.end = end;
  const seen = new Set<number>();
  let responseTopic: string | null = null;
  let correlationData: Uint8Array | null = null;
  let hasTopicAlias = false;
  while (reader.at < end) {
    const id = reader.readVariable();
    const rule = RULES.get(id);
    if (rule === undefined || !rule.places.includes(place)) {
      throw malformed(`Property 0x${id.toString(16)} does not belong here.`);
    }
    if (seen.has(id) && id !== PROPERTY_IDS.userProperty) {
      throw violation(`Property 0x${id.toString(16)} stands here twice.`);
    }
    seen.add(id);
    if (id === PROPERTY_IDS.responseTopic) responseTopic = reader.readText();
    else if (id === PROPERTY_IDS.correlationData) correlationData = reader.readBinary();
    else if (id === PROPERTY_IDS.topicAlias) {
      hasTopicAlias = true;
      if (reader.readUint16() === 0) {
        throw new ProtocolError(REASONS.topicAliasInvalid, "A topic alias is 0."); // [MQTT-3.3.2-8]
      }
    } else checkValue(reader, id, rule);
  }
  // The Authentication Method says what the data means.
  if (seen.has(0x16) && !seen.has(0x15)) throw violation("There is authentication data without a method.");
  reader.end = packetEnd;
  return place === "publish" ? { responseTopic, correlationData, hasTopicAlias } : NO_PROPERTIES;
}

function checkValue(reader: ByteReader, id: number, rule: PropertyRule): void {
  switch (rule.kind) {
    case "flag":
      if (reader.readByte() > 1) throw violation(`Property 0x${id.toString(16)} is neither 0 nor 1.`);
      return;
    case "text":
      reader.skipText();
      return;
    case "binary":
      reader.readBinary();
      return;
    case "pair":
      reader.skipText();
      reader.skipText();
      return;
    default: {
      const value = rule.kind === "uint16"
        ? reader.readUint16()
        : rule.kind === "uint32"
        ? reader.readUint32()
        : reader.readVariable();
      if (value === 0 && rule.isNonZero) throw violation(`Property 0x${id.toString(16)} is 0.`);
    }
  }
}
