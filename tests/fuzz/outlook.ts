import { Framing } from "../../broker/framing.ts";
import { OpenTopics } from "../../broker/open_topics.ts";
import { readConnect, readConnectLevel, readPacket } from "../../broker/packet_check.ts";
import { PacketWriter } from "../../broker/packet_writer.ts";
import { Session } from "../../broker/session.ts";
import { TopicAccess } from "../../broker/topic_access.ts";
import type { BrokerLimits } from "../../broker/limits.ts";

/**
 * How far bytes can be read: `whole` at the end of a packet, `partial` in the middle of one; in any other case the
 * server reads no further.
 */
export type Outlook = "whole" | "partial" | "broken" | "ended";

/** Follows the bytes of a connection as the server will read them, so that few are sent to nobody. */
export class Reading {
  readonly #framing: Framing;
  readonly #limits: BrokerLimits;
  readonly #writer = new PacketWriter(256);
  /** null before CONNECT. */
  #session: Session | null = null;
  outlook: Outlook = "whole";
  /** PINGREQs read: each has an answer, unless something else ends the connection. */
  pings = 0;

  constructor(limits: BrokerLimits) {
    this.#limits = limits;
    this.#framing = new Framing(limits.maxPacketBytes);
  }

  /** Reads on. */
  push(bytes: Uint8Array): Outlook {
    if (this.outlook === "broken" || this.outlook === "ended") return this.outlook;
    const framing = this.#framing;
    try {
      framing.push(bytes);
      while (framing.next()) {
        const isEnd = this.#session === null ? this.#readConnect() : this.#readPacket(this.#session);
        if (isEnd) return this.outlook = "ended";
      }
    } catch {
      // What is no ProtocolError is a fault of the server: it is sent to show it.
      return this.outlook = "broken";
    }
    return this.outlook = framing.pendingBytes > 0 ? "partial" : "whole";
  }

  #readConnect(): boolean {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const level = readConnectLevel(bytes, packetStart, bodyStart, packetEnd);
    if (level === "unsupported") return true;
    const connect = readConnect(bytes, packetStart, bodyStart, packetEnd, level);
    const limits = this.#limits;
    const access = new TopicAccess(new OpenTopics(["#"]), limits, connect.userName === null);
    this.#session = new Session({ limits, access, counts: { dropped: 0 } });
    this.#session.attach(connect, null);
    return false;
  }

  /** Whether nothing behind it counts. */
  #readPacket(session: Session): boolean {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const packet = readPacket(bytes, packetStart, bodyStart, packetEnd, session.level);
    if (packet.type === "pingreq") this.pings++;
    const effect = session.receive(packet, 0, this.#writer);
    if (effect?.type === "request" || effect?.type === "publish") {
      session.acknowledge(effect.request, effect.request.reason, 0, this.#writer);
    }
    this.#writer.length = 0;
    return effect?.type === "disconnect";
  }
}
