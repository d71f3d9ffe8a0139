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
} from "../im/mod.ts";
import { CLOSE_CODES } from "./byte_stream.ts";
import { inboxOutgoing } from "./connection.ts";
import type { Outgoing } from "./encode.ts";
import { REASONS } from "./protocol_error.ts";
import type { Registry } from "./registry.ts";

const utf8 = new TextEncoder();

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
    const tails: { readonly target: string; readonly tail: Uint8Array }[] = [];
    for (const { userId, seq, target } of receivers) {
      const connections = this.#registry.listConnections(userId);
      if (connections.length === 0) continue;
      if (connections.length === 1 && connections[0] === exceptConnection) continue;
      let view = tails.find((made) => made.target === target);
      if (view === undefined) {
        view = { target, tail: utf8.encode(`"message":${messageJson(message, target)}}`) };
        tails.push(view);
      }
      const head = `{"type":"message","timeline":"me","seq":"${seq}","kind":"new",`;
      const outgoing = inboxOutgoing(head, view.tail);
      const bodyless = () =>
        bodylessEvent(head, message.messageId, message.conversationType, target, message.line);
      for (const connection of connections.length === 1 ? connections : [...connections]) {
        if (connection === exceptConnection) continue;
        connection.deliver(outgoing, bodyless);
        this.events++;
      }
    }
  }

  #deliverEvent({ userId, event, exceptConnection }: EventNotice): void {
    const connections = this.#registry.listConnections(userId);
    if (connections.length === 0) return;
    const outgoing = inboxOutgoing("", utf8.encode(JSON.stringify(event)));
    for (const connection of [...connections]) {
      if (connection === exceptConnection) continue;
      // One that is too large for the client is left out: there is no shorter form of it. [MQTT-3.1.2-25]
      connection.deliver(outgoing, null);
      this.events++;
    }
  }

  #close({ userId, clientId, loginId, reason }: CloseNotice): void {
    for (const connection of [...this.#registry.listConnections(userId)]) {
      const { login } = connection;
      if (login === null || login.clientId !== clientId || login.loginId !== loginId) continue;
      // Who logs out has its reply, and knows.
      if (reason !== "logout") {
        connection.deliver(inboxOutgoing("", utf8.encode(JSON.stringify({ type: "kicked", reason }))), null);
      }
      connection.forgetRequests();
      connection.close(REASONS.administrativeAction, CLOSE_CODES.policy);
    }
  }
}

/** What takes the place of an event that is too large for its receiver: the client pulls. */
function bodylessEvent(
  head: string,
  messageId: bigint,
  type: number,
  target: string,
  line: number,
): Outgoing {
  const conversation = JSON.stringify({ type, target, line });
  return inboxOutgoing(head, utf8.encode(`"messageId":"${messageId}","conversation":${conversation}}`));
}
