/** Messages the server has not acknowledged, kept so that a reload of the page loses none. */
import type { Message } from "../../sdk/mod.ts";
import { nameForUser, recall, remember, rememberedNames } from "./storage.ts";

/** One entry for each message: tabs that write at the same time do not overwrite each other. */
function nameOf(userId: string, clientMessageId = ""): string {
  return nameForUser(userId, `outbox ${clientMessageId}`);
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
  const texts = rememberedNames(nameOf(userId)).map(recall).filter((text) => text !== null);
  return texts.map((text) => JSON.parse(text) as Message).sort((a, b) => a.timestamp - b.timestamp);
}
