/** Messages the server has not acknowledged, kept so that a reload of the page loses none. */
import type { Message } from "../../sdk/mod.ts";
import { recall, remember, rememberedNames } from "./storage.ts";

/** One entry for each message: tabs that write at the same time do not overwrite each other. */
function nameOf(userId: string, clientMessageId = ""): string {
  return `hearth.outbox ${userId} ${clientMessageId}`;
}

/** Keeps a message until {@linkcode dropFromOutbox}. */
export function keepInOutbox(message: Message): void {
  remember(nameOf(message.from, message.clientMessageId), JSON.stringify(message));
}

/** The message is stored, or never will be. */
export function dropFromOutbox(message: Message): void {
  remember(nameOf(message.from, message.clientMessageId), null);
}

/** Everything that waits, in the order it was written. */
export function listOutbox(userId: string): Message[] {
  const messages = rememberedNames(nameOf(userId)).map((name) =>
    JSON.parse(recall(name) ?? "null") as Message | null
  );
  return messages.filter((message) => message !== null).sort((a, b) => a.timestamp - b.timestamp);
}

/** Forgets what waits: its writer has logged out. */
export function clearOutbox(userId: string): void {
  for (const name of rememberedNames(nameOf(userId))) remember(name, null);
}
