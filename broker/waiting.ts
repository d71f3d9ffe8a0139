import type { Queued } from "./kept_messages.ts";

/** An encoded packet that waits for the window or the socket. */
export interface Encoded {
  readonly kind: "encoded";
  readonly bytes: Uint8Array;
  readonly qos: number;
  /** Replies do not count against the limit on waiting events. */
  readonly isCounted: boolean;
}

/** What waits for the window or the socket. */
export type Waiting = Encoded | Queued;

/** Takes the place of what has been sent. */
export const GONE: Encoded = { kind: "encoded", bytes: new Uint8Array(0), qos: 0, isCounted: false };

/** What a message that waits takes in memory besides its body. */
export const ITEM_BYTES = 128;
