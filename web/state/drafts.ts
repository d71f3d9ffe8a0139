/** What was written and not sent, by conversation, kept in this browser alone. */
import { signal } from "@preact/signals";
import { clearOutbox } from "./outbox.ts";
import { me, whenConnected } from "./session.ts";
import { recall, remember, rememberedNames } from "./storage.ts";

/** Grows when a draft appears or goes, for the list. */
const version = signal(0);

function nameOf(userId: string, key = ""): string {
  return `hearth.draft ${userId} ${key}`;
}

/** The draft of a conversation, or "". */
export function draftOf(key: string): string {
  version.value;
  return recall(nameOf(me.value?.userId ?? "", key)) ?? "";
}

/** Keeps a draft; "" drops it. */
export function keepDraft(key: string, text: string): void {
  remember(nameOf(me.value?.userId ?? "", key), text.trim() === "" ? null : text);
  version.value++;
}

whenConnected((client) => {
  client.on("state", (state) => {
    if (state.name !== "ended" || state.reason !== "logout") return;
    // The next person at this browser is somebody else.
    for (const name of rememberedNames(nameOf(client.userId))) remember(name, null);
    clearOutbox(client.userId);
  });
});
