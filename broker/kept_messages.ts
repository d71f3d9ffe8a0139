/**
 * The messages of open topics that are kept for a session until their exchange has ended, in the order they came.
 * Pure: changes go into a {@linkcode SessionLog}.
 */

import type { SharedPublication } from "./encode_publication.ts";
import type { SessionLog } from "./session_log.ts";

/** Limits of what is kept for one session. */
export interface KeptLimits {
  /** While the client is away. */
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
}

/** What is counted for all sessions together. */
export interface SessionCounts {
  /** Messages that had to make place for newer ones, or were too old when their turn came. */
  dropped: number;
}

/** Each has a packet identifier; some must be left for the window of what is not kept, 5,000 at most. */
const MOST_MESSAGES = 60_000;

/** A message of an open topic for one session. */
export interface Delivery {
  readonly shared: SharedPublication;
  readonly qos: number;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** A retained message for a new subscription. */
  readonly isReplay: boolean;
}

/** A message that is kept for the session, as it was found in the store. */
export interface RestoredMessage {
  readonly seq: number;
  readonly qos: number;
  readonly packetId: number;
  readonly isReleased: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly expiresAtMs: number | null;
  /** The size by which it is stored. */
  readonly payloadBytes: number;
}

/** A message of an open topic that waits, or is kept until its exchange has ended. */
export interface Queued {
  readonly kind: "queued";
  /** 0: it is not kept. A retained message that waits has the one under which it is kept from its sending on. */
  readonly seq: number;
  readonly qos: number;
  /** 0 at QoS 0, and for what is not kept until it is sent. */
  readonly packetId: number;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly expiresAtMs: number | null;
  /** What it counts while it waits. */
  readonly bytes: number;
  readonly isReplay: boolean;
  /** The size by which it is stored. */
  storedBytes: number;
  /** null while its body is in the store alone, and once it is released. */
  shared: SharedPublication | null;
  wasSent: boolean;
  isReleased: boolean;
}

/** A message that is to be sent once, or kept under `seq` and `packetId`. */
export function queuedOf(delivery: Delivery, seq: number, packetId: number): Queued {
  const { shared, qos, retain, subscriptionIds, isReplay } = delivery;
  const { topic, payload, properties, expiresAtMs } = shared.publication;
  return {
    kind: "queued",
    seq,
    qos,
    packetId,
    retain,
    subscriptionIds,
    expiresAtMs,
    bytes: topic.length + payload.length + properties.length,
    isReplay,
    storedBytes: 0,
    shared,
    wasSent: false,
    isReleased: false,
  };
}

/** The kept messages of one session. */
export class KeptMessages {
  readonly #limits: KeptLimits;
  /** null for a session that ends with its connection: it keeps nothing. */
  log: SessionLog | null = null;
  /** Whether the client is away: then their number is limited too, not only their bytes. */
  isAway = false;
  readonly #counts: SessionCounts;
  /** By packet identifier, or by -seq at QoS 0, in the order of seq. */
  #kept: Map<number, Queued> | null = null;
  #lastSeq = 0;
  #bytes = 0;
  /** Those of QoS 0. */
  #atMostOnce = 0;

  constructor(limits: KeptLimits, counts: SessionCounts) {
    this.#limits = limits;
    this.#counts = counts;
  }

  /** How many there are. */
  get size(): number {
    return this.#kept?.size ?? 0;
  }

  /** All of them, in the order they were kept. */
  values(): Iterable<Queued> {
    return this.#kept?.values() ?? [];
  }

  /** The one whose exchange has this identifier. */
  get(packetId: number): Queued | undefined {
    return this.#kept?.get(packetId);
  }

  /** Whether it has not made place for a newer one meanwhile. */
  holds(queued: Queued): boolean {
    return this.#kept?.get(keyOf(queued)) === queued;
  }

  /** The place in order of a message that comes now. */
  takeSeq(): number {
    return ++this.#lastSeq;
  }

