/** The conversation list: what the server listed, moved on by entries. */
import { computed, signal } from "@preact/signals";
import type { Conversation, ConversationState, Entry, Message } from "../../sdk/mod.ts";
import { CONTENT_TYPES, PERSIST_FLAGS } from "../../wire.ts";
import { me, requireClient, whenConnected } from "./session.ts";

const table = new Map<string, ConversationState>();
/** Grows with every change of `table`, which is too large to copy. */
const version = signal(0);

/** Whether the first page of the list has come. */
export const listed = signal(false);
/** All conversations, the newest first. */
export const conversations = computed(() => {
  version.value;
  return [...table.values()].sort((a, b) => b.updatedAt - a.updatedAt);
});
/** Unread messages over all conversations. */
export const unreadTotal = computed(() => {
  version.value;
  let sum = 0;
  for (const { unread } of table.values()) sum += unread.count;
  return sum;
});

const NONE = { count: 0, mentions: 0, mentionAll: 0 };

/** A conversation as a string, for maps, keys and the address bar. */
export function keyOf({ type, target, line }: Conversation): string {
  return `${type}:${line}:${target}`;
}

/** The conversation of a key, or `null` for a text that is none. */
export function conversationOf(key: string): Conversation | null {
  const [, type, line, target] = /^([0-3]):(-?\d{1,10}):([\w.@:-]{1,64})$/.exec(key) ?? [];
  return target === undefined ? null : { type: Number(type), line: Number(line), target };
}

/** The row of a conversation; follows changes when read while drawing. */
export function stateOf(key: string): ConversationState | undefined {
  version.value;
  return table.get(key);
}

/** Orders message ids, decimal strings without leading zeros. */
export function compareIds(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** Whether a stored message is to be shown at all. */
export function isShown(message: Message): boolean {
  return message.content.persistFlag !== PERSIST_FLAGS.hidden;
}

/** Whether a message counts as unread until it is seen. */
export function isCounted({ from, content }: Message): boolean {
  return from !== me.value?.userId &&
    (content.persistFlag ?? PERSIST_FLAGS.counted) === PERSIST_FLAGS.counted &&
    content.type !== CONTENT_TYPES.recall;
}

function put(state: ConversationState): void {
  table.set(keyOf(state.conversation), state);
  version.value++;
}

function applyNew(message: Message): void {
  const key = keyOf(message.conversation);
  const state = table.get(key) ??
    { conversation: message.conversation, lastMessage: null, updatedAt: 0, unread: NONE, readMessageId: "0" };
  // The server's list may hold this message already, counted: then it changes nothing.
  if (state.lastMessage !== null && compareIds(state.lastMessage.messageId, message.messageId) >= 0) return;
  const counts = isCounted(message) && compareIds(message.messageId, state.readMessageId) > 0;
  put({
    ...state,
    lastMessage: message,
    updatedAt: Math.max(message.timestamp, state.updatedAt),
    unread: counts ? { ...state.unread, count: state.unread.count + 1 } : state.unread,
  });
}

function applyChange(entry: Entry): void {
  const conversation = "message" in entry ? entry.message.conversation : entry.conversation;
  const state = table.get(keyOf(conversation));
  if (state === undefined) return;
  const messageId = "message" in entry ? entry.message.messageId : entry.messageId;
  const isLast = state.lastMessage?.messageId === messageId;
  const lastMessage = isLast ? "message" in entry ? entry.message : null : state.lastMessage;
  const wasUnread = entry.kind !== "edit" && state.unread.count > 0 &&
    compareIds(messageId, state.readMessageId) > 0 &&
    !("message" in entry && entry.message.from === me.value?.userId);
  const unread = wasUnread ? { ...state.unread, count: state.unread.count - 1 } : state.unread;
  put({ ...state, lastMessage, unread });
}

/** Tells the server that everything in the conversation has been seen. */
export async function markRead(key: string): Promise<void> {
  const state = table.get(key);
  const messageId = state?.lastMessage?.messageId;
  if (state === undefined || messageId === undefined || compareIds(messageId, state.readMessageId) <= 0) {
    return;
  }
  put({ ...state, unread: NONE, readMessageId: messageId });
  await tellRead(state.conversation, messageId);
}

/** What was read and the server has not heard of, by conversation key. */
const untold = new Map<string, { readonly conversation: Conversation; readonly messageId: string }>();

async function tellRead(conversation: Conversation, messageId: string): Promise<void> {
  const key = keyOf(conversation);
  untold.set(key, { conversation, messageId });
  try {
    const { unread } = await requireClient().request("conversation.read", { conversation, messageId });
    if (untold.get(key)?.messageId === messageId) untold.delete(key);
    const state = table.get(key);
    // What came after it has been counted here already.
    if (state?.lastMessage?.messageId === messageId) put({ ...state, readMessageId: messageId, unread });
  } catch {
    // It stays among the untold: the next connection tells it.
  }
}

whenConnected((client) => {
  table.clear();
  untold.clear();
  version.value++;
  listed.value = false;
  client.on("conversations", (page) => {
    if (page.first) table.clear();
    for (const state of page.conversations) table.set(keyOf(state.conversation), state);
    version.value++;
    listed.value = true;
  });
  client.on("entry", (entry) => {
    if (entry.kind !== "new") applyChange(entry);
    else if (isShown(entry.message)) applyNew(entry.message);
  });
  client.on("read", ({ conversation, readMessageId, unread }) => {
    const state = table.get(keyOf(conversation));
    if (state === undefined || compareIds(readMessageId, state.readMessageId) < 0) return;
    put({ ...state, readMessageId, unread });
  });
  client.on("state", ({ name }) => {
    if (name !== "online") return;
    for (const { conversation, messageId } of [...untold.values()]) void tellRead(conversation, messageId);
  });
});
