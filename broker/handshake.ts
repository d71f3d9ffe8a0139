/**
 * From the open socket to a good CONNECT. A connection drops its handshake after that, token and all.
 */

import type { Login } from "../im/mod.ts";
import {
  type ConnectRefusal,
  type ConnectRules,
  malformedConnack,
  refuseConnect,
  refusedConnack,
  UNSUPPORTED_CONNACK,
} from "./connect.ts";
import type { Framing } from "./framing.ts";
import type { ConnectPacket, ProtocolLevel } from "./packet.ts";
import { readConnect, readConnectLevel } from "./packet_check.ts";

/** Asks who it is, null for an anonymous client; or why it may not connect. */
export type Authenticate = (
  connect: ConnectPacket,
  appToken: string | null,
) => Promise<Login | null | ConnectRefusal>;

/** A CONNECT that is refused. */
export interface RefusedConnect {
  /** Empty where the client takes no packet of that size. */
  readonly connack: Uint8Array;
  /** Counts against the address it came from. */
  readonly isClientsFault: boolean;
}

/** A CONNECT that is let in. */
export interface GoodConnect {
  readonly connect: ConnectPacket;
  /** null for an anonymous client. */
  readonly login: Login | null;
  /** The identifier of the client, given by us where it had none. */
  readonly clientId: string;
}

/** What a connection is before it is open. */
export class Handshake {
  #appToken: string | null;
  #level: ProtocolLevel | null = null;
  #connect: ConnectPacket | null = null;
  #maxPacketBytes = Infinity;
  /** Logins that ended while this one was being looked up. */
  #endedLogins: string[] | null = null;
  startedAtMs: number;

  /** `appToken` is the login cookie of a page of our own origin; null otherwise. */
  constructor(appToken: string | null, nowMs: number) {
    this.#appToken = appToken;
    this.startedAtMs = nowMs;
  }

  /** Whether a CONNECT has arrived and its login is being looked up. */
  get isAuthenticating(): boolean {
    return this.#connect !== null;
  }

  /**
   * Reads the first packet: null when it goes on to {@linkcode Handshake.authenticate}.
   *
   * @throws {ProtocolError} when it is no well-formed CONNECT
   */
  read(
    { bytes, packetStart, bodyStart, packetEnd }: Framing,
    rules: ConnectRules,
  ): RefusedConnect | null {
    const level = readConnectLevel(bytes, packetStart, bodyStart, packetEnd);
    if (level === "unsupported") return { connack: UNSUPPORTED_CONNACK, isClientsFault: true };
    this.#level = level;
    const connect = readConnect(bytes, packetStart, bodyStart, packetEnd, level);
    this.#maxPacketBytes = connect.maxPacketBytes;
    const refusal = refuseConnect(connect, rules);
    if (refusal !== null) return this.refuse(refusal);
    this.#connect = connect;
    return null;
  }

  /** Whose CONNECT it is. */
  async authenticate(authenticate: Authenticate): Promise<GoodConnect | RefusedConnect> {
    const connect = this.#connect!;
    const login = await authenticate(connect, this.#appToken);
    if (typeof login === "string") return this.refuse(login);
    // It was found good a moment before it ended.
    if (login !== null && this.#endedLogins?.includes(login.loginId)) return this.refuse("bad-credentials");
    const clientId = connect.clientId === "" ? newClientId() : connect.clientId;
    return { connect, login, clientId };
  }

  /** Notes that a login has ended: it may be the one that is being looked up. */
  noteEndedLogin(loginId: string): void {
    if (this.isAuthenticating) (this.#endedLogins ??= []).push(loginId);
  }

  /** Refuses a CONNECT whose level is known. */
  refuse(refusal: ConnectRefusal): RefusedConnect {
    const connack = refusedConnack(refusal, this.#level!);
    return {
      connack: connack.length > this.#maxPacketBytes ? NOTHING : connack, // [MQTT-3.1.2-24]
      isClientsFault: !NOT_THE_CLIENT.has(refusal),
    };
  }

  /** The CONNACK for a client that broke MQTT; null where nothing may be said. */
  connackFor(reason: number): Uint8Array | null {
    return this.#level === 5 ? malformedConnack(reason) : null;
  }
}

/** An identifier nobody else has, short enough for the smallest CONNACK. [MQTT-3.1.3-6] */
function newClientId(): string {
  return crypto.getRandomValues(new Uint8Array(12)).toBase64({ alphabet: "base64url" });
}

const NOTHING = new Uint8Array(0);

/** Refusals that are no fault of the client. */
const NOT_THE_CLIENT: ReadonlySet<ConnectRefusal> = new Set<ConnectRefusal>([
  "server-unavailable",
  "quota-exceeded",
  "shutting-down",
]);
