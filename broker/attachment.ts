/**
 * A client's session on one connection: packets through the session, what they ask for on its way, and what is due to
 * the client into the outbox.
 */

import { type Caller, ImError, type SendOrder } from "../im/mod.ts";
import type { ClientSession } from "./client_session.ts";
import { type Journal, JournalShare } from "./journal.ts";
import type { Delivery } from "./kept_messages.ts";
import type { BrokerLimits } from "./limits.ts";
import type { Delivered } from "./outbound.ts";
import type { Outbox } from "./outbox.ts";
import { type Outgoing, type OutgoingEvent, replyOutgoing } from "./outgoing.ts";
import type { DisconnectPacket, Packet } from "./packet.ts";
import { ProtocolError, REASONS } from "./protocol_error.ts";
import type { Publication } from "./publication.ts";
import { findRequestId, reasonOf, refusalReply, type Reply } from "./reply.ts";
import { type RequestOwner, RequestQueue } from "./request_queue.ts";
import type { Requests } from "./requests.ts";
import type { Router } from "./router.ts";
import type { OpenSubscription, Request } from "./session.ts";
import type { MeGrant } from "./subscriptions.ts";
import { replyTopicOf } from "./topic.ts";

/** Requests that cannot start yet may hold so many packets of the largest size. */
const MAX_WAITING_PACKETS = 64;
/** Looking for retained messages may take so long between two flushes: then others have their turn. */
const REPLAY_TURN_MS = 1;
/** So many times the subscriptions a client may have may wait for their retained messages. */
const MAX_WAITING_REPLAYS = 10;
/** So many times what may wait for a slow client may wait within one turn. */
const UNTRIED_TIMES = 16;

/** What an attachment needs of the broker. */
export interface AttachmentHost {
  readonly limits: BrokerLimits;
  readonly router: Router;
  readonly journal: Journal;
  readonly perform: Requests["perform"];
}

/** What an attachment needs of its connection. */
export interface AttachmentOwner {
  readonly isClosed: boolean;
  /** When the last whole packet arrived. */
  readonly heardAtMs: number;
  readonly outbox: Outbox;
  /** What is written from now on leaves when everything in the journal is stored. */
  hold(): void;
  /** More waits than a client that does not read may keep us holding. */
  overflowed(): void;
}

/** What a session does on one connection. */
export class Attachment implements RequestOwner {
  readonly client: ClientSession;
  /** null for an anonymous client, which has no commands. */
  readonly caller: Caller | null;
  readonly order: SendOrder;
  readonly requests: RequestQueue;
  readonly #host: AttachmentHost;
  readonly #owner: AttachmentOwner;
  /** What waits to be stored because of this client; made when first needed. */
  #share: JournalShare | null = null;
  /** Subscriptions whose retained messages have not been looked for yet; null for none. */
  #replays: OpenSubscription[] | null = null;
  /** How long that has taken since this flush. */
  #replayMs = 0;
  #replayFlushAtMs = 0;

  constructor(host: AttachmentHost, owner: AttachmentOwner, client: ClientSession, caller: Caller | null) {
    this.client = client;
    this.caller = caller;
    this.order = caller?.order ?? { generation: 0 };
    this.#host = host;
    this.#owner = owner;
    this.requests = new RequestQueue(this, MAX_WAITING_PACKETS * host.limits.maxPacketBytes);
  }

