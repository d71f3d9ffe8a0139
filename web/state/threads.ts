/** The messages of opened conversations: history that was loaded, what came since, and what is on its way out. */
import { signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { RequestError } from "../../sdk/mod.ts";
import type { Conversation, Entry, Message } from "../../sdk/mod.ts";
import { CONTENT_TYPES, PERSIST_FLAGS } from "../../wire.ts";
import { compareIds, isShown, keyOf } from "./conversations.ts";
import { requireClient, whenConnected } from "./session.ts";

/** A message as the page shows it. */
export interface ThreadItem {
  /** Stays the same from sending to stored, so that the bubble does. */
  readonly key: string;
  readonly message: Message;
  readonly status: "sending" | "failed" | "stored";
  /** Why it failed. */
  readonly error: string | null;
}

/** One conversation's messages, oldest first; what is not stored yet stands last. */
export interface Thread {
  readonly conversation: Conversation;
  readonly items: Signal<readonly ThreadItem[]>;
  readonly hasMore: Signal<boolean>;
  readonly loading: Signal<"idle" | "loading" | "failed">;
}

const threads = new Map<string, Thread>();
const PAGE = 50;

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
  const before = thread.items.value.find(({ status }) => status === "stored")?.message.messageId;
  try {
    const page = await requireClient().request("message.history", {
      conversation: thread.conversation,
      count: PAGE,
      ...before !== undefined && { before },
    });
    merge(thread, page.messages.filter(isShown).map(stored));
    thread.hasMore.value = page.hasMore;
    thread.loading.value = "idle";
  } catch {
    thread.loading.value = "failed";
  }
}

/** Sends a text; it shows at once. */
export function sendText(conversation: Conversation, text: string): void {
  const clientMessageId = crypto.randomUUID();
  const client = requireClient();
  const message: Message = {
    messageId: "",
    clientMessageId,
    conversation,
    from: client.userId,
    content: { type: CONTENT_TYPES.text, searchableContent: text, persistFlag: PERSIST_FLAGS.counted },
    to: [],
    timestamp: Date.now(),
    editedAt: 0,
  };
  void send(threadOf(conversation), { key: `c${clientMessageId}`, message, status: "sending", error: null });
}

/** Sends a failed message again, as the same message. */
export function resend(thread: Thread, item: ThreadItem): void {
  void send(thread, { ...item, status: "sending", error: null });
}

async function send(thread: Thread, item: ThreadItem): Promise<void> {
  merge(thread, [item]);
  const { conversation, content, clientMessageId } = item.message;
  try {
    // The entry of the reply replaces the item.
    await requireClient().send(conversation, content, clientMessageId);
  } catch (error) {
    if (thread.items.value.find(({ key }) => key === item.key)?.status === "stored") return;
    const late = error instanceof RequestError && error.error === "server/timeout";
    merge(thread, [{
      ...item,
      status: "failed",
      error: late ? "" : error instanceof Error ? error.message : String(error),
    }]);
  }
}

function stored(message: Message): ThreadItem {
  const own = message.clientMessageId !== "" && message.from === requireClient().userId;
  return {
    key: own ? `c${message.clientMessageId}` : message.messageId,
    message,
    status: "stored",
    error: null,
  };
}

/** Puts items where they belong; the common case, one new message at the end, sorts nothing. */
function merge(thread: Thread, news: readonly ThreadItem[]): void {
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

function apply(entry: Entry): void {
  const conversation = "message" in entry ? entry.message.conversation : entry.conversation;
  const thread = threads.get(keyOf(conversation));
  if (thread === undefined) return;
  if ("message" in entry) {
    if (isShown(entry.message)) merge(thread, [stored(entry.message)]);
  } else {
    thread.items.value = thread.items.value.filter(({ message }) => message.messageId !== entry.messageId);
  }
}

whenConnected((client) => {
  threads.clear();
  client.on("entry", apply);
  client.on("conversations", ({ first }) => {
    if (!first) return;
    // A new device: between what is held and what comes there may be a gap.
    for (const thread of threads.values()) {
      thread.items.value = thread.items.value.filter(({ status }) => status !== "stored");
      thread.hasMore.value = true;
      if (thread.loading.value !== "loading") void loadOlder(thread);
    }
  });
  client.on("state", (state) => {
    if (state.name !== "online") return;
    for (const thread of threads.values()) {
      if (thread.loading.value === "failed") void loadOlder(thread);
      for (const item of thread.items.value) {
        if (item.status === "failed" && item.error === "") resend(thread, item);
      }
    }
  });
});
