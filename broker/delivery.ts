/**
 * Brings notices to the connections they concern. Nothing is encoded for users who are not connected, and the part of
 * an event that all receivers share is encoded once.
 */

import {
  type CloseNotice,
  type EventNotice,
  messageJson,
  type MessageNotice,
  type Notice,
  type StoredMessageView,
} from "../im/mod.ts";
import { inboxEvent } from "./outgoing.ts";
import { REASONS } from "./protocol_error.ts";
import type { Registry } from "./registry.ts";

const utf8 = new TextEncoder();

/** What all receivers share who see the conversation under the same target. */
interface MessageView {
  readonly target: string;
  readonly tail: Uint8Array;
  /** For a receiver for whom the whole is too large: it pulls. */
  readonly shorten: () => Uint8Array;
}

/** The one place from which events reach sockets. */
export class Delivery {
  readonly #registry: Registry;
  /** Events handed to connections since the start. */
  events = 0;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Delivers in the order given. */
  deliver(notices: readonly Notice[]): void {
    for (const notice of notices) {
      switch (notice.kind) {
        case "message":
          this.#deliverMessage(notice);
          break;
        case "event":
          this.#deliverEvent(notice);
          break;
        case "close":
          this.#close(notice);
      }
    }
  }

  #deliverMessage({ message, receivers, exceptConnection }: MessageNotice): void {
    // In a group all receivers see the same target; in a single chat there are two.
    const views: MessageView[] = [];
    for (const { userId, seq, target } of receivers) {
      const connections = this.#registry.listConnections(userId);
      if (connections.length === 0) continue;
      if (connections.length === 1 && connections[0] === exceptConnection) continue;
      let view = views.find((made) => made.target === target);
      if (view === undefined) views.push(view = viewOf(message, target));
      const head = `{"type":"message","timeline":"me","seq":"${seq}","kind":"new",`;
      const event = inboxEvent(head, view.tail, view.shorten);
      for (const connection of connections.length === 1 ? connections : [...connections]) {
        if (connection === exceptConnection) continue;
        connection.deliver(event);
        this.events++;
      }
    }
  }

  #deliverEvent({ userId, event, exceptConnection }: EventNotice): void {
    const connections = this.#registry.listConnections(userId);
    if (connections.length === 0) return;
    // One that is too large for the client is left out: there is no shorter form of it.
    const outgoing = inboxEvent("", utf8.encode(JSON.stringify(event)), null);
    for (const connection of [...connections]) {
      if (connection === exceptConnection) continue;
      connection.deliver(outgoing);
      this.events++;
    }
  }

  #close({ userId, clientId, loginId, reason }: CloseNotice): void {
    for (const connection of [...this.#registry.listConnections(userId)]) {
      const { login } = connection;
      if (login === null || login.clientId !== clientId || login.loginId !== loginId) continue;
      // Who logs out has its reply, and knows.
      if (reason !== "logout") {
        connection.deliver(inboxEvent("", utf8.encode(JSON.stringify({ type: "kicked", reason })), null));
      }
      connection.forgetRequests();
      connection.close(REASONS.administrativeAction);
    }
  }
}

function viewOf(message: StoredMessageView, target: string): MessageView {
  return {
    target,
    tail: utf8.encode(`"message":${messageJson(message, target)}}`),
    shorten: () => {
      const { messageId, conversationType: type, line } = message;
      const conversation = JSON.stringify({ type, target, line });
      return utf8.encode(`"messageId":"${messageId}","conversation":${conversation}}`);
    },
  };
}
