/**
 * What travels between clients and the server: command and event shapes, error names and codes.
 *
 * This file imports nothing, so that the server, the SDK and the page can all share it. 64-bit numbers (message
 * ids, seqs, cursors) are decimal strings here; times are milliseconds since 1970.
 *
 * @module
 */

/** Conversation types: 0 single, 1 group, 2 chatroom, 3 channel. */
export const CONVERSATION_TYPES = { single: 0, group: 1, chatroom: 2, channel: 3 } as const;

/** A conversation as one user sees it; in a single chat `target` is always the other person. */
export interface Conversation {
  readonly type: number;
  /** 1–64 characters of `A–Z a–z 0–9 _ - . @ :`. */
  readonly target: string;
  /** An int32 chosen by the application; 0 by default. */
  readonly line: number;
}

/** Persist flags: 0 stored but not shown, 1 stored, 3 stored and counted unread, 4 transparent (never stored). */
export const PERSIST_FLAGS = { hidden: 0, stored: 1, counted: 3, transparent: 4 } as const;

/** The content types this version of the page and the server speak about; applications use 1000 and above. */
export const CONTENT_TYPES = { text: 1, recall: 80, delete: 81, typing: 91 } as const;

/** What a message says. Empty fields may be left out. */
export interface MessageContent {
  readonly type: number;
  readonly searchableContent?: string;
  readonly pushContent?: string;
  readonly pushData?: string;
  readonly content?: string;
  /** base64. */
  readonly data?: string;
  readonly mediaType?: number;
  readonly remoteMediaUrl?: string;
  readonly persistFlag?: number;
  /** Seconds, 0–31,536,000; 0 never expires. */
  readonly expireDuration?: number;
  /** 0 nobody, 1 the listed users, 2 everybody. */
  readonly mentionedType?: number;
  readonly mentionedTargets?: readonly string[];
  readonly extra?: string;
}

/** A stored message as one receiver sees it. */
export interface Message {
  readonly messageId: string;
  readonly clientMessageId: string;
  readonly conversation: Conversation;
  readonly from: string;
  readonly content: MessageContent;
  readonly to: readonly string[];
  readonly timestamp: number;
  readonly editedAt: number;
}

/** One place in a timeline, the same in a pull and in an event. */
export type Entry =
  | {
    readonly timeline: string;
    readonly seq: string;
    readonly kind: "new" | "edit" | "recall";
    readonly message: Message;
  }
  | {
    readonly timeline: string;
    readonly seq: string;
    readonly kind: "delete" | "gone";
    readonly messageId: string;
    readonly conversation: Conversation;
  };

/** A user as others see him; contact fields are given to the user alone. */
export interface UserInfo {
  readonly userId: string;
  readonly name?: string;
  readonly displayName: string;
  readonly portrait: string;
  readonly gender?: number;
  readonly mobile?: string;
  readonly email?: string;
  readonly address?: string;
  readonly company?: string;
  readonly social?: string;
  readonly extra?: string;
  /** 0 person, 1 robot, 2 device, 3 moderator, 100 administrator. */
  readonly type: number;
  readonly updatedAt?: number;
  readonly deleted?: boolean;
}

/** Unread messages of one conversation: all counted ones, those that mention me, those that mention everybody. */
export interface Unread {
  readonly count: number;
  readonly mentions: number;
  readonly mentionAll: number;
}

/** A row of the conversation list. */
export interface ConversationState {
  readonly conversation: Conversation;
  readonly lastMessage: Message | null;
  readonly updatedAt: number;
  readonly unread: Unread;
  /** Everything up to this message id has been read; "0" when nothing has. */
  readonly readMessageId: string;
}

/** A login of mine, on any device. */
export interface Device {
  readonly clientId: string;
  readonly platform: number;
  readonly name: string;
  readonly lastActiveAt: number;
  readonly online: boolean;
  readonly current: boolean;
}

/** The fields of my own profile that `user.update_me` changes, by the numbers the protocol uses. */
export const PROFILE_FIELDS = {
  0: "displayName",
  1: "portrait",
  2: "gender",
  4: "email",
  5: "address",
  6: "company",
  7: "social",
  8: "extra",
} as const;

/** Request and result of every command; `sync` comes first after connecting. */
export interface Commands {
  "sync": {
    request: { cursor?: string; epoch?: string };
    result: {
      serverTime: number;
      epoch: string;
      head: string;
      floor: string;
      timelines: readonly { timeline: string; head: string; readSeq: string }[];
    };
  };
  "message.send": {
    request: {
      clientMessageId?: string;
      conversation: Conversation;
      content: MessageContent;
      to?: readonly string[];
    };
    result: { messageId: string; timestamp: number; timeline?: string; seq?: string; repeated?: true };
  };
  "message.pull": {
    request: { timeline?: string; cursor: string; limit?: number };
    result: { entries: readonly Entry[]; cursor: string; head: string; floor: string; epoch: string };
  };
  "message.history": {
    request: {
      conversation: Conversation;
      before?: string;
      after?: string;
      count?: number;
      contentTypes?: readonly number[];
    };
    result: { messages: readonly Message[]; hasMore: boolean };
  };
  "conversation.list": {
    request: { updatedAfter?: number; limit?: number; pageToken?: string };
    result: { conversations: readonly ConversationState[]; nextPageToken?: string };
  };
  "conversation.read": {
    request: { conversation: Conversation; messageId: string };
    result: { readMessageId: string; unread: Unread };
  };
  "conversation.receipts": {
    request: { conversation: Conversation };
    result: { receipts: readonly { userId: string; readTo: string }[] };
  };
  "user.get": {
    request: { users: readonly { userId: string; updatedAt?: number }[] };
    result: { users: readonly { userId: string; code: 0 | 1 | 2; user?: UserInfo }[] };
  };
  "user.update_me": {
    request: { entries: readonly { type: number; value: string }[] };
    result: { updatedAt: number };
  };
  "user.search": {
    request: { keyword: string; type?: number; page?: number };
    result: { users: readonly UserInfo[] };
  };
  "session.devices": { request: Record<string, never>; result: { devices: readonly Device[] } };
  "session.kick": { request: { clientId: string }; result: Record<string, never> };
  "session.logout": { request: Record<string, never>; result: Record<string, never> };
}

