/**
 * An MQTT session without I/O and without a clock: packets in; packets out into a writer, and what else must happen
 * as the returned effect.
 *
 * Source: MQTT Version 3.1.1 and 5.0, sections 3 and 4. Tags without a version are those of 5.0.
 */

import { generateSuback, generateUnsuback } from "./codec.ts";
import {
  ACKNOWLEDGEMENTS,
  publishBytes,
  setPacketId,
  writeAcknowledgement,
  writePingresp,
  writePublish,
} from "./encode.ts";
import type { SessionLimits } from "./limits.ts";
import type { Outgoing } from "./outgoing.ts";
import type {
  AcknowledgementPacket,
  ConnectPacket,
  Packet,
  ProtocolLevel,
  PublishPacket,
  SubscribePacket,
  UnsubscribePacket,
} from "./packet.ts";
import { PacketWriter } from "./packet_writer.ts";
import { ProtocolError, REASONS, violation } from "./protocol_error.ts";
import { MeSubscriptions, NOT_SUBSCRIBED } from "./subscriptions.ts";
import { commandOf, type FilterRefusal, refuseFilter } from "./topic.ts";

/** What must happen after a packet, beside what was written. */
export type Effect =
  | { readonly type: "request"; readonly request: Request }
  /** The peer says good-bye; nothing behind it counts. */
  | { readonly type: "disconnect" }
  /** A delivery was acknowledged: there may be room for another. */
  | { readonly type: "progress" };

/** A PUBLISH that must be answered in its turn. Byte arrays are views into the received bytes. */
export interface Request {
  /** null for a topic that is closed to clients: acknowledged in its turn, and dropped. */
  readonly command: string | null;
  readonly body: Uint8Array;
  readonly qos: number;
  readonly packetId: number;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** What became of a delivery. */
export type Delivered = "written" | "waiting" | "not-subscribed" | "too-large";

/** A packet that waits for the window or the socket. */
interface Waiting {
  readonly bytes: Uint8Array;
  readonly qos: number;
  /** Replies do not count against the limit on waiting events. */
  readonly isCounted: boolean;
}

/** What is out and which acknowledgement comes next: PUBACK, PUBREC or PUBCOMP. */
type Inflight = "puback" | "pubrec" | "pubcomp";

const DISCONNECT: Effect = { type: "disconnect" };
const PROGRESS: Effect = { type: "progress" };

const FILTER_REASONS: { readonly [refusal in FilterRefusal]: number } = {
  "too-long": REASONS.topicFilterInvalid,
  "shared": REASONS.sharedSubscriptionsNotSupported,
  "closed": REASONS.notAuthorized,
};

const GONE: Waiting = { bytes: new Uint8Array(0), qos: 0, isCounted: false };

// Sessions take turns on one thread, so packets that must wait are all encoded here first.
const scratch = new PacketWriter(8_192);

/** One client's MQTT state, from CONNECT to the end of the connection. */
export class Session {
  /** Protocol level: 4 or 5. */
  readonly level: ProtocolLevel;
  /** Packets larger than this are not sent. [MQTT-3.1.2-24] */
  readonly maxPacketBytes: number;
  readonly #limits: SessionLimits;
  readonly #window: number;
  readonly #wantsProblemInformation: boolean;
  readonly #expires: boolean;
  readonly #subscriptions = new MeSubscriptions();
  // Made when first needed: an idle connection has none of these.
  #inflight: Map<number, Inflight> | null = null;
  #received: Map<number, "running" | "acknowledged"> | null = null;
  /** Topics by the alias the client gave them on this connection. */
  #aliases: Map<number, string> | null = null;
  #waiting: Waiting[] | null = null;
  #waitingTaken = 0;
  #waitingBytes = 0;
  #waitingReplies = 0;
  #lastPacketId = 0;
  #unacknowledged = 0;

  constructor(connect: ConnectPacket, limits: SessionLimits) {
    this.level = connect.level;
    this.maxPacketBytes = connect.maxPacketBytes;
    this.#limits = limits;
    this.#window = Math.min(limits.maxInflightOut, connect.receiveMaximum); // [MQTT-3.3.4-9]
    this.#wantsProblemInformation = connect.wantsProblemInformation;
    this.#expires = connect.sessionExpirySeconds > 0;
  }

  /** Bytes of events that wait for the window or the socket. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Replies that wait for the window or the socket. */
  get waitingReplies(): number {
    return this.#waitingReplies;
  }

  /** Whether anything waits. */
  get hasWaiting(): boolean {
    return this.#waiting !== null;
  }

  /** Deliveries sent and not yet acknowledged. */
  get inflightCount(): number {
    return this.#inflight?.size ?? 0;
  }

