/**
 * `message.send`: rules, then the commit queue, then who must hear of it.
 */

import type { Conversation, MessageContent } from "../wire.ts";
import { CONVERSATION_TYPES, PERSIST_FLAGS } from "../wire.ts";
import type { Send, SendOutcome, SendReceiver } from "../store/mod.ts";
import type { Caller } from "./caller.ts";
import { type Content, contentJson, persistFlagOf } from "./content.ts";
import { canonicalTarget } from "./conversation.ts";
import type { Execution, Outcome } from "./outcome.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import type { StoredMessageView } from "./notice.ts";

/** A send that has passed its shape. */
export interface SendRequest {
  readonly clientMessageId?: string | undefined;
  readonly conversation: Conversation;
  readonly content: Content;
  readonly to?: readonly string[] | undefined;
}

/** Milliseconds after which a send that found its queue full may be tried again. */
const FULL_RETRY_MS = 1_000;

/**
 * Sends a message. Stored ones are answered after their transaction committed; transparent ones are handed to
 * whoever is connected now. Either way it has its place behind the earlier sends of its connection and before the
 * later ones.
 *
 * Refusals: `request/invalid`, `message/too-large`, `user/not-found`, `group/not-member`, `chatroom/not-member`,
 * `channel/not-member`, `server/error`, `server/earlier-failed`, `server/clock`, `server/timeout`,
 * `request/too-often`.
 */
export function sendMessage(im: Im, caller: Caller, request: SendRequest): Execution {
  return persistFlagOf(request.content) === PERSIST_FLAGS.transparent
    ? passTransparent(im, caller, request)
    : storeMessage(im, caller, request);
}

function storeMessage(im: Im, caller: Caller, request: SendRequest): Execution {
  const { clientMessageId, conversation, content } = request;
  if (clientMessageId === undefined) {
    throw new ImError("request/invalid", "A stored message needs a clientMessageId.", {
      field: "clientMessageId",
    });
  }
  const send: Send = {
    from: caller.userId,
    clientMessageId,
    conversationType: conversation.type,
    canonicalTarget: canonicalTarget(caller.userId, conversation),
    line: conversation.line,
    contentType: content.type,
    contentJson: contentJson(content),
    expireSeconds: content.expireDuration ?? 0,
    recipients: null,
    receivers: listReceivers(caller, request),
  };
  // Without a limit nothing is asked: whether the receiver exists is seen when the message is stored.
  const admission = im.newConversations.isLimited
    ? admit(im, caller, conversation, send.canonicalTarget)
    : null;
  return whenAdmitted(
    caller,
    admission,
    () =>
      im.store.commits.submit(send, {
        order: caller.order,
        whenFull: caller.door === "mqtt" ? "wait" : "refuse",
      }),
    (committed) => toOutcome(caller, send, committed),
  );
}

/** Leave to write to somebody: null when nothing has to be looked up, otherwise whether there is such a person. */
function admit(
  im: Im,
  { userId }: Caller,
  { target }: Conversation,
  canonical: string,
): Promise<boolean> | null {
  return target === userId ? null : im.newConversations.admit(userId, target, canonical);
}

/**
 * Lets a send join the queue when it is admitted; until then the next one of its connection waits.
 *
 * Either way `finish` is the first continuation of the queue's answer and the outcome's the second, so what one flush
 * has stored is told in its order.
 */
function whenAdmitted<T>(
  { order }: Caller,
  admission: Promise<boolean> | null,
  join: (targetExists: boolean) => { readonly entered: Promise<void> | null; readonly outcome: Promise<T> },
  finish: (answer: T) => Outcome,
): Execution {
  if (admission === null) {
    const { entered, outcome } = join(true);
    return { entered, outcome: outcome.then(finish) };
  }
  const { generation } = order;
  const { promise: outcome, resolve, reject } = Promise.withResolvers<Outcome>();
  const enter = async () => {
    try {
      const targetExists = await admission;
      if (order.generation !== generation) throw toRefusal("earlier-failed");
      const joined = join(targetExists);
      joined.outcome.then((answer) => {
        try {
          resolve(finish(answer));
        } catch (refusal) {
          reject(refusal);
        }
      });
      await joined.entered;
    } catch (cause) {
      // Told before the next send starts, which must fail too when this failure passes.
      reject(cause);
    }
  };
  return { entered: enter(), outcome };
}

