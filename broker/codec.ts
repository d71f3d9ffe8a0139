/**
 * The rare packets, by mqtt-packet. What comes in has passed the strict check, so a codec that refuses it disagrees
 * with us about MQTT: that closes the connection like any malformed packet.
 */

import { generate, type IConnectPacket, type Packet as CodecPacket, parser } from "mqtt-packet";
import type { ConnectPacket, DisconnectPacket, ProtocolLevel, Will } from "./packet.ts";
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

/** Session Expiry Interval of a session that lasts for ever. */
const FOR_EVER_SECONDS = 0xffff_ffff;

/** A CONNECT that has passed the check, which has read its will. */
export function parseConnect(bytes: Uint8Array, level: ProtocolLevel, will: Will | null): ConnectPacket {
  const packet: IConnectPacket = parse(bytes, level, "connect");
  const { properties } = packet;
  const clean = packet.clean === true;
  return {
    type: "connect",
    level,
    clientId: packet.clientId,
    userName: packet.username ?? null,
    password: packet.password === undefined ? null : new Uint8Array(packet.password),
    clean,
    keepAliveSeconds: packet.keepalive ?? 0,
    will,
    sessionExpirySeconds: level === 5 ? properties?.sessionExpiryInterval ?? 0 : clean // 3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.2-4]
      ? 0
      : FOR_EVER_SECONDS,
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    maxPacketBytes: properties?.maximumPacketSize ?? Infinity,
    topicAliasMaximum: properties?.topicAliasMaximum ?? 0,
    wantsResponseInformation: properties?.requestResponseInformation === true,
    wantsProblemInformation: properties?.requestProblemInformation !== false,
    authenticationMethod: properties?.authenticationMethod ?? null,
  };
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
  readonly topicAliasMaximum?: number;
  readonly sessionExpiryInterval?: number;
  /** Takes the place of the client's keep-alive; in seconds. */
  readonly serverKeepAlive?: number;
  /** What the client is called from now on; only where it had no name. */
  readonly assignedClientIdentifier?: string;
  readonly retainAvailable?: boolean;
  readonly subscriptionIdentifiersAvailable?: boolean;
  readonly sharedSubscriptionAvailable?: boolean;
  readonly responseInformation?: string;
  readonly reasonString?: string;
}

/** A CONNACK of 5.0; where it refuses there is no session. [MQTT-3.2.2-6] */
export function generateConnack(
  reason: number,
  sessionPresent: boolean,
  properties: ConnackProperties,
): Uint8Array {
  return generate(
    { cmd: "connack", sessionPresent, reasonCode: reason, properties: { ...properties } },
    { protocolVersion: 5 },
  );
}

/** A CONNACK of 3.1.1; where it refuses there is no session. 3.1.1 [MQTT-3.2.2-4] */
export function generateOldConnack(returnCode: number, sessionPresent: boolean): Uint8Array {
  return generate({ cmd: "connack", sessionPresent, returnCode }, { protocolVersion: 4 });
}

/** A SUBACK with one code per filter, in the order of the filters. [MQTT-3.8.4-6] */
export function generateSuback(packetId: number, granted: number[], level: ProtocolLevel): Uint8Array {
  return generate({ cmd: "suback", messageId: packetId, granted }, { protocolVersion: level });
}

/** An UNSUBACK; 3.1.1 has no codes in it. */
export function generateUnsuback(packetId: number, granted: number[], level: ProtocolLevel): Uint8Array {
  return generate({ cmd: "unsuback", messageId: packetId, granted }, { protocolVersion: level });
}
