/** What was written and not sent, by conversation, kept in this browser alone. */
import { signal } from "@preact/signals";
import { me } from "./session.ts";

/** Grows when a draft appears or goes, for the list. */
const version = signal(0);

function nameOf(key: string): string {
  return `hearth.draft ${me.value?.userId ?? ""} ${key}`;
}

/** The draft of a conversation, or "". */
export function draftOf(key: string): string {
  version.value;
  return localStorage.getItem(nameOf(key)) ?? "";
}

/** Keeps a draft; "" drops it. */
export function keepDraft(key: string, text: string): void {
  if (text.trim() === "") localStorage.removeItem(nameOf(key));
  else localStorage.setItem(nameOf(key), text);
  version.value++;
}
