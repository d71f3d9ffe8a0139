import type { Publication, SubscriptionOptions } from "./publication.ts";

/** What is kept of a message for a session until its exchange has ended. */
export interface QueuedState {
  readonly qos: number;
  /** 0 at QoS 0. */
  readonly packetId: number;
  /** Its PUBREC came: only the PUBREL is owed, and the body is not kept any longer. */
  readonly isReleased: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** null once it is released. */
  readonly publication: Publication | null;
}

/**
 * Where a session that outlives its connection tells of every change of its state. What is told within one packet is
 * stored together, and nothing that is written to the socket after it leaves before it is stored.
 */
export interface SessionLog {
  /** A subscription was made or changed; null: it is gone. */
  subscription(topicFilter: string, options: SubscriptionOptions | null): void;
  /**
   * A message for the session came or changed; null: it is gone.
   *
   * @param replacedBytes what this gave for what stood there before; 0 for nothing
   * @returns the size by which it is stored
   */
  queued(seq: number, state: QueuedState | null, replacedBytes: number): number;
  /** An identifier of QoS 2 was taken over, or released. */
  received(packetId: number, isKept: boolean): void;
}