  /**
   * Takes a packet; answers that owe nothing to requests are written at once.
   *
   * @throws {ProtocolError} when the peer broke MQTT
   */
  receive(packet: Packet, writer: PacketWriter): Effect | null {
    switch (packet.type) {
      case "publish":
        return this.#receivePublish(packet, writer);
      case "puback":
      case "pubrec":
      case "pubcomp":
        return this.#receiveAcknowledgement(packet, writer);
      case "pubrel":
        this.#receiveRelease(packet.packetId, writer);
        return null;
      case "subscribe":
        this.#subscribe(packet, writer);
        return null;
      case "unsubscribe":
        this.#unsubscribe(packet, writer);
        return null;
      case "pingreq":
        writePingresp(writer); // [MQTT-3.12.4-1]
        return null;
      case "disconnect":
        if (packet.sessionExpirySeconds !== null && packet.sessionExpirySeconds > 0 && !this.#expires) {
          throw violation("A session that was to end with its connection cannot be kept.");
        }
        return DISCONNECT;
      case "auth":
        // "Bad authentication method" is an answer to CONNECT alone. [MQTT-3.14.2-1]
        throw violation("No authentication method was agreed."); // [MQTT-4.12.0-7]
    }
  }

  #receivePublish(packet: PublishPacket, writer: PacketWriter): Effect | null {
    const { qos, packetId, payload, responseTopic, correlationData } = packet;
    const topic = this.#resolveTopic(packet);
    if (qos === 2) {
      const known = this.#received?.get(packetId);
      if (known !== undefined) {
        // Taken over once already, until its PUBREL. [MQTT-4.3.3-10], 3.1.1 [MQTT-4.3.3-2]
        if (known === "acknowledged") writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrec, packetId);
        return null;
      }
    }
    const command = commandOf(topic);
    if (qos === 0) {
      if (command === null) return null;
    } else {
      if (this.#unacknowledged >= this.#limits.maxInflightIn) {
        throw new ProtocolError(
          REASONS.receiveMaximumExceeded,
          `More than ${this.#limits.maxInflightIn} packets are unacknowledged.`,
        ); // [MQTT-3.3.4-7]
      }
      this.#unacknowledged++;
      if (qos === 2) (this.#received ??= new Map()).set(packetId, "running");
    }
    return {
      type: "request",
      request: { command, body: payload, qos, packetId, responseTopic, correlationData },
    };
  }

  /** The topic name, or the one its alias stands for on this connection. */
  #resolveTopic({ topic, topicAlias }: PublishPacket): string {
    if (topicAlias === null) return topic;
    if (topicAlias > this.#limits.maxTopicAliases) {
      throw new ProtocolError(
        REASONS.topicAliasInvalid,
        `The topic alias is over ${this.#limits.maxTopicAliases}.`,
      ); // [MQTT-3.3.2-9]
    }
    if (topic !== "") {
      (this.#aliases ??= new Map()).set(topicAlias, topic);
      return topic;
    }
    const known = this.#aliases?.get(topicAlias);
    if (known !== undefined) return known;
    throw new ProtocolError(REASONS.topicAliasInvalid, "The topic alias stands for no topic."); // [MQTT-3.3.2-7]
  }

