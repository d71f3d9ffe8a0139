/** Messages on their way to the store, and what became of them. */

/** A receiver's row in his own timeline. */
export interface SendReceiver {
  readonly userId: string;
  /** The conversation's target as this user sees it. */
  readonly target: string;
  /** Counts as unread for him. */
  readonly counted: boolean;
  /** 0 no, 1 he is mentioned, 2 everybody is. */
  readonly mention: number;
}

/** A message on its way to the store; every rule has been applied to it already. */
export interface Send {
  readonly from: string;
  readonly clientMessageId: string;
  readonly conversationType: number;
  /** The target under which the body stands: for single chats both ids in byte order, joined by `|`. */
  readonly canonicalTarget: string;
  readonly line: number;
  readonly contentType: number;
  /** JSON text of the content. */
  readonly contentJson: string;
  /** Seconds after which it may no longer be shown; 0 for never. */
  readonly expireSeconds: number;
  /** Stored in full for directed messages; null for all members. */
  readonly recipients: readonly string[] | null;
  /** The sender among them, first. */
  readonly receivers: readonly SendReceiver[];
}

/** What became of a send. */
export type SendOutcome =
  | {
    readonly status: "stored";
    readonly messageId: bigint;
    readonly timestamp: number;
    /** Per receiver, in the order of `receivers`. */
    readonly seqs: readonly bigint[];
  }
  | {
    /** The same clientMessageId was stored before: its first result. */
    readonly status: "repeated";
    readonly messageId: bigint;
    readonly timestamp: number;
    /** In the sender's timeline. */
    readonly seq: bigint;
  }
  | {
    readonly status: "refused";
    readonly reason: "receiver-unknown" | "failed" | "earlier-failed" | "clock" | "timeout" | "full";
  };
