/**
 * What answers a CONNECT: which ones are refused before anybody asks who it is, and the CONNACK. Pure.
 */

import { generateConnack, generateOldConnack } from "./codec.ts";
import type { BrokerLimits } from "./limits.ts";
import type { ConnectPacket, ProtocolLevel } from "./packet.ts";
import { REASONS } from "./protocol_error.ts";
import { REPLY_TOPIC } from "./topic.ts";

/** Why a CONNECT is refused. */
export type ConnectRefusal =
  | "unsupported-version"
  | "client-id-invalid"
  | "server-unavailable"
  | "quota-exceeded"
  | "bad-credentials"
  | "banned"
  | "not-authorized"
  | "bad-authentication-method"
  | "packet-too-large"
  | "shutting-down";

/** Return codes of 3.1.1 and reason codes of 5.0; 3.1.1 knows five. */
const CODES: { readonly [refusal in ConnectRefusal]: { readonly old: number; readonly reason: number } } = {
  "unsupported-version": { old: 1, reason: REASONS.unsupportedVersion },
  "client-id-invalid": { old: 2, reason: REASONS.clientIdInvalid },
  "server-unavailable": { old: 3, reason: REASONS.serverUnavailable },
  "quota-exceeded": { old: 3, reason: REASONS.quotaExceeded },
  "bad-credentials": { old: 4, reason: REASONS.badCredentials },
  "banned": { old: 5, reason: REASONS.banned },
  "not-authorized": { old: 5, reason: REASONS.notAuthorized },
  "bad-authentication-method": { old: 5, reason: REASONS.badAuthenticationMethod },
  "packet-too-large": { old: 3, reason: REASONS.packetTooLarge },
  "shutting-down": { old: 3, reason: REASONS.serverShuttingDown },
};

/** A client that takes no larger packets could not even be told what became of its requests. */
const LEAST_MAX_PACKET_BYTES = 64;

const utf8 = new TextEncoder();

/** Refuses what no credentials can make good; null lets it go on to the login. */
export function refuseConnect(packet: ConnectPacket, limits: BrokerLimits): ConnectRefusal | null {
  if (packet.authenticationMethod !== null) return "bad-authentication-method"; // [MQTT-4.12.0-1]
  // A client here is a login, and a login has an identifier: none can be assigned. [MQTT-3.1.3-8], 3.1.1 [MQTT-3.1.3-9]
  if (packet.clientId === "") return "client-id-invalid";
  if (utf8.encode(packet.clientId).length > limits.maxClientIdBytes) return "client-id-invalid"; // [MQTT-3.1.3-5]
  // A will obeys the rule of a publish, and no topic is open to clients.
  if (packet.will !== null) return "not-authorized";
  if (packet.maxPacketBytes < LEAST_MAX_PACKET_BYTES) return "packet-too-large"; // [MQTT-3.1.2-24]
  if (packet.userName === null) return "bad-credentials";
  return null;
}

/** A CONNACK that refuses. The socket closes behind it. [MQTT-3.2.2-7], 3.1.1 [MQTT-3.2.2-5] */
export function refusedConnack(refusal: ConnectRefusal, level: ProtocolLevel): Uint8Array {
  const { old, reason } = CODES[refusal];
  return level === 5 ? generateConnack(reason, false, {}) : generateOldConnack(old, false);
}

/**
 * A level nobody here speaks gets the answer of 3.1.1 whatever it was, as every version reads it.
 * 3.1.1 [MQTT-3.1.2-2]
 */
export const UNSUPPORTED_CONNACK: Uint8Array = generateOldConnack(CODES["unsupported-version"].old, false);

/** A CONNACK for a CONNECT that could not be read; only 5.0 may say why. [MQTT-3.1.4-1] */
export function malformedConnack(reason: number): Uint8Array {
  return generateConnack(reason, false, {});
}

/** The keep-alive that holds: 5.0 may be given a shorter one than it asks for. [MQTT-3.1.2-21] */
export function keepAliveOf({ level, keepAliveSeconds }: ConnectPacket, limits: BrokerLimits): number {
  const most = limits.maxKeepAliveSeconds;
  return level === 5 && most > 0 && keepAliveSeconds > most ? most : keepAliveSeconds;
}

/** A CONNACK that accepts, and what a client of 5.0 may count on. */
export function acceptedConnack(packet: ConnectPacket, limits: BrokerLimits): Uint8Array {
  if (packet.level === 4) return generateOldConnack(0, false);
  const keepAlive = keepAliveOf(packet, limits);
  return generateConnack(REASONS.success, false, {
    receiveMaximum: limits.maxInflightIn,
    maximumPacketSize: limits.maxPacketBytes,
    // Sessions end with their connection: a client that asked for more is told so.
    ...(packet.sessionExpirySeconds > 0 ? { sessionExpiryInterval: 0 } : {}),
    ...(keepAlive === packet.keepAliveSeconds ? {} : { serverKeepAlive: keepAlive }), // [MQTT-3.2.2-21]
    ...(limits.maxTopicAliases > 0 ? { topicAliasMaximum: limits.maxTopicAliases } : {}),
    retainAvailable: false,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    ...(packet.wantsResponseInformation ? { responseInformation: REPLY_TOPIC } : {}),
  });
}