  /** Acknowledges a request; `code` is the IM code of a refusal. The caller keeps the order. [MQTT-4.6.0-2] */
  acknowledge(request: Request, reason: number, code: number, writer: PacketWriter): void {
    const { qos, packetId } = request;
    if (qos === 0) return;
    const told = this.level === 5 ? reason : 0;
    const isRefused = told >= 0x80;
    if (qos === 1 || isRefused) this.#unacknowledged--;
    if (qos === 2) {
      // A PUBREC that refuses ends the exchange: the identifier is free. [MQTT-4.3.3-9]
      if (isRefused) this.#received!.delete(packetId);
      else this.#received!.set(packetId, "acknowledged");
    }
    const first = qos === 1 ? ACKNOWLEDGEMENTS.puback : ACKNOWLEDGEMENTS.pubrec;
    writeAcknowledgement(writer, first, packetId, told, this.#wantsProblemInformation ? code : 0); // [MQTT-3.1.2-29]
  }

  #receiveRelease(packetId: number, writer: PacketWriter): void {
    const known = this.#received?.get(packetId);
    // Taken as released, its request would be forgotten while the identifier is used for the next one.
    if (known === "running") throw violation("A PUBREL came before its PUBREC.");
    const isKnown = known === "acknowledged";
    if (isKnown) {
      this.#received!.delete(packetId);
      this.#unacknowledged--;
    }
    const reason = isKnown || this.level < 5 ? REASONS.success : REASONS.packetIdNotFound;
    writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubcomp, packetId, reason); // [MQTT-4.3.3-11]
  }

  #receiveAcknowledgement(
    { type, packetId, reason }: AcknowledgementPacket,
    writer: PacketWriter,
  ): Effect | null {
    const expected = this.#inflight?.get(packetId);
    if (expected === undefined) {
      // The client may still be finishing what we have forgotten: let it. PUBACK and PUBCOMP ask for nothing.
      if (type === "pubrec" && reason < 0x80) {
        const answer = this.level < 5 ? REASONS.success : REASONS.packetIdNotFound;
        writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId, answer);
      }
      return null;
    }
    if (type !== expected) {
      // A PUBREC again before its PUBCOMP is only answered again.
      if (type === "pubrec" && expected === "pubcomp") {
        writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId);
        return null;
      }
      throw violation(`A ${type} came where a ${expected} was due.`);
    }
    if (type === "pubrec" && reason < 0x80) {
      this.#inflight!.set(packetId, "pubcomp");
      writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId); // [MQTT-4.3.3-4]
      return PROGRESS;
    }
    this.#inflight!.delete(packetId);
    return PROGRESS;
  }

  #subscribe(packet: SubscribePacket, writer: PacketWriter): void {
    if (packet.subscriptions.some(({ options }) => options.subscriptionId !== null)) {
      throw new ProtocolError(
        REASONS.subscriptionIdsNotSupported,
        "Subscription identifiers are not supported.",
      );
    }
    const granted = packet.subscriptions.map(({ topicFilter, options: { qos } }) => {
      const refusal = refuseFilter(topicFilter, this.#limits);
      if (refusal !== null) return this.level < 5 ? 0x80 : FILTER_REASONS[refusal];
      if (
        !this.#subscriptions.has(topicFilter) && this.#subscriptions.size >= this.#limits.maxSubscriptions
      ) {
        return this.level < 5 ? 0x80 : REASONS.quotaExceeded;
      }
      this.#subscriptions.set(topicFilter, qos);
      return qos;
    });
    this.#append(generateSuback(packet.packetId, granted, this.level), writer); // [MQTT-3.8.4-1] [MQTT-3.9.3-1]
  }

  #unsubscribe(packet: UnsubscribePacket, writer: PacketWriter): void {
    const codes = packet.topicFilters.map((topicFilter) =>
      this.#subscriptions.delete(topicFilter) ? REASONS.success : REASONS.noSubscriptionExisted
    );
    this.#append(generateUnsuback(packet.packetId, codes, this.level), writer); // [MQTT-3.10.4-4]
  }

  /** A client that asks for more in one packet than it takes in one answer would wait for it for ever. */
  #append(bytes: Uint8Array, writer: PacketWriter): void {
    if (bytes.length > this.maxPacketBytes) {
      throw new ProtocolError(
        REASONS.packetTooLarge,
        "The acknowledgement is larger than the client's Maximum Packet Size.",
      ); // [MQTT-3.1.2-24]
    }
    writer.append(bytes);
  }

  /** QoS of replies on this topic, or {@linkcode NOT_SUBSCRIBED}. */
  replyQos(topic: string): number {
    return this.#subscriptions.replyQos(topic);
  }

  /** QoS of events, or {@linkcode NOT_SUBSCRIBED}. */
  get inboxQos(): number {
    return this.#subscriptions.inboxQos;
  }

  /**
   * Sends at this QoS, or keeps it until the window and the socket have room. Order is kept: behind something that
   * waits, everything waits.
   */
  deliver(
    outgoing: Outgoing,
    qos: number,
    isCounted: boolean,
    hasRoom: boolean,
    writer: PacketWriter,
  ): Delivered {
    if (qos === NOT_SUBSCRIBED) return "not-subscribed";
    if (
      this.maxPacketBytes !== Infinity && publishBytes(outgoing, qos, this.level) > this.maxPacketBytes
    ) return "too-large";
    if (hasRoom && this.#waiting === null && (qos === 0 || this.inflightCount < this.#window)) {
      writePublish(writer, outgoing, qos, qos === 0 ? 0 : this.#takePacketId(qos), this.level);
      return "written";
    }
    scratch.length = 0;
    writePublish(scratch, outgoing, qos, 0, this.level);
    const bytes = scratch.written().slice();
    (this.#waiting ??= []).push({ bytes, qos, isCounted });
    if (isCounted) this.#waitingBytes += bytes.length;
    else this.#waitingReplies++;
    return "waiting";
  }

  /** Sends what waits, while the window has room and the writer holds fewer than `maxWriterBytes`. */
  release(maxWriterBytes: number, writer: PacketWriter): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    while (this.#waitingTaken < waiting.length && writer.length < maxWriterBytes) {
      const { bytes, qos, isCounted } = waiting[this.#waitingTaken]!;
      if (qos > 0) {
        if (this.inflightCount >= this.#window) break;
        setPacketId(bytes, this.#takePacketId(qos));
      }
      writer.append(bytes);
      waiting[this.#waitingTaken++] = GONE;
      if (isCounted) this.#waitingBytes -= bytes.length;
      else this.#waitingReplies--;
    }
    if (this.#waitingTaken === waiting.length) {
      this.#waiting = null;
      this.#waitingTaken = 0;
    } else if (this.#waitingTaken >= 256) {
      waiting.splice(0, this.#waitingTaken);
      this.#waitingTaken = 0;
    }
  }

  /** The next identifier that is not in use. [MQTT-2.2.1-4] */
  #takePacketId(qos: number): number {
    const inflight = this.#inflight ??= new Map();
    do {
      this.#lastPacketId = this.#lastPacketId === 65_535 ? 1 : this.#lastPacketId + 1;
    } while (inflight.has(this.#lastPacketId));
    inflight.set(this.#lastPacketId, qos === 1 ? "puback" : "pubrec");
    return this.#lastPacketId;
  }
}