  /**
   * Takes a packet; a DISCONNECT comes back.
   *
   * @param nowMs since 1970
   * @throws {ProtocolError} when the peer broke MQTT
   */
  receive(packet: Packet, nowMs: number): DisconnectPacket | null {
    const { journal } = this.#host;
    if (packet.type === "publish" || packet.type === "subscribe") this.#requireFairShare();
    const { addedBytes } = journal;
    const goodbye = this.#take(packet, nowMs);
    if (journal.addedBytes > addedBytes) {
      (this.#share ??= new JournalShare(journal)).add(journal.addedBytes - addedBytes);
    }
    return goodbye;
  }

  /** Storing is behind: it is those who ask for most of it that are shown out. */
  #requireFairShare(): void {
    if ((this.#share?.bytes ?? 0) <= this.#host.journal.fairBytes) return;
    throw new ProtocolError(REASONS.quotaExceeded, "More was asked to be kept than can be stored.");
  }

  #take(packet: Packet, nowMs: number): DisconnectPacket | null {
    const { client } = this;
    const { router } = this.#host;
    const effect = client.session.receive(packet, nowMs, this.#owner.outbox.writer());
    switch (effect?.type) {
      case "request":
        this.#request(effect.request);
        break;
      case "publish":
        this.#publish(effect.publication, effect.request);
        break;
      case "subscribed":
        for (const { topicFilter, options } of effect.subscriptions) {
          router.subscribe(client, topicFilter, options);
        }
        this.#askForReplays(effect.subscriptions, nowMs);
        break;
      case "unsubscribed":
        for (const topicFilter of effect.topicFilters) router.unsubscribe(client, topicFilter);
        break;
      case "progress":
        this.#owner.outbox.progressAtMs = this.#owner.heardAtMs;
        break;
      case "disconnect":
        return effect.packet;
    }
    return null;
  }

  #request(request: Request): void {
    const { maxInflightIn } = this.#host.limits;
    // More of QoS 1 and 2 cannot be: the session sees to it.
    if (request.qos > 0 || this.requests.size < maxInflightIn) return this.requests.push(request);
    if (!this.#owner.outbox.hasRoom) return; // who does not read gets no refusals either: they would pile up
    const refusal = new ImError("request/too-often", `More than ${maxInflightIn} requests wait.`, {
      retryAfterMs: 1_000,
    });
    this.finish(request, refusalReply(findRequestId(request.body), request.command, refusal));
  }

  /** Routes a message of an open topic. It is acknowledged when everything it caused is stored. */
  #publish(publication: Publication, request: Request): void {
    const { router, journal } = this.#host;
    const { added } = journal;
    const reason = router.publish(publication, this.client);
    if (request.qos === 0) return;
    if (reason < 0x80) this.client.session.routed(request);
    if (journal.added > added) this.#owner.hold();
    const routed = { ...request, reason };
    // Acknowledgements leave in the order of their packets, whatever those asked for. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
    if (this.requests.size > 0) this.requests.push(routed);
    else this.finish(routed, null);
  }

  #askForReplays(subscriptions: readonly OpenSubscription[], nowMs: number): void {
    const { router, limits } = this.#host;
    if (!router.retains) return;
    const waiting = this.#replays ??= [];
    if (waiting.length + subscriptions.length > MAX_WAITING_REPLAYS * limits.maxSubscriptions) {
      throw new ProtocolError(REASONS.quotaExceeded, "Too many subscriptions wait for retained messages.");
    }
    waiting.push(...subscriptions);
    this.#replay(nowMs);
  }

  /** A filter with wildcards may have to be held against all that is retained: that goes turn by turn. */
  #replay(nowMs: number): void {
    const waiting = this.#replays;
    if (waiting === null) return;
    const { client } = this;
    const { outbox } = this.#owner;
    const { outbound, subscriptions } = client.session;
    if (this.#replayFlushAtMs !== outbox.flushedAtMs) {
      this.#replayFlushAtMs = outbox.flushedAtMs;
      this.#replayMs = 0;
    }
    const mayGoOn = () => outbox.hasRoom && outbound.waitingReplays === 0 && !this.#owner.isClosed;
    let taken = 0;
    while (taken < waiting.length && this.#replayMs < REPLAY_TURN_MS && mayGoOn()) {
      const subscription = waiting[taken++]!;
      if (!subscriptions.has(subscription.topicFilter)) continue;
      const startedAtMs = performance.now();
      this.#host.router.replay(client, [subscription], nowMs);
      this.#replayMs += performance.now() - startedAtMs;
    }
    this.#replays = taken === waiting.length ? null : waiting.slice(taken);
    if (this.#replays !== null && mayGoOn()) outbox.writer(); // it comes back behind this turn
  }

