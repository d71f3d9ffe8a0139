/** What the other side does: typing, and how far it has read. */
import { signal } from "@preact/signals";
import type { Conversation } from "../../sdk/mod.ts";
import { CONTENT_TYPES, PERSIST_FLAGS } from "../../wire.ts";
import { compareIds, keyOf } from "./conversations.ts";
import { connection, me, requireClient, whenConnected } from "./session.ts";

const SHOWN_MS = 6000;
/** Often enough that the mark does not go out while somebody goes on typing. */
const SENT_EVERY_MS = 4000;
/** A typing mark that comes so soon after a message was sent before it: it is stored nowhere and may be overtaken. */
const OVERTAKEN_MS = 500;

/** The keys of conversations where somebody is typing. */
export const typing = signal<ReadonlySet<string>>(new Set());
const timers = new Map<string, ReturnType<typeof setTimeout>>();
const sentAtMs = new Map<string, number>();
const heardAtMs = new Map<string, number>();

function setTyping(key: string, on: boolean): void {
  clearTimeout(timers.get(key));
  timers.delete(key);
  if (on) timers.set(key, setTimeout(() => setTyping(key, false), SHOWN_MS));
  if (typing.value.has(key) === on) return;
  const next = new Set(typing.value);
  if (on) next.add(key);
  else next.delete(key);
  typing.value = next;
}

/** Tells the other side that I type, now and then. */
export function tellTyping(conversation: Conversation): void {
  const key = keyOf(conversation);
  const nowMs = Date.now();
  if (conversation.target === me.value?.userId || connection.value.name !== "online") return;
  if (nowMs - (sentAtMs.get(key) ?? 0) < SENT_EVERY_MS) return;
  sentAtMs.set(key, nowMs);
  requireClient().request("message.send", {
    conversation,
    content: { type: CONTENT_TYPES.typing, content: "0", persistFlag: PERSIST_FLAGS.transparent },
  }).catch(() => {/* nobody misses a typing mark */});
}

/** The text was sent or emptied: key strokes tell again, once they cannot be taken for earlier ones. */
export function stopTyping(conversation: Conversation): void {
  sentAtMs.set(keyOf(conversation), Date.now() - SENT_EVERY_MS + 2 * OVERTAKEN_MS);
}

/** How far somebody has got in a conversation, as message ids; "0" is not at all. */
export interface Receipt {
  readonly readTo: string;
  readonly deliveredTo: string;
}

/** Receipts of the other side, by conversation key. */
export const receipts = signal<ReadonlyMap<string, Receipt>>(new Map());
const asked = new Set<string>();

function later(a: string | undefined, b: string | undefined): string {
  return compareIds(a ?? "0", b ?? "0") >= 0 ? a ?? "0" : b ?? "0";
}

function moveReceipt(key: string, next: Partial<Receipt>): void {
  const held = receipts.value.get(key);
  const readTo = later(held?.readTo, next.readTo);
  const deliveredTo = later(later(held?.deliveredTo, next.deliveredTo), readTo);
  if (held?.readTo === readTo && held.deliveredTo === deliveredTo) return;
  receipts.value = new Map(receipts.value).set(key, { readTo, deliveredTo });
}

/** Asks, once for each connection, how far the other side of a single chat has read. */
export async function askReceipts(conversation: Conversation): Promise<void> {
  const key = keyOf(conversation);
  if (conversation.type !== 0 || asked.has(key)) return;
  asked.add(key);
  try {
    const answer = await requireClient().request("conversation.receipts", { conversation });
    for (const receipt of answer.receipts) {
      if (receipt.userId === conversation.target) moveReceipt(key, receipt);
    }
  } catch {
    asked.delete(key);
  }
}

whenConnected((client) => {
  receipts.value = new Map();
  asked.clear();
  client.on("transparent", ({ conversation, from, content }) => {
    if (content.type !== CONTENT_TYPES.typing || from === client.userId) return;
    const key = keyOf(conversation);
    if (Date.now() - (heardAtMs.get(key) ?? 0) > OVERTAKEN_MS) setTyping(key, true);
  });
  client.on("entry", (entry) => {
    if (entry.kind !== "new" || entry.message.from === client.userId) return;
    const key = keyOf(entry.message.conversation);
    heardAtMs.set(key, Date.now());
    setTyping(key, false);
  });
  client.on("receipt", (receipt) => {
    if (receipt.userId !== client.userId) moveReceipt(keyOf(receipt.conversation), receipt);
  });
  client.on("state", (state) => {
    if (state.name === "waiting") asked.clear();
  });
});