/** The timelines a message goes to, the sender's first. */
function listReceivers(caller: Caller, request: SendRequest): SendReceiver[] {
  const { conversation, content } = request;
  switch (conversation.type) {
    case CONVERSATION_TYPES.single: {
      if (request.to !== undefined && request.to.length > 0) {
        throw new ImError("request/invalid", "Only group messages can be directed to some members.", {
          field: "to",
        });
      }
      const sender = { userId: caller.userId, target: conversation.target, counted: false, mention: 0 };
      // To oneself: one row, not counted.
      if (conversation.target === caller.userId) return [sender];
      return [sender, {
        userId: conversation.target,
        target: caller.userId,
        counted: persistFlagOf(content) === PERSIST_FLAGS.counted,
        mention: mentionOf(content, conversation.target),
      }];
    }
    case CONVERSATION_TYPES.group:
      throw new ImError("group/not-member", "You are not a member of this group.");
    case CONVERSATION_TYPES.chatroom:
      throw new ImError("chatroom/not-member", "You have not joined this chatroom.");
    default:
      throw new ImError("channel/not-member", "You cannot write to this channel.");
  }
}

/** 0 not mentioned, 1 by name, 2 with everybody. */
function mentionOf(content: Content, userId: string): number {
  if (content.mentionedType === 2) return 2;
  return content.mentionedType === 1 && content.mentionedTargets?.includes(userId) ? 1 : 0;
}

function toOutcome(caller: Caller, send: Send, committed: SendOutcome): Outcome {
  switch (committed.status) {
    case "stored": {
      const { messageId, timestamp, seqs } = committed;
      const message: StoredMessageView = {
        messageId,
        clientMessageId: send.clientMessageId,
        from: send.from,
        conversationType: send.conversationType,
        line: send.line,
        contentJson: send.contentJson,
        to: send.recipients ?? [],
        timestamp,
        editedAt: 0,
      };
      return {
        resultJson: `{"messageId":"${messageId}","timestamp":${timestamp},"timeline":"me","seq":"${
          seqs[0]
        }"}`,
        notices: [{
          kind: "message",
          message,
          receivers: send.receivers.map(({ userId, target }, i) => ({ userId, target, seq: seqs[i]! })),
          exceptConnection: caller.connection,
        }],
      };
    }
    case "repeated":
      return {
        resultJson: `{"messageId":"${committed.messageId}","timestamp":${committed.timestamp}` +
          `,"timeline":"me","seq":"${committed.seq}","repeated":true}`,
        notices: [],
      };
    case "refused":
      throw toRefusal(committed.reason);
  }
}

function toRefusal(reason: Extract<SendOutcome, { status: "refused" }>["reason"]): ImError {
  switch (reason) {
    case "receiver-unknown":
      return new ImError("user/not-found", "There is no such user.", { field: "conversation.target" });
    case "failed":
      return new ImError("server/error", "The message could not be stored. Send it again.");
    case "earlier-failed":
      return new ImError(
        "server/earlier-failed",
        "An earlier message of this connection failed. Send both again.",
      );
    case "clock":
      return new ImError("server/clock", "This node may not store messages now. Send it again.");
    case "timeout":
      return new ImError("server/timeout", "The message was not stored in time. Send it again.");
    case "full":
      return new ImError("request/too-often", "Too many messages wait in this conversation.", {
        retryAfterMs: FULL_RETRY_MS,
      });
  }
}

/** Not stored, not remembered; delivered behind the messages of its conversation that were sent before it. */
function passTransparent(im: Im, caller: Caller, request: SendRequest): Execution {
  const { conversation } = request;
  const receivers = listReceivers(caller, request);
  const content = JSON.parse(contentJson(request.content)) as MessageContent;
  const canonical = canonicalTarget(caller.userId, conversation);
  const admission = admit(im, caller, conversation, canonical);
  const join = (targetExists: boolean) => {
    if (!targetExists) throw toRefusal("receiver-unknown");
    return { entered: null, outcome: im.store.commits.pass(conversation.type, conversation.line, canonical) };
  };
  return whenAdmitted(caller, admission, join, ({ messageId, timestamp }) => {
    const message = {
      messageId: String(messageId),
      clientMessageId: request.clientMessageId ?? "",
      from: caller.userId,
      content,
      to: [],
      timestamp,
      editedAt: 0,
    };
    return {
      resultJson: `{"messageId":"${message.messageId}","timestamp":${timestamp}}`,
      notices: receivers.map(({ userId, target }) => ({
        kind: "event" as const,
        userId,
        event: {
          type: "transparent" as const,
          message: { ...message, conversation: { ...conversation, target } },
        },
        exceptConnection: caller.connection,
      })),
    };
  });
}
