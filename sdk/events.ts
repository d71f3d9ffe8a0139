/**
 * What a client tells its observers.
 *
 * @module
 */
import type { Conversation, ConversationState, Entry, Message, Unread } from "../wire.ts";
import type { EndReason } from "./link.ts";

/** Where a client stands. */
export type ClientState =
  | { readonly name: "idle" | "connecting" | "syncing" | "online" }
  | { readonly name: "waiting"; /** `null`: until the network is back. */ readonly retryAtMs: number | null }
  | { readonly name: "ended"; readonly reason: EndReason; readonly message: string };

/** What a client tells its observers. */
export interface ClientEvents {
  /** The state changed. */
  state: ClientState;
  /** A page of the conversation list of a new device; `first` drops what was known before, `last` ends the list. */
  conversations: {
    readonly conversations: readonly ConversationState[];
    readonly first: boolean;
    readonly last: boolean;
  };
  /** The next entry of a timeline, in order and once. Own sends come here too. */
  entry: Entry;
  /** A message that is stored nowhere, typing for instance. */
  transparent: Omit<Message, "messageId">;
  /** Another device of mine read something. */
  read: { readonly conversation: Conversation; readonly readMessageId: string; readonly unread: Unread };
  /** Somebody else read, or was delivered, something. */
  receipt: {
    readonly conversation: Conversation;
    readonly userId: string;
    readonly readTo?: string;
    readonly deliveredTo?: string;
  };
  /** A user changed. */
  user: { readonly userId: string; readonly version: string };
  /** My logins changed. */
  devices: Record<never, never>;
  /** This login ended; the state follows. */
  kicked: { readonly reason: string };
}
