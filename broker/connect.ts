/**
 * What answers a CONNECT: which ones are refused before anybody asks who it is, and the CONNACK. Pure.
 */

import { generateConnack, generateOldConnack } from "./codec.ts";
import type { BrokerLimits } from "./limits.ts";
import type { ConnectPacket, ProtocolLevel } from "./packet.ts";
import { REASONS } from "./protocol_error.ts";
import { byteLength, REPLY_TOPIC } from "./topic.ts";
import type { TopicAccess } from "./topic_access.ts";

/** Why a CONNECT is refused. */
export type ConnectRefusal =
  | "unsupported-version"
  | "client-id-invalid"
  | "server-unavailable"
  | "quota-exceeded"
  | "bad-credentials"
  | "banned"
  | "not-authorized"
  | "topic-name-invalid"
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
  "topic-name-invalid": { old: 5, reason: REASONS.topicNameInvalid },
  "bad-authentication-method": { old: 5, reason: REASONS.badAuthenticationMethod },
  "packet-too-large": { old: 3, reason: REASONS.packetTooLarge },
  "shutting-down": { old: 3, reason: REASONS.serverShuttingDown },
};

/** A client that takes no larger packets could not even be told what became of its requests. */
const LEAST_MAX_PACKET_BYTES = 64;

/** What a CONNECT is measured by. */
export interface ConnectRules {
  readonly limits: BrokerLimits;
  /** Whether clients without a login may connect. */
  readonly allowsAnonymous: boolean;
  /** What they, and those with one, may use. */
  readonly accessFor: (isAnonymous: boolean) => TopicAccess;
}

/** Whether a client says nothing of who it is. */
export function isAnonymous({ userName, password }: ConnectPacket): boolean {
  return userName === null && password === null;
}

/** Refuses what no credentials can make good; null lets it go on to the login. */
export function refuseConnect(packet: ConnectPacket, rules: ConnectRules): ConnectRefusal | null {
  const { limits, allowsAnonymous, accessFor } = rules;
  const { authenticationMethod, clientId, will, maxPacketBytes, userName } = packet;
  if (authenticationMethod !== null) return "bad-authentication-method"; // [MQTT-4.12.0-1]
  const isGuest = allowsAnonymous && isAnonymous(packet);
  if (clientId === "") {
    // A login has an identifier, so none can be assigned; [MQTT-3.1.3-8]
    // a session that is to last has to be found again. 3.1.1 [MQTT-3.1.3-8] [MQTT-3.1.3-9]
    if (!isGuest || (packet.level === 4 && !packet.clean)) return "client-id-invalid";
  } else if (clientId.length > limits.maxClientIdBytes || byteLength(clientId) > limits.maxClientIdBytes) {
    return "client-id-invalid"; // [MQTT-3.1.3-5]
  }
  // A will obeys the rule of a publish.
  const refusal = will === null ? null : accessFor(isGuest).refuseTopic(will.publication.topic);
  if (refusal !== null) return refusal === "closed" ? "not-authorized" : "topic-name-invalid";
  if (maxPacketBytes < LEAST_MAX_PACKET_BYTES) return "packet-too-large"; // [MQTT-3.1.2-24]
  if (userName === null && !isGuest) return "bad-credentials";
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

/** How a client is let in. */
export interface Accepted {
  readonly isSessionPresent: boolean;
  /** How long its session outlives its connection. */
  readonly expirySeconds: number;
  /** The identifier it goes by. */
  readonly clientId: string;
  /** Whether there are topics for clients among themselves. */
  readonly hasOpenTopics: boolean;
}

/** A CONNACK that accepts, and what a client of 5.0 may count on. */
export function acceptedConnack(packet: ConnectPacket, limits: BrokerLimits, accepted: Accepted): Uint8Array {
  const { isSessionPresent, expirySeconds, clientId, hasOpenTopics } = accepted; // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
  if (packet.level === 4) return generateOldConnack(0, isSessionPresent);
  const keepAlive = keepAliveOf(packet, limits);
  return generateConnack(REASONS.success, isSessionPresent, {
    receiveMaximum: limits.maxInflightIn,
    maximumPacketSize: limits.maxPacketBytes,
    ...(packet.sessionExpirySeconds === expirySeconds ? {} : { sessionExpiryInterval: expirySeconds }),
    ...(packet.clientId === "" ? { assignedClientIdentifier: clientId } : {}), // [MQTT-3.2.2-16]
    ...(keepAlive === packet.keepAliveSeconds ? {} : { serverKeepAlive: keepAlive }), // [MQTT-3.2.2-21]
    ...(limits.maxTopicAliases > 0 ? { topicAliasMaximum: limits.maxTopicAliases } : {}),
    ...(hasOpenTopics ? {} : { retainAvailable: false, sharedSubscriptionAvailable: false }),
    ...(packet.wantsResponseInformation ? { responseInformation: REPLY_TOPIC } : {}),
  });
}
