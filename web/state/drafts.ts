/** What was written and not sent, by conversation, kept in this browser alone. */
import { signal } from "@preact/signals";
import { me } from "./session.ts";
import { nameForUser, recall, remember } from "./storage.ts";

/** Grows when a draft appears or goes, for the list. */
const version = signal(0);

function nameOf(key: string): string {
  return nameForUser(me.value?.userId ?? "", `draft ${key}`);
}

/** The draft of a conversation, or "". */
export function draftOf(key: string): string {
  version.value;
  return recall(nameOf(key)) ?? "";
}

/** Keeps a draft; "" drops it. */
export function keepDraft(key: string, text: string): void {
  remember(nameOf(key), text.trim() === "" ? null : text);
  version.value++;
}