  /** Keeps a message; null when all that are kept have been sent, and none may make place. */
  add(delivery: Delivery, packetId: number, seq = this.takeSeq()): Queued | null {
    const queued = queuedOf(delivery, seq, packetId);
    if (!this.#makePlace(queued.bytes)) return null;
    (this.#kept ??= new Map()).set(keyOf(queued), queued);
    const { qos, retain, subscriptionIds, shared } = queued;
    const { publication } = shared!;
    this.#bytes += queued.bytes;
    if (qos === 0) this.#atMostOnce++;
    queued.storedBytes = this.log!.queued(
      queued.seq,
      { qos, packetId, isReleased: false, retain, subscriptionIds, publication },
      0,
    );
    return queued;
  }

  /** Over a limit the oldest go, those of QoS 0 first. */
  #makePlace(bytes: number): boolean {
    while (this.#isFullFor(bytes)) {
      const victim = this.#oldestUnsent();
      if (victim === null) return false;
      this.#counts.dropped++;
      this.forget(victim);
      // It may still stand among what waits.
      victim.shared = null;
    }
    return true;
  }

  #isFullFor(bytes: number): boolean {
    const { size } = this;
    if (size === 0) return false;
    const most = this.isAway ? this.#limits.maxQueuedMessages : MOST_MESSAGES;
    return size >= most || this.#bytes + bytes > this.#limits.maxQueuedBytes;
  }

  #oldestUnsent(): Queued | null {
    // One of QoS 0 is gone once it is sent.
    for (const queued of this.values()) {
      if (!queued.wasSent && (queued.qos === 0 || this.#atMostOnce === 0)) return queued;
    }
    return null;
  }

  /** From its PUBREC on only the PUBREL is owed. [MQTT-4.3.3-5] */
  release(queued: Queued): void {
    queued.isReleased = true;
    queued.shared = null;
    this.#bytes -= queued.bytes;
    const { seq, qos, packetId, retain, storedBytes } = queued;
    queued.storedBytes = this.log!.queued(
      seq,
      { qos, packetId, isReleased: true, retain, subscriptionIds: [], publication: null },
      storedBytes,
    );
  }

  /** Its exchange has ended; what is not kept is none. */
  forget(queued: Queued): void {
    if (!this.holds(queued)) return;
    this.#kept!.delete(keyOf(queued));
    if (!queued.isReleased) this.#bytes -= queued.bytes;
    if (queued.qos === 0) this.#atMostOnce--;
    this.log!.queued(queued.seq, null, queued.storedBytes);
  }

  /** Whether a body is in the store alone. */
  get lacksBodies(): boolean {
    for (const { shared, isReleased } of this.values()) if (shared === null && !isReleased) return true;
    return false;
  }

  /** Lets the bodies go: they are in the store. */
  dropBodies(): void {
    for (const queued of this.values()) queued.shared = null;
  }

  /** Gives a message its body back. */
  setBody(seq: number, qos: number, packetId: number, shared: SharedPublication): void {
    const queued = this.#kept?.get(keyOf({ seq, qos, packetId }));
    if (queued?.seq === seq && !queued.isReleased) queued.shared = shared;
  }

  /**
   * What the store kept of a session that this process has not seen yet, in the order of seq. Which of them were sent
   * is not known: no more than `window`, the oldest first.
   */
  restore(messages: readonly RestoredMessage[], window: number): void {
    if (messages.length === 0) return;
    this.#kept = new Map();
    for (const { payloadBytes, ...message } of messages) {
      const wasSent = (message.qos > 0 && window-- > 0) || message.isReleased;
      this.#kept.set(keyOf(message), {
        ...message,
        kind: "queued",
        bytes: payloadBytes,
        storedBytes: payloadBytes,
        isReplay: false,
        shared: null,
        wasSent,
      });
      this.#lastSeq = message.seq;
      this.#bytes += payloadBytes;
      if (message.qos === 0) this.#atMostOnce++;
    }
  }
}

function keyOf({ seq, qos, packetId }: { seq: number; qos: number; packetId: number }): number {
  return qos === 0 ? -seq : packetId;
}
