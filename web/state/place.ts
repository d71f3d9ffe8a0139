/** Where in the page the user is: the open conversation, kept in the address, and the open panel. */
import { computed, effect, signal } from "@preact/signals";
import { conversationOf, keyOf } from "./conversations.ts";
import { phase } from "./session.ts";
import type { Conversation } from "../../sdk/mod.ts";

/** The open conversation's key, or "". */
export const openKey = signal("");
/** The open conversation. */
export const openConversation = computed(() => conversationOf(openKey.value));
/** The open panel. */
export const panel = signal<"profile" | "devices" | "logout" | null>(null);
/** Whether somebody looks: the tab is in front and has the focus. */
export const attended = signal(true);

/** Opens a conversation; the browser's back button closes it. */
export function openChat(conversation: Conversation): void {
  location.hash = encodeURIComponent(keyOf(conversation));
  readAddress();
}

/** Goes back to the list. */
export function closeChat(): void {
  if (openKey.peek() === "") return;
  history.replaceState(null, "", location.pathname);
  openKey.value = "";
}

function readAddress(): void {
  const key = keyInAddress();
  openKey.value = conversationOf(key) === null ? "" : key;
}

function keyInAddress(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // somebody typed a lone per cent sign
  }
}

/** Follows the address and the focus; called once. */
export function watchPlace(): void {
  readAddress();
  globalThis.addEventListener("hashchange", readAddress);
  const look = () => attended.value = document.visibilityState === "visible" && document.hasFocus();
  for (const kind of ["focus", "blur"]) globalThis.addEventListener(kind, look);
  document.addEventListener("visibilitychange", look);
  look();
  // Whoever logs in next starts with the list.
  effect(() => {
    if (phase.value !== "login") return;
    panel.value = null;
    closeChat();
  });
}
