/**
 * `sync`, `message.pull` and `message.history`: how a client gets to hold everything.
 */

import type { Conversation } from "../wire.ts";
import { CONVERSATION_TYPES } from "../wire.ts";
import {
  areUsersKnown,
  getTimelineState,
  listHistory,
  pullTimeline,
  type TimelineEntry,
  type TimelineState,
} from "../store/mod.ts";
import type { Caller } from "./caller.ts";
import { canonicalTarget, targetSeenBy } from "./conversation.ts";
import type { Outcome } from "./outcome.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { conversationJson, messageJson } from "./message_json.ts";

/** Room for the envelope of a reply around its entries, in bytes. */
const ENVELOPE_BYTES = 1_024;

/** Where my timelines stand. */
export async function sync(im: Im, caller: Caller): Promise<Outcome> {
  const { head, floor, epoch } = await requireTimeline(im, caller);
  return {
    resultJson: JSON.stringify({
      serverTime: im.nowMs(),
      epoch,
      head: String(head),
      floor: String(floor),
      timelines: [],
    }),
    notices: [],
  };
}

async function requireTimeline(im: Im, caller: Caller): Promise<TimelineState> {
  const timeline = await getTimelineState(im.store, caller.userId);
  if (timeline === null) throw new ImError("user/not-found", "Your account no longer exists.");
  return timeline;
}

/** Every entry after a cursor, oldest first, as many as fit the door. */
export async function pullMessages(
  im: Im,
  caller: Caller,
  request: { cursor: string; limit: number },
): Promise<Outcome> {
  const cursor = BigInt(request.cursor);
  const maxBytes = Math.max(1, caller.maxReplyBytes - ENVELOPE_BYTES);
  const page = await pullTimeline(
    im.store,
    caller.userId,
    cursor,
    { limit: request.limit, maxBytes },
    im.nowMs(),
  );
  if (page === null) throw new ImError("user/not-found", "Your account no longer exists.");
  if (cursor > page.head) {
    throw new ImError("request/invalid", `The cursor is above the head, ${page.head}.`, { field: "cursor" });
  }
  const entries: string[] = [];
  let bytes = 0;
  let last = cursor > page.floor ? cursor : page.floor;
  for (const entry of page.entries) {
    const json = entryJson(entry);
    bytes += json.length + 1;
    if (entries.length > 0 && bytes > maxBytes) break;
    entries.push(json);
    last = entry.seq;
  }
  return {
    resultJson: `{"entries":[${entries.join(",")}],"cursor":"${last}","head":"${page.head}"` +
      `,"floor":"${page.floor}","epoch":${JSON.stringify(page.epoch)}}`,
    notices: [],
  };
}

function entryJson(entry: TimelineEntry): string {
  const { seq, conversation, message, messageId } = entry;
  return message === null
    ? `{"timeline":"me","seq":"${seq}","kind":"gone","messageId":"${messageId}","conversation":${
      conversationJson(conversation.type, conversation.target, conversation.line)
    }}`
    : `{"timeline":"me","seq":"${seq}","kind":"new","message":${messageJson(message, conversation.target)}}`;
}

/** Messages of one conversation, newest first. */
export async function readHistory(
  im: Im,
  caller: Caller,
  request: {
    conversation: Conversation;
    before?: string | undefined;
    after?: string | undefined;
    count: number;
    contentTypes?: number[] | undefined;
  },
): Promise<Outcome> {
  if (request.before !== undefined && request.after !== undefined) {
    throw new ImError("request/invalid", "Give `before` or `after`, not both.", { field: "after" });
  }
  const { conversation } = request;
  requireMember(conversation);
  const canonical = canonicalTarget(caller.userId, conversation);
  const { messages, hasMore } = await listHistory(im.store, caller.userId, {
    conversationType: conversation.type,
    canonicalTarget: canonical,
    line: conversation.line,
    before: request.before === undefined ? null : BigInt(request.before),
    after: request.after === undefined ? null : BigInt(request.after),
    count: request.count,
    contentTypes: request.contentTypes ?? null,
  }, im.nowMs());
  const target = targetSeenBy(caller.userId, conversation.type, canonical);
  // A page too large for its door is cut at the end that is farther from where the client reads on.
  const outward = request.after === undefined ? messages : messages.toReversed();
  const texts: string[] = [];
  let bytes = ENVELOPE_BYTES;
  for (const message of outward) {
    const text = messageJson(message, target);
    bytes += text.length + 1;
    if (texts.length > 0 && bytes > caller.maxReplyBytes) break;
    texts.push(text);
  }
  // Who was never there has no history, and is no conversation: the same answer as for a send.
  if (messages.length === 0 && !await areUsersKnown(im.store, [conversation.target])) {
    throw new ImError("user/not-found", "There is no such user.", { field: "conversation.target" });
  }
  const more = hasMore || texts.length < messages.length;
  if (request.after !== undefined) texts.reverse();
  return { resultJson: `{"messages":[${texts.join(",")}],"hasMore":${more}}`, notices: [] };
}

/**
 * Refuses conversations the caller has no part in: the same answers for reading as for sending.
 *
 * @throws {ImError} `group/not-member`, `chatroom/not-member`, `channel/not-member`
 */
export function requireMember(conversation: Conversation): void {
  switch (conversation.type) {
    case CONVERSATION_TYPES.single:
      return;
    case CONVERSATION_TYPES.group:
      throw new ImError("group/not-member", "You are not a member of this group.");
    case CONVERSATION_TYPES.chatroom:
      throw new ImError("chatroom/not-member", "You have not joined this chatroom.");
    default:
      throw new ImError("channel/not-member", "You do not belong to this channel.");
  }
}
