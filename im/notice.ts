import type { Event } from "../wire.ts";

/**
 * What a command caused others to hear of. `im` returns notices; `broker` delivers them and nobody else does.
 */
export type Notice = MessageNotice | EventNotice | CloseNotice;

/** A stored message for the timelines it was written to. */
export interface MessageNotice {
  readonly kind: "message";
  readonly message: StoredMessageView;
  readonly receivers: readonly NoticeReceiver[];
  /** The sending socket: it learned the seq from its reply and gets no event. */
  readonly exceptConnection: object | null;
}

/** The parts of a stored message that all receivers share. */
export interface StoredMessageView {
  readonly messageId: bigint;
  readonly clientMessageId: string;
  readonly from: string;
  readonly conversationType: number;
  readonly line: number;
  /** The JSON text of `content`, encoded once when the message was admitted. */
  readonly contentJson: string;
  readonly to: readonly string[];
  readonly timestamp: number;
  readonly editedAt: number;
}

/** One timeline a message was written to. */
export interface NoticeReceiver {
  readonly userId: string;
  readonly seq: bigint;
  /** The conversation's `target` as this user sees it. */
  readonly target: string;
}

/** A small event for every connection of a user, but for one if it is named. */
export interface EventNotice {
  readonly kind: "event";
  readonly userId: string;
  readonly event: Event;
  readonly exceptConnection: object | null;
}

/** Connections of a login that has ended: told `kicked`, then closed (5.0: DISCONNECT 0x98). */
export interface CloseNotice {
  readonly kind: "close";
  readonly userId: string;
  readonly clientId: string;
  /** The login that ended; a newer login of the same client stays connected. */
  readonly loginId: string;
  readonly reason: "kicked" | "logout" | "same-platform" | "other-user" | "forbidden";
}
