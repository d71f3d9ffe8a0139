/**
 * An MQTT session without I/O and without a clock: packets in; packets out into a writer, changes of lasting state into
 * a {@linkcode SessionLog}, and what else must happen as the returned effect.
 *
 * A session may outlive its connections. What is of the connection alone (aliases, `me/…` deliveries, requests) begins
 * with {@linkcode Session.attach} and ends with {@linkcode Session.detach}.
 *
 * Source: MQTT Version 3.1.1 and 5.0, sections 3 and 4. Tags without a version are those of 5.0.
 */

import { generateSuback, generateUnsuback } from "./codec.ts";
import { ACKNOWLEDGEMENTS, variableBytes, writeAcknowledgement, writePingresp } from "./encode.ts";
import type { Delivery, RestoredMessage, SessionCounts } from "./kept_messages.ts";
import type { SessionLimits } from "./limits.ts";
import { type Delivered, Outbound } from "./outbound.ts";
import type { Outgoing } from "./outgoing.ts";
import type {
  ConnectPacket,
  DisconnectPacket,
  Packet,
  ProtocolLevel,
  PublishPacket,
  SubscribePacket,
  UnsubscribePacket,
} from "./packet.ts";
import type { PacketWriter } from "./packet_writer.ts";
import { ProtocolError, REASONS, violation } from "./protocol_error.ts";
import type { Publication, SubscriptionOptions } from "./publication.ts";
import type { SessionLog } from "./session_log.ts";
import { type MeGrant, Subscriptions } from "./subscriptions.ts";
import { isMeFilter, isTooLong } from "./topic.ts";
import type { FilterRefusal, TopicAccess, TopicRefusal } from "./topic_access.ts";

/** What must happen after a packet, beside what was written. */
export type Effect =
  | { readonly type: "request"; readonly request: Request }
  /** To be routed, told by {@linkcode Session.routed}, and then acknowledged in its turn. */
  | { readonly type: "publish"; readonly publication: Publication; readonly request: Request }
  /** Subscriptions of open topics were made or changed, in this order. */
  | { readonly type: "subscribed"; readonly subscriptions: readonly OpenSubscription[] }
  /** Subscriptions of open topics are gone. */
  | { readonly type: "unsubscribed"; readonly topicFilters: readonly string[] }
  /** The peer says good-bye; nothing behind it counts. */
  | { readonly type: "disconnect"; readonly packet: DisconnectPacket }
  /** A delivery was acknowledged: there may be room for another. */
  | { readonly type: "progress" };

/** A subscription of open topics. */
export interface OpenSubscription {
  readonly topicFilter: string;
  readonly options: SubscriptionOptions;
  /** Whether the session had none with this filter. */
  readonly isNew: boolean;
}

/** A PUBLISH that must be answered in its turn. Byte arrays are views into the received bytes. */
export interface Request {
  /** null for what is no command: it is acknowledged in its turn, and has no reply. */
  readonly command: string | null;
  /** What it is acknowledged with, where it is no command. */
  readonly reason: number;
  readonly body: Uint8Array;
  readonly qos: number;
  readonly packetId: number;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
}

/** What is stored of a session. */
export interface RestoredState {
  readonly subscriptions: Iterable<readonly [string, SubscriptionOptions]>;
  readonly queued: readonly RestoredMessage[];
  /** Packet identifiers of QoS 2 that wait for their PUBREL. */
  readonly received: readonly number[];
}

/** What a session lives by. */
export interface SessionRules {
  readonly limits: SessionLimits;
  readonly access: TopicAccess;
  /** Counts for all sessions together. */
  readonly counts: SessionCounts;
}

const PROGRESS: Effect = { type: "progress" };
const NO_BYTES = new Uint8Array(0);
/** Over the limits whatever they are: an alias for a topic that is, stands for this one, which needs no keeping. */
const OVERLONG_TOPIC = "/".repeat(1_024);