/** A name from the command table. */
export type CommandName = keyof Commands;

/** What the server publishes on `me/inbox`. */
export type Event =
  | ({ readonly type: "message" } & Entry)
  | { readonly type: "transparent"; readonly message: Message }
  | {
    readonly type: "read";
    readonly conversation: Conversation;
    readonly readMessageId: string;
    readonly unread: Unread;
  }
  | {
    readonly type: "receipt";
    readonly conversation: Conversation;
    readonly userId: string;
    readonly readTo?: string;
    readonly deliveredTo?: string;
  }
  | { readonly type: "user"; readonly userId: string; readonly version: string }
  | { readonly type: "devices" }
  | { readonly type: "kicked"; readonly reason: string };

/** The answer to a request; over HTTP `command` is left out. */
export type Reply<C extends CommandName = CommandName> =
  | {
    readonly requestId?: string;
    readonly command: C;
    readonly code: 0;
    readonly result: Commands[C]["result"];
  }
  | Refusal & { readonly requestId?: string; readonly command: string };

/** A refused request. */
export interface Refusal {
  readonly code: number;
  readonly error: ErrorName;
  readonly message: string;
  /** The request field that was wrong. */
  readonly field?: string;
  readonly retryAfterMs?: number;
}

/**
 * Every refusal: its code in replies, its HTTP status, and its MQTT 5.0 reason code in PUBACK and PUBREC.
 * Several names may share one code; the name tells them apart.
 */
export const ERRORS = {
  "server/error": { code: 4, http: 503, reason: 0x83 },
  "server/earlier-failed": { code: 4, http: 503, reason: 0x83 },
  "server/clock": { code: 4, http: 503, reason: 0x83 },
  "token/invalid": { code: 6, http: 401, reason: 0x87 },
  "token/revoked": { code: 7, http: 401, reason: 0x87 },
  "user/forbidden": { code: 8, http: 403, reason: 0x87 },
  "group/not-member": { code: 9, http: 403, reason: 0x87 },
  "chatroom/not-member": { code: 20, http: 403, reason: 0x87 },
  "channel/not-member": { code: 21, http: 403, reason: 0x87 },
  "request/no-right": { code: 248, http: 403, reason: 0x87 },
  "server/timeout": { code: 249, http: 504, reason: 0x83 },
  "request/too-often": { code: 250, http: 429, reason: 0x97 },
  "request/invalid": { code: 251, http: 400, reason: 0x99 },
  "message/too-large": { code: 251, http: 413, reason: 0x99 },
  "user/name-taken": { code: 4, http: 409, reason: 0x83 },
  "user/mobile-taken": { code: 4, http: 409, reason: 0x83 },
  "user/not-found": { code: 253, http: 404, reason: 0x83 },
  "message/not-found": { code: 253, http: 404, reason: 0x83 },
  "session/not-found": { code: 253, http: 404, reason: 0x83 },
  "signature/missing": { code: 239, http: 401, reason: 0x87 },
  "signature/expired": { code: 243, http: 401, reason: 0x87 },
  "signature/wrong": { code: 244, http: 401, reason: 0x87 },
  "request/wrong-host": { code: 251, http: 421, reason: 0x99 },
  "path/unknown": { code: 254, http: 404, reason: 0x83 },
  "path/wrong-method": { code: 254, http: 405, reason: 0x83 },
  "command/unknown": { code: 254, http: 404, reason: 0x83 },
} as const satisfies Record<string, { code: number; http: number; reason: number }>;

/** The name of a refusal. */
export type ErrorName = keyof typeof ERRORS;

/**
 * Every refusal of the login paths: the code in their envelope, which clients of that interface know, and the HTTP
 * status, which is 200 but for limits and requests that another web page made.
 */
export const APP_ERRORS = {
  "mobile/invalid": { code: 1, http: 200 },
  "request/too-often": { code: 3, http: 429 },
  "server/error": { code: 4, http: 200 },
  "code/expired": { code: 5, http: 200 },
  "code/wrong": { code: 6, http: 200 },
  "number/wrong": { code: 6, http: 200 },
  "qr/gone": { code: 8, http: 200 },
  "qr/not-scanned": { code: 10, http: 200 },
  "login/code-off": { code: 11, http: 200 },
  "login/required": { code: 13, http: 200 },
  "request/no-right": { code: 14, http: 403 },
  "qr/other-phone": { code: 14, http: 200 },
  "number/missing": { code: 15, http: 200 },
  "request/invalid": { code: 15, http: 200 },
  "request/too-large": { code: 15, http: 413 },
  "qr/cancelled": { code: 18, http: 200 },
  "user/blocked": { code: 21, http: 200 },
} as const satisfies Record<string, { code: number; http: number }>;

/** The name of a refusal of the login paths. */
export type AppErrorName = keyof typeof APP_ERRORS;
