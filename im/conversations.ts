/**
 * `conversation.*`: the list, read marks and receipts.
 */

import type { Conversation, Unread } from "../wire.ts";
import {
  areUsersKnown,
  type ConversationRow,
  getReadMark,
  listConversations,
  markRead,
} from "../store/mod.ts";
import type { Caller } from "./caller.ts";
import type { Outcome } from "./outcome.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { conversationJson, messageJson } from "./message_json.ts";
import type { Notice } from "./notice.ts";
import { requireMember } from "./timeline.ts";

/** A page of my conversations, newest first. */
export async function listConversationStates(
  im: Im,
  caller: Caller,
  request: { updatedAfter?: number | undefined; limit: number; pageToken?: string | undefined },
): Promise<Outcome> {
  const { conversations, hasMore } = await listConversations(im.store, caller.userId, {
    limit: request.limit,
    below: request.pageToken === undefined ? null : BigInt(request.pageToken),
    updatedAfter: request.updatedAfter ?? 0,
  }, im.nowMs());
  // A page ends where the door's reply would grow too large; the next one goes on from there.
  const texts: string[] = [];
  let bytes = 1_024;
  let lastId = 0n;
  for (const row of conversations) {
    const text = rowJson(row);
    bytes += text.length + 1;
    if (texts.length > 0 && bytes > caller.maxReplyBytes) break;
    texts.push(text);
    lastId = row.lastMessageId;
  }
  const more = hasMore || texts.length < conversations.length;
  return {
    resultJson: `{"conversations":[${texts.join(",")}]${more ? `,"nextPageToken":"${lastId}"` : ""}}`,
    notices: [],
  };
}

function rowJson(row: ConversationRow): string {
  const { type, target, line } = row.conversation;
  const last = row.lastMessage === null ? "null" : messageJson(row.lastMessage, target);
  return `{"conversation":${conversationJson(type, target, line)},"lastMessage":${last}` +
    `,"updatedAt":${row.updatedAt},"unread":${
      JSON.stringify(row.unread)
    },"readMessageId":"${row.readMessageId}"}`;
}

/**
 * Moves my read mark forward; my other sockets hear `read`, the other person `receipt`.
 *
 * Refusals: `user/not-found`, and those of {@linkcode requireMember}.
 */
export async function readConversation(
  im: Im,
  caller: Caller,
  request: { conversation: Conversation; messageId: string },
): Promise<Outcome> {
  const { conversation } = request;
  requireMember(conversation);
  const mark = await markRead(im.store, caller.userId, conversation, BigInt(request.messageId), im.nowMs());
  if (mark === null) {
    throw new ImError("user/not-found", "There is no such user.", { field: "conversation.target" });
  }
  const readMessageId = String(mark.readMessageId);
  const unread: Unread = mark.unread;
  const notices: Notice[] = [];
  if (mark.moved) {
    notices.push({
      kind: "event",
      userId: caller.userId,
      event: { type: "read", conversation, readMessageId, unread },
      exceptConnection: caller.connection,
    });
    if (conversation.target !== caller.userId) {
      notices.push({
        kind: "event",
        userId: conversation.target,
        event: {
          type: "receipt",
          conversation: { ...conversation, target: caller.userId },
          userId: caller.userId,
          readTo: readMessageId,
        },
        exceptConnection: null,
      });
    }
  }
  return { resultJson: JSON.stringify({ readMessageId, unread }), notices };
}

/**
 * How far the other person has read; "0" when he has read nothing.
 *
 * Refusals: `user/not-found`, and those of {@linkcode requireMember}.
 */
export async function listReceipts(
  im: Im,
  caller: Caller,
  request: { conversation: Conversation },
): Promise<Outcome> {
  const { conversation } = request;
  requireMember(conversation);
  if (!await areUsersKnown(im.store, [conversation.target])) {
    throw new ImError("user/not-found", "There is no such user.", { field: "conversation.target" });
  }
  const readTo = await getReadMark(im.store, conversation.target, { ...conversation, target: caller.userId });
  return {
    resultJson: JSON.stringify({ receipts: [{ userId: conversation.target, readTo: String(readTo) }] }),
    notices: [],
  };
}