const TOPIC_REASONS: { readonly [refusal in TopicRefusal]: number } = {
  "too-long": REASONS.topicNameInvalid,
  "closed": REASONS.notAuthorized,
};
const FILTER_REASONS: { readonly [refusal in FilterRefusal]: number } = {
  "too-long": REASONS.topicFilterInvalid,
  "shared": REASONS.sharedSubscriptionsNotSupported,
  "closed": REASONS.notAuthorized,
};

/** Of an incoming QoS 2 exchange: its PUBREC has been written. */
const ACKNOWLEDGED = 1;
/** Of an incoming QoS 2 exchange: it was routed to open topics, and outlives the connection. */
const ROUTED = 2;

/** One client's MQTT state. */
export class Session {
  readonly outbound: Outbound;
  readonly subscriptions = new Subscriptions();
  readonly #limits: SessionLimits;
  readonly #access: TopicAccess;
  #log: SessionLog | null = null;
  #level: ProtocolLevel = 4;
  #wantsProblemInformation = true;
  #mayExpire = false;
  // Made when first needed: an idle connection has none of these.
  #received: Map<number, number> | null = null;
  /** Topics by the alias the client gave them on this connection. */
  #aliases: Map<number, string> | null = null;
  #unacknowledged = 0;

  constructor({ limits, access, counts }: SessionRules) {
    this.#limits = limits;
    this.#access = access;
    this.outbound = new Outbound(limits, counts);
  }

  /** Protocol level: 4 or 5. */
  get level(): ProtocolLevel {
    return this.#level;
  }

  /** A connection begins; `log` is null for a session that ends with it. */
  attach(connect: ConnectPacket, log: SessionLog | null): void {
    this.#level = connect.level;
    this.#wantsProblemInformation = connect.wantsProblemInformation;
    this.#mayExpire = connect.sessionExpirySeconds > 0;
    this.#log = log;
    for (const packetId of this.#received?.keys() ?? []) this.#received!.set(packetId, ACKNOWLEDGED | ROUTED);
    this.#unacknowledged = this.#received?.size ?? 0;
    this.outbound.kept.log = log;
    this.outbound.attach(connect);
  }

  /** The connection is over. */
  detach(): void {
    this.#aliases = null;
    for (const [packetId, state] of this.#received ?? []) {
      // A command answers its repetition by its own means; what was routed must not be routed again.
      if ((state & ROUTED) === 0) this.#received!.delete(packetId);
    }
    this.outbound.detach();
  }

  /** Takes up what the store kept of a session that this process has not seen yet; its client is away. */
  restore(log: SessionLog, { subscriptions, queued, received }: RestoredState): void {
    this.#log = log;
    for (const [topicFilter, options] of subscriptions) {
      if (this.#access.refuseFilter(topicFilter) === null) this.subscriptions.set(topicFilter, options);
    }
    if (received.length > 0) {
      this.#received = new Map(received.map((packetId) => [packetId, ROUTED]));
    }
    this.outbound.restore(log, queued);
  }

  /**
   * Takes a packet; answers that owe nothing to requests are written at once.
   *
   * @param nowMs since 1970
   * @throws {ProtocolError} when the peer broke MQTT
   */
  receive(packet: Packet, nowMs: number, writer: PacketWriter): Effect | null {
    switch (packet.type) {
      case "publish":
        return this.#receivePublish(packet, nowMs, writer);
      case "puback":
      case "pubrec":
      case "pubcomp":
        return this.outbound.acknowledge(packet, writer) ? PROGRESS : null;
      case "pubrel":
        this.#receiveRelease(packet.packetId, writer);
        return null;
      case "subscribe":
        return this.#subscribe(packet, writer);
      case "unsubscribe":
        return this.#unsubscribe(packet, writer);
      case "pingreq":
        writePingresp(writer); // [MQTT-3.12.4-1]
        return null;
      case "disconnect":
        if (packet.sessionExpirySeconds !== null && packet.sessionExpirySeconds > 0 && !this.#mayExpire) {
          throw violation("A session that was to end with its connection cannot be kept.");
        }
        return { type: "disconnect", packet };
      case "auth":
        // "Bad authentication method" is an answer to CONNECT alone. [MQTT-3.14.2-1]
        throw violation("No authentication method was agreed."); // [MQTT-4.12.0-7]
    }
  }

  #receivePublish(packet: PublishPacket, nowMs: number, writer: PacketWriter): Effect | null {
    const { qos, packetId, payload, responseTopic, correlationData } = packet;
    const topic = this.#resolveTopic(packet);
    if (qos === 2) {
      const known = this.#received?.get(packetId);
      if (known !== undefined) {
        // Taken over once already, until its PUBREL. [MQTT-4.3.3-10], 3.1.1 [MQTT-4.3.3-2]
        if ((known & ACKNOWLEDGED) !== 0) writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrec, packetId);
        return null;
      }
    }
    const command = this.#access.commandOf(topic);
    const refusal = command === null ? this.#access.refuseTopic(topic) : null;
    if (qos > 0) this.#takeOver(qos, packetId);
    else if (refusal !== null) return null;
    if (command === null) {
      const reason = refusal === null ? REASONS.success : TOPIC_REASONS[refusal];
      const request = {
        ...{ command, reason, body: NO_BYTES, qos, packetId },
        ...{ responseTopic: null, correlationData: null },
      };
      if (refusal !== null) return { type: "request", request };
      return { type: "publish", publication: publicationOf(packet, topic, nowMs), request };
    }
    const request = { command, reason: 0, body: payload, qos, packetId, responseTopic, correlationData };
    return { type: "request", request };
  }

