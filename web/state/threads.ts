/** The messages of opened conversations: history that was loaded, what came since, and what is on its way out. */
import { batch, signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { randomId, RequestError } from "../../sdk/mod.ts";
import type { Conversation, Entry, HearthClient, Message } from "../../sdk/mod.ts";
import { CONTENT_TYPES, PERSIST_FLAGS } from "../../wire.ts";
import { errorText } from "../error_text.ts";
import { compareIds, isShown, keyOf } from "./conversations.ts";
import { dropFromOutbox, keepInOutbox, listOutbox } from "./outbox.ts";
import { requireClient, whenConnected } from "./session.ts";

/** A message as the page shows it. */
export interface ThreadItem {
  /** Stays the same from sending to stored, so that the bubble does. */
  readonly key: string;
  readonly message: Message;
  /** `waiting`: for the network; it is sent again by itself. `failed`: it is not. */
  readonly status: "sending" | "waiting" | "failed" | "stored";
  /** Why it failed, or "". */
  readonly error: string;
}

/** One conversation's messages, oldest first; what is not stored yet stands last. */
export interface Thread {
  readonly conversation: Conversation;
  readonly items: Signal<readonly ThreadItem[]>;
  readonly hasMore: Signal<boolean>;
  readonly loading: Signal<"idle" | "loading" | "failed">;
}

const threads = new Map<string, Thread>();
/** The load whose answer counts: one that was asked for before the thread started over does not. */
const loads = new WeakMap<Thread, object>();
const PAGE = 50;
/** Codes of refusals after which the same message may well be taken later. */
const PASSING: ReadonlySet<number> = new Set([4, 249, 250]);

/** The thread of a conversation; the first call loads its newest page. */
export function threadOf(conversation: Conversation): Thread {
  const key = keyOf(conversation);
  let thread = threads.get(key);
  if (thread === undefined) {
    thread = { conversation, items: signal([]), hasMore: signal(true), loading: signal("idle") };
    threads.set(key, thread);
    void loadOlder(thread);
  }
  return thread;
}

/** Loads the page before the oldest message held. */
export async function loadOlder(thread: Thread): Promise<void> {
  if (thread.loading.value === "loading" || !thread.hasMore.value) return;
  thread.loading.value = "loading";
  const load = {};
  loads.set(thread, load);
  const before = oldestOf(thread);
  try {
    const page = await requireClient().request("message.history", {
      conversation: thread.conversation,
      count: PAGE,
      ...before !== undefined && { before },
    });
    if (loads.get(thread) !== load) return;
    batch(() => {
      merge(thread, page.messages.filter(isShown).map(stored));
      thread.hasMore.value = page.hasMore;
      thread.loading.value = "idle";
    });
  } catch {
    if (loads.get(thread) === load) thread.loading.value = "failed";
  }
}

/** Drops what is stored and loads the newest page: between what is held and what comes there may be a gap. */
function startOver(thread: Thread): void {
  batch(() => {
    thread.items.value = thread.items.value.filter(({ status }) => status !== "stored");
    thread.hasMore.value = true;
    thread.loading.value = "idle";
  });
  void loadOlder(thread);
}

/** The id of the oldest message held: everything from there on is here, what is older may be missing. */
function oldestOf(thread: Thread): string | undefined {
  return thread.items.value.find(({ status }) => status === "stored")?.message.messageId;
}

/** Sends a text; it shows at once. */
export function sendText(conversation: Conversation, text: string): void {
  const message: Message = {
    messageId: "",
    clientMessageId: randomId(),
    conversation,
    from: requireClient().userId,
    content: { type: CONTENT_TYPES.text, searchableContent: text, persistFlag: PERSIST_FLAGS.counted },
    to: [],
    timestamp: Date.now(),
    editedAt: 0,
  };
  void send(threadOf(conversation), message);
}

/** Sends a message that failed again, as the same message. */
export function resend(thread: Thread, item: ThreadItem): void {
  void send(thread, item.message);
}

async function send(thread: Thread, message: Message): Promise<void> {
  const client = requireClient();
  const { conversation, content, clientMessageId } = message;
  const key = `c${clientMessageId}`;
  keepInOutbox(message);
  merge(thread, [{ key, message, status: "sending", error: "" }]);
  const isStored = () => thread.items.value.find((item) => item.key === key)?.status === "stored";
  try {
    const { messageId, timestamp } = await client.send(conversation, content, clientMessageId);
    dropFromOutbox(message);
    // The entry of the reply has replaced the item, unless this was a repetition of a send that had been stored.
    if (!isStored()) {
      merge(thread, [{ key, message: { ...message, messageId, timestamp }, status: "stored", error: "" }]);
    }
  } catch (error) {
    if (isStored()) return dropFromOutbox(message);
    if (client.state.name === "ended") return;
    const refusal = error instanceof RequestError ? error : null;
    if (refusal === null || !PASSING.has(refusal.code)) dropFromOutbox(message);
    const waits = refusal?.error === "server/timeout" && client.state.name !== "online";
    merge(thread, [{
      key,
      message,
      status: waits ? "waiting" : "failed",
      error: waits ? "" : errorText(error),
    }]);
  }
}

function stored(message: Message): ThreadItem {
  const own = message.clientMessageId !== "" && message.from === requireClient().userId;
  return {
    key: own ? `c${message.clientMessageId}` : message.messageId,
    message,
    status: "stored",
    error: "",
  };
}

/** Puts items where they belong, in place of those with the same key. */
function merge(thread: Thread, news: readonly ThreadItem[]): void {
  const [first] = news;
  if (first !== undefined && news.length === 1 && isNext(thread.items.value.at(-1), first)) {
    thread.items.value = [...thread.items.value, first];
    return;
  }
  const keys = new Set(news.map(({ key }) => key));
  const items = thread.items.value.filter(({ key }) => !keys.has(key));
  items.push(...news);
  thread.items.value = items.sort((a, b) =>
    a.status === "stored" && b.status === "stored"
      ? compareIds(a.message.messageId, b.message.messageId)
      : a.status === b.status || (a.status !== "stored" && b.status !== "stored")
      ? a.message.timestamp - b.message.timestamp
      : a.status === "stored"
      ? -1
      : 1
  );
}

/** The common case: somebody else's new message, which cannot be among the older ones. */
function isNext(last: ThreadItem | undefined, item: ThreadItem): boolean {
  return item.status === "stored" && item.key === item.message.messageId && last?.status === "stored" &&
    compareIds(last.message.messageId, item.message.messageId) < 0;
}

function apply(entry: Entry): void {
  const conversation = "message" in entry ? entry.message.conversation : entry.conversation;
  const thread = threads.get(keyOf(conversation));
  if (thread === undefined) return;
  if ("message" in entry) {
    const oldest = oldestOf(thread);
    // Alone above what is held it would hide the gap between; it comes with its page.
    if (oldest !== undefined && thread.hasMore.value && compareIds(entry.message.messageId, oldest) < 0) {
      return;
    }
    if (oldest === undefined && entry.kind !== "new") return;
    if (isShown(entry.message)) merge(thread, [stored(entry.message)]);
  } else {
    thread.items.value = thread.items.value.filter(({ message }) => message.messageId !== entry.messageId);
  }
}

whenConnected((client) => {
  threads.clear();
  client.on("entry", apply);
  client.on("conversations", ({ first }) => {
    if (first) { for (const thread of threads.values()) startOver(thread); }
  });
  client.on("state", (state) => {
    if (state.name !== "online") return;
    for (const thread of threads.values()) if (thread.loading.value === "failed") void loadOlder(thread);
    sendWaiting(client);
  });
});

/** Sends what an earlier page, or an earlier connection, could not. */
function sendWaiting(client: HearthClient): void {
  for (const message of listOutbox(client.userId)) {
    const thread = threadOf(message.conversation);
    const held = thread.items.value.find(({ key }) => key === `c${message.clientMessageId}`);
    if (held === undefined || held.status === "waiting") void send(thread, message);
  }
}
