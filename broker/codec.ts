/**
 * The rare packets, by mqtt-packet. What comes in has passed the strict check, so a codec that refuses it disagrees
 * with us about MQTT: that closes the connection like any malformed packet.
 */

import { generate, type IConnectPacket, type Packet as CodecPacket, parser } from "mqtt-packet";
import type {
  ConnectPacket,
  DisconnectPacket,
  ProtocolLevel,
  SubscribePacket,
  UnsubscribePacket,
} from "./packet.ts";
import { malformed } from "./protocol_error.ts";

/** A parser per packet: it remembers the last CONNECT, password and all, and rare packets can pay for a new one. */
function parse<C extends CodecPacket["cmd"]>(
  bytes: Uint8Array,
  level: ProtocolLevel,
  cmd: C,
): Extract<CodecPacket, { cmd: C }> {
  const parsed: CodecPacket[] = [];
  const once = parser({ protocolVersion: level });
  once.on("packet", (packet: CodecPacket) => parsed.push(packet));
  once.on("error", (error: Error) => {
    throw malformed(error.message);
  });
  // The parser takes a Uint8Array as well as a Buffer; its types know only the latter.
  once.parse(bytes as Parameters<typeof once.parse>[0]);
  const [packet] = parsed;
  if (packet === undefined || packet.cmd !== cmd) throw malformed("The packet is not whole.");
  return packet as Extract<CodecPacket, { cmd: C }>;
}

/** A CONNECT that has passed the check. */
export function parseConnect(bytes: Uint8Array, level: ProtocolLevel): ConnectPacket {
  const packet: IConnectPacket = parse(bytes, level, "connect");
  const { properties, will } = packet;
  return {
    type: "connect",
    level,
    clientId: packet.clientId,
    userName: packet.username ?? null,
    password: packet.password === undefined ? null : new Uint8Array(packet.password),
    clean: packet.clean === true,
    keepAliveSeconds: packet.keepalive ?? 0,
    will: will === undefined ? null : { topic: will.topic, qos: will.qos ?? 0, retain: will.retain === true },
    sessionExpirySeconds: properties?.sessionExpiryInterval ?? 0,
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    maxPacketBytes: properties?.maximumPacketSize ?? Infinity,
    wantsResponseInformation: properties?.requestResponseInformation === true,
    wantsProblemInformation: properties?.requestProblemInformation !== false,
    authenticationMethod: properties?.authenticationMethod ?? null,
  };
}

/** A SUBSCRIBE that has passed the check. */
export function parseSubscribe(bytes: Uint8Array, level: ProtocolLevel): SubscribePacket {
  const packet = parse(bytes, level, "subscribe");
  return {
    type: "subscribe",
    packetId: packet.messageId!,
    subscriptions: packet.subscriptions.map(({ topic, qos }) => ({ topicFilter: topic, qos })),
    hasSubscriptionId: packet.properties?.subscriptionIdentifier !== undefined,
  };
}

/** An UNSUBSCRIBE that has passed the check. */
export function parseUnsubscribe(bytes: Uint8Array, level: ProtocolLevel): UnsubscribePacket {
  const packet = parse(bytes, level, "unsubscribe");
  return { type: "unsubscribe", packetId: packet.messageId!, topicFilters: packet.unsubscriptions };
}

/** A DISCONNECT that has passed the check. */
export function parseDisconnect(bytes: Uint8Array, level: ProtocolLevel): DisconnectPacket {
  const packet = parse(bytes, level, "disconnect");
  return {
    type: "disconnect",
    reason: packet.reasonCode ?? 0,
    sessionExpirySeconds: packet.properties?.sessionExpiryInterval ?? null,
  };
}

/** What a CONNACK of 5.0 says beside its reason. */
export interface ConnackProperties {
  readonly receiveMaximum?: number;
  readonly maximumPacketSize?: number;
  readonly sessionExpiryInterval?: number;
  readonly retainAvailable?: boolean;
  readonly subscriptionIdentifiersAvailable?: boolean;
  readonly sharedSubscriptionAvailable?: boolean;
  readonly responseInformation?: string;
  readonly reasonString?: string;
}

/** A CONNACK of 5.0. */
export function generateConnack(reason: number, properties: ConnackProperties): Uint8Array {
  return generate(
    { cmd: "connack", sessionPresent: false, reasonCode: reason, properties: { ...properties } },
    { protocolVersion: 5 },
  );
}

/** A CONNACK of 3.1.1; session present is 0, as there are no sessions that last. */
export function generateOldConnack(returnCode: number): Uint8Array {
  return generate({ cmd: "connack", sessionPresent: false, returnCode }, { protocolVersion: 4 });
}

/** A SUBACK with one code per filter, in the order of the filters. [MQTT-3.8.4-6] */
export function generateSuback(packetId: number, granted: number[], level: ProtocolLevel): Uint8Array {
  return generate({ cmd: "suback", messageId: packetId, granted }, { protocolVersion: level });
}

/** An UNSUBACK; 3.1.1 has no codes in it. */
export function generateUnsuback(packetId: number, granted: number[], level: ProtocolLevel): Uint8Array {
  return generate({ cmd: "unsuback", messageId: packetId, granted }, { protocolVersion: level });
}
