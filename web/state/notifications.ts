/** Notifications of the desktop: about messages that come while nobody looks, once they are switched on. */
import { effect, signal } from "@preact/signals";
import type { Message } from "../../sdk/mod.ts";
import { digestOf } from "../digest.ts";
import { isCounted, keyOf } from "./conversations.ts";
import { attended, openChat } from "./place.ts";
import { whenConnected } from "./session.ts";
import { recall, remember } from "./storage.ts";
import { nameOf, userOf } from "./users.ts";

/** More often than this they are a nuisance. */
const PAUSE_MS = 4000;
const STORED_AT = "hearth.notifications";
/** The Web Lock that every tab holds while somebody looks at it. */
const ATTENDED_LOCK = "hearth attended";

/** Whether they are on; `blocked` by the browser's settings, `missing` where it has none for such a page. */
export const notifications = signal<"on" | "off" | "blocked" | "missing">(stateNow());

function stateNow(): "on" | "off" | "blocked" | "missing" {
  if (typeof Notification !== "function" || !globalThis.isSecureContext) return "missing";
  // There they come from service workers alone, and making one here throws.
  if (/\bAndroid\b/.test(navigator.userAgent)) return "missing";
  if (Notification.permission === "denied") return "blocked";
  return Notification.permission === "granted" && recall(STORED_AT) === "on" ? "on" : "off";
}

/** Switches them on, which asks the user when it is the first time, or off. */
export async function switchNotifications(): Promise<void> {
  if (notifications.value === "on") remember(STORED_AT, null);
  else if (await Notification.requestPermission() === "granted") remember(STORED_AT, "on");
  notifications.value = stateNow();
}

let shownAtMs = 0;

/** Says who wrote what, unless somebody looks at this tab or another one. */
async function tell(message: Message): Promise<void> {
  if (notifications.value !== "on" || attended.value || Date.now() - shownAtMs < PAUSE_MS) return;
  shownAtMs = Date.now();
  const { held = [] } = await navigator.locks.query();
  if (held.some(({ name }) => name === ATTENDED_LOCK)) return;
  const { conversation } = message;
  // The tag is the same in every tab: one of them is shown.
  const options = { body: digestOf(message), tag: keyOf(conversation), icon: portraitOf(message.from) };
  const shown = new Notification(nameOf(message.from) || "Hearth", options);
  shown.onclick = () => {
    globalThis.focus();
    openChat(conversation);
    shown.close();
  };
}

/** Their portrait, else the page's own icon. */
function portraitOf(userId: string): string {
  return userOf(userId).value?.portrait ||
    document.querySelector<HTMLLinkElement>("link[rel=icon]")?.href || "";
}

/** Lets other tabs know when somebody looks at this one; called once. */
export function watchAttention(): void {
  if (globalThis.navigator?.locks === undefined) return;
  effect(() => {
    if (!attended.value) return;
    let release = () => {};
    const until = new Promise<void>((resolve) => release = resolve);
    void navigator.locks.request(ATTENDED_LOCK, { mode: "shared" }, () => until);
    return () => release();
  });
}

whenConnected((client) => {
  client.on("entry", (entry) => {
    // What is caught up on after a pause is no news.
    if (entry.kind === "new" && client.state.name === "online" && isCounted(entry.message)) {
      void tell(entry.message);
    }
  });
});