  get hasRoom(): boolean {
    const { isClosed, outbox } = this.#owner;
    return isClosed || (outbox.hasRoom && this.client.session.outbound.waitingReplies === 0);
  }

  start(command: string, body: Uint8Array, answer: (reply: Reply) => void): Promise<void> | null {
    return this.#host.perform(this.caller!, command, body, answer);
  }

  finish(request: Request, reply: Reply | null): void {
    if (this.#owner.isClosed) return;
    const { session } = this.client;
    const reason = reply === null ? request.reason : reasonOf(reply);
    session.acknowledge(request, reason, reply?.code ?? 0, this.#owner.outbox.writer());
    if (reply === null) return;
    const topic = replyTopicOf(request.responseTopic);
    const grant = session.subscriptions.reply(topic);
    if (grant === null) return;
    const { correlationData, command } = request;
    const sent = this.#deliver(replyOutgoing(topic, correlationData, reply.text), grant, false);
    if (sent !== "too-large") return;
    const refusal = new ImError("message/too-large", "The answer is larger than your Maximum Packet Size.");
    const { text } = refusalReply(reply.requestId, command, refusal);
    this.#deliver(replyOutgoing(topic, correlationData, text), grant, false);
  }

  /** Sends an event to `me/inbox`, if the client subscribed to it. */
  deliver(event: OutgoingEvent): void {
    if (!this.requests.holdBehindReplies(event)) this.writeEvent(event);
  }

  writeEvent(event: OutgoingEvent): void {
    if (this.#owner.isClosed) return;
    const grant = this.client.session.subscriptions.inbox;
    if (grant === null) return;
    // Without a shorter form it is left out: the client said that it takes no such packets. [MQTT-3.1.2-25]
    if (this.#deliver(event, grant, true) === "too-large" && event.shorten !== null) {
      this.#deliver({ ...event, tail: event.shorten() }, grant, true);
    }
  }

  #deliver(outgoing: Outgoing, grant: MeGrant, isCounted: boolean): Delivered {
    const { session } = this.client;
    const { outbox } = this.#owner;
    const isFirst = !session.outbound.hasWaiting;
    const delivered = session.deliver(outgoing, grant, isCounted, outbox.hasRoom, outbox.writer());
    this.#noteWaiting(delivered, isFirst);
    return delivered;
  }

  /** Sends a message of an open topic, or keeps it until there is room. */
  publish(delivery: Delivery): void {
    const { outbound } = this.client.session;
    const { outbox } = this.#owner;
    const isFirst = !outbound.hasWaiting;
    const delivered = outbound.publish(delivery, outbox.hasRoom, Date.now(), outbox.writer());
    this.#noteWaiting(delivered, isFirst);
  }

  #noteWaiting(delivered: Delivered, isFirst: boolean): void {
    if (delivered !== "waiting") return;
    if (isFirst) this.#owner.outbox.progressAtMs = performance.now();
    const { outbox } = this.#owner;
    // Until the socket has been tried, a burst of others says nothing of whoever is to get it.
    const isUntried = !outbox.hasRoom && !outbox.isPaused && !outbox.isHeld;
    const most = this.#host.limits.maxWaitingBytes * (isUntried ? UNTRIED_TIMES : 1);
    if (this.client.session.outbound.waitingBytes > most) this.#owner.overflowed();
  }

  /** Whether something waits that room in the outbox would let go on. */
  get hasWaiting(): boolean {
    return this.client.session.outbound.hasWaiting || this.requests.size > 0 || this.#replays !== null;
  }

  /** Moves what waits into the outbox, as far as window and socket have room; then requests may have room too. */
  proceed(): void {
    const { outbound } = this.client.session;
    const { outbox } = this.#owner;
    if (outbound.hasWaiting && outbox.hasRoom) {
      const writer = outbox.writer();
      outbound.release(writer.length + outbox.room, Date.now(), writer);
    }
    if (this.#replays !== null) this.#replay(Date.now());
    if (this.requests.size > 0) this.requests.pump();
  }
}