  /**
   * A message of an open topic is on its way: its identifier lasts. Told behind the routing, so that where the unit is
   * too large for one commit a crash makes it come twice rather than not at all.
   */
  routed({ qos, packetId }: Request): void {
    if (qos < 2) return;
    this.#received!.set(packetId, ROUTED);
    this.#log?.received(packetId, true);
  }

  #takeOver(qos: number, packetId: number): void {
    if (this.#unacknowledged >= this.#limits.maxInflightIn) {
      throw new ProtocolError(
        REASONS.receiveMaximumExceeded,
        `More than ${this.#limits.maxInflightIn} packets are unacknowledged.`,
      ); // [MQTT-3.3.4-7]
    }
    this.#unacknowledged++;
    if (qos === 2) (this.#received ??= new Map()).set(packetId, 0);
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
      const kept = isTooLong(topic, this.#limits) ? OVERLONG_TOPIC : topic;
      (this.#aliases ??= new Map()).set(topicAlias, kept);
      return topic;
    }
    const known = this.#aliases?.get(topicAlias);
    if (known !== undefined) return known;
    throw violation("The topic alias stands for no topic."); // [MQTT-3.3.2-7]
  }

  /** Acknowledges a request; `code` is the IM code of a refusal. The caller keeps the order. [MQTT-4.6.0-2] */
  acknowledge(request: Request, reason: number, code: number, writer: PacketWriter): void {
    const { qos, packetId } = request;
    if (qos === 0) return;
    const told = this.#level === 5 ? reason : 0;
    const isRefused = told >= 0x80;
    if (qos === 1 || isRefused) this.#unacknowledged--;
    if (qos === 2) {
      // A PUBREC that refuses ends the exchange: the identifier is free. [MQTT-4.3.3-9]
      if (isRefused) this.#release(packetId);
      else this.#received!.set(packetId, this.#received!.get(packetId)! | ACKNOWLEDGED);
    }
    const first = qos === 1 ? ACKNOWLEDGEMENTS.puback : ACKNOWLEDGEMENTS.pubrec;
    writeAcknowledgement(writer, first, packetId, told, this.#wantsProblemInformation ? code : 0); // [MQTT-3.1.2-29]
  }

  #release(packetId: number): void {
    if ((this.#received!.get(packetId)! & ROUTED) !== 0) this.#log?.received(packetId, false);
    this.#received!.delete(packetId);
  }

  #receiveRelease(packetId: number, writer: PacketWriter): void {
    const known = this.#received?.get(packetId);
    // Taken as released, its request would be forgotten while the identifier is used for the next one.
    if (known !== undefined && (known & ACKNOWLEDGED) === 0) {
      throw violation("A PUBREL came before its PUBREC.");
    }
    if (known !== undefined) {
      this.#release(packetId);
      this.#unacknowledged--;
    }
    const reason = known !== undefined || this.#level < 5 ? REASONS.success : REASONS.packetIdNotFound;
    writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubcomp, packetId, reason); // [MQTT-4.3.3-11]
  }

  #subscribe({ packetId, subscriptions }: SubscribePacket, writer: PacketWriter): Effect | null {
    this.#requireRoomFor(subscriptions.length);
    const open: OpenSubscription[] = [];
    // Of a filter that comes more than once, the last options are those that last.
    const changed = new Map<string, SubscriptionOptions>();
    const granted = subscriptions.map(({ topicFilter, options }) => {
      const refusal = this.#access.refuseFilter(topicFilter);
      if (refusal !== null) return this.#level < 5 ? 0x80 : FILTER_REASONS[refusal];
      const isNew = !this.subscriptions.has(topicFilter);
      if (isNew && this.subscriptions.size >= this.#limits.maxSubscriptions) {
        return this.#level < 5 ? 0x80 : REASONS.quotaExceeded;
      }
      this.subscriptions.set(topicFilter, options);
      changed.set(topicFilter, options);
      if (!isMeFilter(topicFilter)) open.push({ topicFilter, options, isNew });
      return options.qos;
    });
    if (this.#log !== null) {
      for (const [topicFilter, options] of changed) this.#log.subscription(topicFilter, options);
    }
    writer.append(generateSuback(packetId, granted, this.#level)); // [MQTT-3.8.4-1] [MQTT-3.9.3-1]
    return open.length === 0 ? null : { type: "subscribed", subscriptions: open };
  }

  #unsubscribe(packet: UnsubscribePacket, writer: PacketWriter): Effect | null {
    this.#requireRoomFor(packet.topicFilters.length);
    const open: string[] = [];
    const codes = packet.topicFilters.map((topicFilter) => {
      if (!this.subscriptions.delete(topicFilter)) return REASONS.noSubscriptionExisted;
      this.#log?.subscription(topicFilter, null);
      if (!isMeFilter(topicFilter)) open.push(topicFilter);
      return REASONS.success;
    });
    writer.append(generateUnsuback(packet.packetId, codes, this.#level)); // [MQTT-3.10.4-4]
    return open.length === 0 ? null : { type: "unsubscribed", topicFilters: open };
  }

  /** A client that asks for more in one packet than it takes in one answer would wait for it for ever. */
  #requireRoomFor(codes: number): void {
    const remaining = 2 + (this.#level === 5 ? 1 : 0) + codes;
    if (1 + variableBytes(remaining) + remaining <= this.outbound.maxPacketBytes) return;
    throw new ProtocolError(
      REASONS.packetTooLarge,
      "The acknowledgement is larger than the client's Maximum Packet Size.",
    ); // [MQTT-3.1.2-24]
  }

  /** Sends to `me/…` as the subscriptions ask, or keeps it until the window and the socket have room. */
  deliver(
    outgoing: Outgoing,
    grant: MeGrant,
    isCounted: boolean,
    hasRoom: boolean,
    writer: PacketWriter,
  ): Delivered {
    const { qos, properties } = grant;
    const asked = properties.length === 0
      ? outgoing
      : { ...outgoing, properties: joined(properties, outgoing.properties) };
    return this.outbound.deliver(asked, qos, isCounted, hasRoom, writer);
  }

  /** Keeps a message of an open topic for a client that is away; `keepsBody` while others are being read back. */
  enqueue(delivery: Delivery, keepsBody: boolean): void {
    if (this.#log !== null) this.outbound.enqueue(delivery, keepsBody);
  }
}

/** Copied out of the received bytes, as it outlives them. */
function publicationOf(packet: PublishPacket, topic: string, nowMs: number): Publication {
  const { payload, qos, retain, forwarded, expirySeconds } = packet;
  return {
    topic,
    payload: payload.slice(),
    qos,
    retain,
    properties: forwarded.length === 0 ? NO_BYTES : forwarded.slice(),
    expiresAtMs: expirySeconds === null ? null : nowMs + expirySeconds * 1_000,
  };
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}
