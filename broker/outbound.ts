/**
 * What goes out in one session: the window, the packet identifiers, what waits, and what is kept for a client that
 * comes again. Pure: packets go into a writer, changes of lasting state into a {@linkcode SessionLog}, time is given.
 *
 * Deliveries to `me/…` live no longer than their connection: the timeline is their queue, so what is not acknowledged
 * is forgotten at its end. Messages of open topics at QoS 1 and 2 stay until their exchange has ended.
 *
 * Source: MQTT Version 3.1.1 and 5.0, sections 4.3, 4.4 and 4.9.
 */

import { ACKNOWLEDGEMENTS, publishBytes, setPacketId, writeAcknowledgement, writePublish } from "./encode.ts";
import {
  appendPublication,
  publicationBytes,
  type PublicationDelivery,
  type SharedPublication,
  writePublication,
} from "./encode_publication.ts";
import {
  type Delivery,
  KeptMessages,
  type Queued,
  queuedOf,
  type RestoredMessage,
  type SessionCounts,
} from "./kept_messages.ts";
import type { SessionLimits } from "./limits.ts";
import type { Outgoing } from "./outgoing.ts";
import type { AcknowledgementPacket, ConnectPacket, ProtocolLevel } from "./packet.ts";
import { PacketWriter } from "./packet_writer.ts";
import { ProtocolError, REASONS, violation } from "./protocol_error.ts";
import type { SessionLog } from "./session_log.ts";
import { GONE, ITEM_BYTES, type Waiting } from "./waiting.ts";

/** What became of a delivery. */
export type Delivered = "written" | "waiting" | "too-large" | "dropped";

/** What is out and which acknowledgement comes next: PUBACK, PUBREC or PUBCOMP. */
type Inflight = "puback" | "pubrec" | "pubcomp";

const LEAST_TIDIED = 1_024;
// Sessions take turns on one thread, so packets that must wait are all encoded here first.
const scratch = new PacketWriter(8_192);

/** The outgoing half of a session. */
export class Outbound {
  readonly #limits: SessionLimits;
  readonly kept: KeptMessages;
  readonly #counts: SessionCounts;

  // The connection's part.
  #level: ProtocolLevel = 4;
  #maxPacketBytes = Infinity;
  #window = 0;
  #aliasMaximum = 0;
  #aliases: Map<string, number> | null = null;
  // Made when first needed: an idle connection has none of these.
  #inflight: Map<number, Inflight> | null = null;
  #waiting: Waiting[] | null = null;
  #waitingTaken = 0;
  #tidyAt = LEAST_TIDIED;
  #waitingBytes = 0;
  #waitingEvents = 0;
  #waitingReplies = 0;
  #waitingReplays = 0;

  #lastPacketId = 0;

  constructor(limits: SessionLimits, counts: SessionCounts) {
    this.#limits = limits;
    this.#counts = counts;
    this.kept = new KeptMessages(limits, counts);
  }

  /** Bytes of events and messages that wait for the window or the socket. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Events for `me/inbox` that wait for the window or the socket. */
  get waitingEvents(): number {
    return this.#waitingEvents;
  }

  /** Replies that wait for the window or the socket. */
  get waitingReplies(): number {
    return this.#waitingReplies;
  }

  /** Retained messages that wait for the window or the socket. */
  get waitingReplays(): number {
    return this.#waitingReplays;
  }

  /** Places that what waits takes, some of them of messages that have made place. */
  get waitingPlaces(): number {
    return (this.#waiting?.length ?? 0) - this.#waitingTaken;
  }

  /** Whether anything waits. */
  get hasWaiting(): boolean {
    return this.#waiting !== null;
  }

  /** Deliveries sent and not yet acknowledged. */
  get inflightCount(): number {
    return this.#inflight?.size ?? 0;
  }

  /** Packets larger than this are not sent. [MQTT-3.1.2-24] */
  get maxPacketBytes(): number {
    return this.#maxPacketBytes;
  }

  /** Takes up what the store kept; which of it was sent is not known, and not more than the window. */
  restore(log: SessionLog, messages: readonly RestoredMessage[]): void {
    this.kept.log = log;
    this.kept.isAway = true;
    this.kept.restore(messages, this.#limits.maxInflightOut);
  }

  /** A connection begins. */
  attach(connect: ConnectPacket): void {
    this.#level = connect.level;
    this.#maxPacketBytes = connect.maxPacketBytes;
    this.#window = Math.min(this.#limits.maxInflightOut, connect.receiveMaximum); // [MQTT-3.3.4-9]
    this.#aliasMaximum = Math.min(this.#limits.maxTopicAliases, connect.topicAliasMaximum); // [MQTT-3.1.2-26]
    this.#aliases = null; // [MQTT-3.3.2-7]
    this.kept.isAway = false;
  }

  /** The connection is over: what is not kept is forgotten, and its identifiers are free. */
  detach(): void {
    this.#inflight = null;
    this.#waiting = null;
    this.#waitingTaken = 0;
    this.#tidyAt = LEAST_TIDIED;
    this.#waitingBytes = 0;
    this.#waitingEvents = 0;
    this.#waitingReplies = 0;
    this.#waitingReplays = 0;
    this.kept.isAway = true;
    this.kept.dropBodies();
  }

  /**
   * The client has come again: every exchange goes on where it stood, in the order it began.
   * [MQTT-4.4.0-1] [MQTT-4.6.0-1]
   */
  resume(writer: PacketWriter): void {
    for (const queued of [...this.kept.values()].sort((a, b) => a.seq - b.seq)) {
      if (!queued.isReleased) {
        this.#wait(queued);
        continue;
      }
      (this.#inflight ??= new Map()).set(queued.packetId, "pubcomp");
      writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, queued.packetId);
    }
  }

  /**
   * Sends to `me/…` at this QoS, or keeps it until the window and the socket have room. Order is kept: behind
   * something that waits, everything waits.
   */
  deliver(
    outgoing: Outgoing,
    qos: number,
    isCounted: boolean,
    hasRoom: boolean,
    writer: PacketWriter,
  ): Delivered {
    const level = this.#level;
    if (this.#maxPacketBytes !== Infinity && publishBytes(outgoing, qos, level) > this.#maxPacketBytes) {
      return "too-large";
    }
    if (hasRoom && this.#waiting === null && (qos === 0 || this.inflightCount < this.#window)) {
      writePublish(writer, outgoing, qos, qos === 0 ? 0 : this.#begin(this.#freePacketId(), qos), level);
      return "written";
    }
    scratch.length = 0;
    writePublish(scratch, outgoing, qos, 0, level);
    this.#wait({ kind: "encoded", bytes: scratch.written().slice(), qos, isCounted });
    return "waiting";
  }

  /** Sends a message of an open topic, or keeps it until the window and the socket have room. */
  publish(delivery: Delivery, hasRoom: boolean, nowMs: number, writer: PacketWriter): Delivered {
    const { qos, isReplay } = delivery;
    const isKept = qos > 0 && this.kept.log !== null;
    // A retained message is in its own store: it is kept for the session from its sending on.
    const queued = isKept && !isReplay
      ? this.kept.add(delivery, this.#freePacketId())
      : queuedOf(delivery, isKept ? this.kept.takeSeq() : 0, 0);
    if (queued === null) {
      this.#counts.dropped++;
      return "dropped";
    }
    if (isReplay && this.#waitingReplays >= this.#limits.maxRetainedPerFilter) {
      throw new ProtocolError(REASONS.quotaExceeded, "Too many retained messages wait for the client.");
    }
    if (hasRoom && this.#waiting === null && (qos === 0 || this.inflightCount < this.#window)) {
      this.#send(queued, nowMs, writer);
      return "written";
    }
    this.#wait(queued);
    return "waiting";
  }

  /** Keeps a message for a client that is away; `keepsBody` while bodies are being read back for it. */
  enqueue(delivery: Delivery, keepsBody: boolean): void {
    const queued = this.kept.add(delivery, delivery.qos === 0 ? 0 : this.#freePacketId());
    if (queued === null) this.#counts.dropped++;
    else if (!keepsBody) queued.shared = null;
  }

  #wait(item: Waiting): void {
    (this.#waiting ??= []).push(item);
    this.#count(item, 1);
    if (this.#waiting.length >= this.#tidyAt) this.#tidy();
  }

  /** Those that made place for newer ones do not stand in the way for as long as the window is full. */
  #tidy(): void {
    this.#waiting = this.#waiting!.slice(this.#waitingTaken).filter((item) => this.#isDue(item));
    this.#waitingTaken = 0;
    this.#tidyAt = Math.max(LEAST_TIDIED, 2 * this.#waiting.length);
  }

  /** It may have had to make place for a newer one. */
  #isDue(item: Waiting): boolean {
    return item.kind === "encoded" || item.isReplay || item.seq === 0 || this.kept.holds(item);
  }

  /** What is kept anyway has limits of its own, and so have replies and retained messages. */
  #count(item: Waiting, sign: 1 | -1): void {
    if (item.kind === "queued") {
      if (item.isReplay) this.#waitingReplays += sign;
      else if (item.seq === 0) this.#waitingBytes += sign * (item.bytes + ITEM_BYTES);
    } else if (item.isCounted) {
      this.#waitingBytes += sign * item.bytes.length;
      this.#waitingEvents += sign;
    } else this.#waitingReplies += sign;
  }

  /** Sends what waits, while the window has room and the writer holds fewer than `maxWriterBytes`. */
  release(maxWriterBytes: number, nowMs: number, writer: PacketWriter): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    while (this.#waitingTaken < waiting.length && writer.length < maxWriterBytes) {
      const item = waiting[this.#waitingTaken]!;
      if (item.qos > 0 && this.inflightCount >= this.#window) break;
      if (item.kind === "queued") {
        if (this.#isDue(item)) this.#send(item, nowMs, writer);
      } else {
        if (item.qos > 0) setPacketId(item.bytes, this.#begin(this.#freePacketId(), item.qos));
        writer.append(item.bytes);
      }
      waiting[this.#waitingTaken++] = GONE;
      this.#count(item, -1);
    }
    if (this.#waitingTaken === waiting.length) {
      this.#waiting = null;
      this.#waitingTaken = 0;
    } else if (this.#waitingTaken >= 256) {
      waiting.splice(0, this.#waitingTaken);
      this.#waitingTaken = 0;
    }
  }

  #send(waited: Queued, nowMs: number, writer: PacketWriter): void {
    const { qos, shared, wasSent, expiresAtMs } = waited;
    // Past its expiry nothing begins; what has begun goes on. [MQTT-3.3.2-5]
    const isLate = expiresAtMs !== null && expiresAtMs <= nowMs && !wasSent;
    if (shared === null || isLate) {
      this.#counts.dropped++;
      return this.kept.forget(waited);
    }
    const queued = waited.isReplay ? this.#keepReplay(waited, shared) : waited;
    const packetId = qos === 0 ? 0 : queued.packetId === 0 ? this.#freePacketId() : queued.packetId;
    // What is too large for the client counts as delivered. [MQTT-3.1.2-25]
    if (!this.#write(queued, shared, packetId, nowMs, writer)) return this.kept.forget(queued);
    if (qos === 0) return this.kept.forget(queued);
    queued.wasSent = true;
    this.#begin(packetId, qos);
  }

  /** From now on it is a kept message like any other. */
  #keepReplay(replay: Queued, shared: SharedPublication): Queued {
    const { seq } = replay;
    if (seq === 0) return replay;
    return this.kept.add({ ...replay, shared, isReplay: false }, this.#freePacketId(), seq) ?? replay;
  }

  /** Whether it was small enough to be written. */
  #write(
    queued: Queued,
    shared: SharedPublication,
    packetId: number,
    nowMs: number,
    writer: PacketWriter,
  ): boolean {
    const { qos, retain, subscriptionIds, expiresAtMs, wasSent: dup } = queued;
    const level = this.#level;
    const { publication } = shared;
    const isPlain = level === 4 ||
      (expiresAtMs === null && subscriptionIds.length === 0 && this.#aliasMaximum === 0);
    if (isPlain && !dup && shared.hasManyReceivers) {
      const encoded = shared.encoded(level, qos, retain);
      if (encoded.bytes.length > this.#maxPacketBytes) return false;
      appendPublication(writer, encoded, packetId);
      return true;
    }
    const delivery = { publication, qos, retain, subscriptionIds };
    const expirySeconds = expiresAtMs === null ? null : Math.max(1, Math.ceil((expiresAtMs - nowMs) / 1_000));
    const knownAlias = this.#aliases?.get(publication.topic) ?? null;
    const isAliasKnown = knownAlias !== null;
    let topicAlias = knownAlias ?? this.#nextAlias();
    // The packet that makes an alias known is larger for it: there may be room for the message alone.
    if (!isAliasKnown && !this.#fits(delivery, expirySeconds, topicAlias, false)) topicAlias = null;
    if (!this.#fits(delivery, expirySeconds, topicAlias, isAliasKnown)) return false;
    if (topicAlias !== null && !isAliasKnown) {
      (this.#aliases ??= new Map()).set(publication.topic, topicAlias);
    }
    writePublication(writer, delivery, { level, packetId, dup, expirySeconds, topicAlias, isAliasKnown });
    return true;
  }

  #fits(
    delivery: PublicationDelivery,
    expirySeconds: number | null,
    topicAlias: number | null,
    isAliasKnown: boolean,
  ): boolean {
    if (this.#maxPacketBytes === Infinity) return true;
    const bytes = publicationBytes(delivery, this.#level, expirySeconds, topicAlias, isAliasKnown);
    return bytes <= this.#maxPacketBytes;
  }

  /** The first topics of a connection get the aliases; null when there is none left. [MQTT-3.3.2-8] */
  #nextAlias(): number | null {
    const used = this.#aliases?.size ?? 0;
    return this.#level === 5 && used < this.#aliasMaximum ? used + 1 : null;
  }

  /**
   * Takes an acknowledgement; whether there may be room for another delivery.
   *
   * @throws {ProtocolError} for one that is not due
   */
  acknowledge({ type, packetId, reason }: AcknowledgementPacket, writer: PacketWriter): boolean {
    const expected = this.#inflight?.get(packetId);
    if (expected === undefined) {
      // The client may still be finishing what we have forgotten: let it. PUBACK and PUBCOMP ask for nothing.
      if (type === "pubrec" && reason < 0x80) {
        const answer = this.#level < 5 ? REASONS.success : REASONS.packetIdNotFound;
        writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId, answer);
      }
      return false;
    }
    if (type !== expected) {
      // A PUBREC again before its PUBCOMP is only answered again.
      if (type === "pubrec" && expected === "pubcomp") {
        writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId);
        return false;
      }
      throw violation(`A ${type} came where a ${expected} was due.`);
    }
    const queued = this.kept.get(packetId);
    if (type === "pubrec" && reason < 0x80) {
      this.#inflight!.set(packetId, "pubcomp");
      if (queued !== undefined) this.kept.release(queued);
      writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrel, packetId); // [MQTT-4.3.3-4]
      return true;
    }
    this.#inflight!.delete(packetId);
    if (queued !== undefined) this.kept.forget(queued);
    return true;
  }

  #begin(packetId: number, qos: number): number {
    (this.#inflight ??= new Map()).set(packetId, qos === 1 ? "puback" : "pubrec");
    return packetId;
  }

  /** The next identifier that is not in use. [MQTT-2.2.1-4] */
  #freePacketId(): number {
    do {
      this.#lastPacketId = this.#lastPacketId === 65_535 ? 1 : this.#lastPacketId + 1;
    } while (
      this.#inflight?.has(this.#lastPacketId) === true || this.kept.get(this.#lastPacketId) !== undefined
    );
    return this.#lastPacketId;
  }
}
