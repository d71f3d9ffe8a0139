/**
 * One connection: bytes in, packets through the session, requests into their queue, bytes out.
 */

import { type Caller, ImError, type Login } from "../im/mod.ts";
import type { Admission } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import { CLOSE_CODES, closeCodeOf } from "./close_codes.ts";
import { acceptedConnack, type ConnectRefusal, keepAliveOf } from "./connect.ts";
import { writeDisconnect } from "./encode.ts";
import type { Flusher } from "./flusher.ts";
import { Framing } from "./framing.ts";
import { type Authenticate, type GoodConnect, Handshake, type RefusedConnect } from "./handshake.ts";
import type { BrokerLimits } from "./limits.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import { type Outgoing, type OutgoingEvent, replyOutgoing } from "./outgoing.ts";
import { readPacket } from "./packet_check.ts";
import { ProtocolError, REASONS } from "./protocol_error.ts";
import { findRequestId, reasonOf, refusalReply, type Reply } from "./reply.ts";
import { type RequestOwner, RequestQueue } from "./request_queue.ts";
import type { Requests } from "./requests.ts";
import { type Delivered, type Request, Session } from "./session.ts";
import { NOT_SUBSCRIBED } from "./subscriptions.ts";
import { replyTopicOf } from "./topic.ts";

/** Largest reply over MQTT. */
const MAX_REPLY_BYTES = 128 * 1024;
/** Room for topic, identifier and properties around a reply. */
const PUBLISH_ENVELOPE_BYTES = 128;
/** Requests that cannot start yet may hold so many packets of the largest size. */
const MAX_WAITING_PACKETS = 64;

/** What a connection needs of its broker. */
export interface ConnectionHost {
  readonly limits: BrokerLimits;
  readonly flusher: Flusher;
  readonly authenticate: Authenticate;
  /** Makes it a connection of its user, closing an older one of the same client; or says why not. */
  register(connection: Connection, login: Login): ConnectRefusal | null;
  readonly perform: Requests["perform"];
  /** A CONNECT failed for its own fault. */
  connectFailed(connection: Connection): void;
  /** The peer broke MQTT. */
  peerBroke(connection: Connection, error: ProtocolError): void;
  /** We did. */
  failed(cause: unknown): void;
  /** The socket takes no more for now: it is looked at again. */
  paused(connection: Connection): void;
  /** It is closed because its peer does not read. */
  cutOff(connection: Connection): void;
  closed(connection: Connection): void;
}

/** What exists from a good CONNECT on. */
interface Opened {
  readonly login: Login;
  readonly caller: Caller;
  readonly session: Session;
  readonly requests: RequestQueue;
  /** 0: none. */
  readonly keepAliveMs: number;
}

/** One client's connection. */
export class Connection implements ByteReceiver, OutboxOwner, RequestOwner {
  readonly stream: ByteStream;
  readonly admission: Admission;
  readonly #host: ConnectionHost;
  readonly #framing: Framing;
  readonly #outbox: Outbox;
  /** null from a good CONNECT on. */
  #handshake: Handshake | null;
  #opened: Opened | null = null;
  #isClosed = false;
  /** When the last whole packet arrived. */
  #heardAtMs: number;

  constructor(
    stream: ByteStream,
    options: {
      readonly host: ConnectionHost;
      readonly admission: Admission;
      /** The login cookie of a same-origin page; null otherwise. */
      readonly appToken: string | null;
      readonly nowMs: number;
    },
  ) {
    const { host, nowMs } = options;
    this.stream = stream;
    this.admission = options.admission;
    this.#host = host;
    this.#framing = new Framing(host.limits.maxPacketBytes);
    this.#outbox = new Outbox(stream, {
      flusher: host.flusher,
      owner: this,
      maxBytes: host.limits.maxWaitingBytes,
      nowMs,
    });
    this.#handshake = new Handshake(options.appToken, nowMs);
    this.#heardAtMs = nowMs;
  }

  /** Whose connection it is; null before a good CONNECT. */
  get login(): Login | null {
    return this.#opened?.login ?? null;
  }

  get caller(): Caller {
    return this.#opened!.caller;
  }

  /** Requests that are not answered. */
  get requestCount(): number {
    return this.#opened?.requests.size ?? 0;
  }

  receive(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      this.#framing.push(bytes);
      this.#readPackets(performance.now());
    } catch (error) {
      this.#fail(error);
    }
  }

  receiveText(): void {
    if (this.#isClosed) return;
    const error = new ProtocolError(REASONS.protocolError, "A text frame came where MQTT is binary.");
    this.#fail(error, CLOSE_CODES.unsupportedFrame); // [MQTT-6.0.0-1]
  }

  ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outbox.discard();
    this.#drop();
  }

  #readPackets(nowMs: number): void {
    const framing = this.#framing;
    while (!this.#isClosed) {
      const handshake = this.#handshake;
      if (handshake?.isAuthenticating) return this.#keepForLater(framing);
      if (!framing.next()) break;
      this.#heardAtMs = nowMs;
      if (handshake === null) this.#receivePacket(this.#opened!.session);
      else this.#receiveConnect(handshake);
    }
    if (this.#isClosed) return framing.clear();
    this.#proceed();
  }

  /** What follows a CONNECT waits for its outcome. */
  #keepForLater(framing: Framing): void {
    if (framing.pendingBytes > 2 * this.#host.limits.maxPacketBytes) {
      throw new ProtocolError(REASONS.quotaExceeded, "Too much was sent before the CONNACK.");
    }
    framing.keep();
  }

  #receiveConnect(handshake: Handshake): void {
    const refused = handshake.read(this.#framing, this.#host.limits);
    if (refused !== null) return this.#refuse(refused);
    this.#authenticate(handshake).catch((cause) => this.#fail(cause));
  }

  async #authenticate(handshake: Handshake): Promise<void> {
    const outcome = await handshake.authenticate(this.#host.authenticate);
    if (this.#isClosed) return;
    if ("connack" in outcome) return this.#refuse(outcome);
    const refusal = this.#host.register(this, outcome.login);
    if (refusal !== null) return this.#refuse(handshake.refuse(refusal));
    this.#open(outcome);
    this.#readPackets(performance.now());
  }

  #open({ connect, login }: GoodConnect): void {
    const { limits } = this.#host;
    this.#handshake = null;
    this.#opened = {
      login,
      caller: {
        ...login,
        door: "mqtt",
        connection: this,
        maxReplyBytes: Math.max(
          1,
          Math.min(MAX_REPLY_BYTES, connect.maxPacketBytes - PUBLISH_ENVELOPE_BYTES),
        ),
        order: { generation: 0 },
      },
      session: new Session(connect, limits),
      requests: new RequestQueue(this, MAX_WAITING_PACKETS * limits.maxPacketBytes),
      keepAliveMs: keepAliveOf(connect, limits) * 1_500, // [MQTT-3.1.2-22], 3.1.1 [MQTT-3.1.2-24]
    };
    this.#outbox.writer().append(acceptedConnack(connect, limits)); // [MQTT-3.1.4-5]
  }

  #refuse({ connack, isClientsFault }: RefusedConnect): void {
    if (isClientsFault) this.#host.connectFailed(this);
    this.#outbox.writer().append(connack);
    this.#end(CLOSE_CODES.policy);
  }

  /** A login ended: if it is being looked up for this connection, it must not get in. */
  noteEndedLogin(loginId: string): void {
    this.#handshake?.noteEndedLogin(loginId);
  }

  #receivePacket(session: Session): void {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const packet = readPacket(bytes, packetStart, bodyStart, packetEnd, session.level);
    const effect = session.receive(packet, this.#outbox.writer());
    if (effect === null) return;
    switch (effect.type) {
      case "request":
        return this.#request(effect.request);
      case "progress":
        this.#outbox.progressAtMs = this.#heardAtMs;
        return;
      case "disconnect":
        this.#end(CLOSE_CODES.normal);
    }
  }

  #request(request: Request): void {
    const { requests } = this.#opened!;
    const { maxInflightIn } = this.#host.limits;
    // More of QoS 1 and 2 cannot be: the session sees to it.
    if (request.qos > 0 || requests.size < maxInflightIn) return requests.push(request);
    if (!this.#outbox.hasRoom) return; // who does not read gets no refusals either: they would pile up
    const refusal = new ImError("request/too-often", `More than ${maxInflightIn} requests wait.`, {
      retryAfterMs: 1_000,
    });
    this.finish(request, refusalReply(findRequestId(request.body), request.command, refusal));
  }

  get hasRoom(): boolean {
    return this.#isClosed || (this.#outbox.hasRoom && this.#opened!.session.waitingReplies === 0);
  }

  start(command: string, body: Uint8Array, answer: (reply: Reply) => void): Promise<void> | null {
    return this.#host.perform(this.caller, command, body, answer);
  }

  finish(request: Request, reply: Reply | null): void {
    if (this.#isClosed) return;
    const { session } = this.#opened!;
    const reason = reply === null ? REASONS.notAuthorized : reasonOf(reply);
    session.acknowledge(request, reason, reply?.code ?? 0, this.#outbox.writer());
    if (reply === null) return;
    const topic = replyTopicOf(request.responseTopic);
    const qos = session.replyQos(topic);
    if (qos === NOT_SUBSCRIBED) return;
    const { correlationData, command } = request;
    const sent = this.#deliver(replyOutgoing(topic, correlationData, reply.text), qos, false);
    if (sent !== "too-large") return;
    const refusal = new ImError("message/too-large", "The answer is larger than your Maximum Packet Size.");
    const { text } = refusalReply(reply.requestId, command, refusal);
    this.#deliver(replyOutgoing(topic, correlationData, text), qos, false);
  }

  /** Sends an event to `me/inbox`, if the client subscribed to it. */
  deliver(event: OutgoingEvent): void {
    if (this.#isClosed) return;
    if (!this.#opened!.requests.holdBehindReplies(event)) this.writeEvent(event);
  }

  writeEvent(event: OutgoingEvent): void {
    if (this.#isClosed) return;
    const qos = this.#opened!.session.inboxQos;
    if (qos === NOT_SUBSCRIBED) return;
    // Without a shorter form it is left out: the client said that it takes no such packets. [MQTT-3.1.2-25]
    if (this.#deliver(event, qos, true) === "too-large" && event.shorten !== null) {
      this.#deliver({ ...event, tail: event.shorten() }, qos, true);
    }
  }

  #deliver(outgoing: Outgoing, qos: number, isCounted: boolean): Delivered {
    const { session } = this.#opened!;
    const isFirst = !session.hasWaiting;
    const outbox = this.#outbox;
    const delivered = session.deliver(outgoing, qos, isCounted, outbox.hasRoom, outbox.writer());
    if (delivered === "waiting") {
      if (isFirst) outbox.progressAtMs = performance.now();
      if (session.waitingBytes > this.#host.limits.maxWaitingBytes) this.overflowed();
    }
    return delivered;
  }

  get hasWaiting(): boolean {
    return this.#opened !== null && (this.#opened.session.hasWaiting || this.#opened.requests.size > 0);
  }

  proceed(): void {
    try {
      this.#proceed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Moves what waits into the outbox, as far as window and socket have room; then requests may have room too. */
  #proceed(): void {
    if (this.#opened === null) return;
    const { session, requests } = this.#opened;
    if (session.hasWaiting && this.#outbox.hasRoom) {
      const writer = this.#outbox.writer();
      session.release(writer.length + this.#outbox.room, writer);
    }
    if (requests.size > 0) requests.pump();
  }

  paused(): void {
    this.#host.paused(this);
  }

  overflowed(): void {
    if (this.#isClosed) return;
    this.#host.cutOff(this);
    this.close(REASONS.quotaExceeded);
  }

  /** Looks after a connection whose socket takes no more; whether it still does not. */
  retry(nowMs: number): boolean {
    return this.#outbox.retry(nowMs);
  }

  /** Time goes by: closes what is late. */
  tick(nowMs: number): void {
    if (this.#isClosed) return;
    const { connectTimeoutSeconds, stalledSeconds } = this.#host.limits;
    if (this.#opened === null) {
      const startedAtMs = this.#handshake!.startedAtMs;
      if (nowMs - startedAtMs > connectTimeoutSeconds * 1_000) this.#end(CLOSE_CODES.policy);
      return;
    }
    const { keepAliveMs, session } = this.#opened;
    if (keepAliveMs > 0 && nowMs - this.#heardAtMs > keepAliveMs) {
      this.close(REASONS.keepAliveTimeout);
    } else if (
      (this.#outbox.isPaused || session.hasWaiting) &&
      nowMs - this.#outbox.progressAtMs > stalledSeconds * 1_000
    ) {
      this.overflowed();
    }
  }

  /** The whole process stood still for so long: nobody is late because of that. */
  excuse(ms: number): void {
    if (this.#handshake !== null) this.#handshake.startedAtMs += ms;
    this.#heardAtMs += ms;
    this.#outbox.progressAtMs += ms;
  }

  /** Ends the requests that have not started: their login is over. */
  forgetRequests(): void {
    this.#opened?.requests.clear();
  }

  /** Closes it: 5.0 is told why. What has been written still goes out. */
  close(reason: number, code = closeCodeOf(reason)): void {
    if (this.#isClosed) return;
    // A server says DISCONNECT only behind a CONNACK. [MQTT-3.14.0-1]
    if (this.#opened?.session.level === 5) writeDisconnect(this.#outbox.writer(), reason);
    this.#end(code);
  }

  /** The one place where a peer that broke MQTT is shown out. [MQTT-4.13.1-1] */
  #fail(error: unknown, code?: number): void {
    if (this.#isClosed) return;
    if (!(error instanceof ProtocolError)) {
      this.#host.failed(error);
      return this.close(REASONS.unspecified);
    }
    this.#host.peerBroke(this, error);
    if (this.#handshake !== null) {
      this.#host.connectFailed(this);
      const connack = this.#handshake.connackFor(error.reason);
      if (connack !== null) this.#outbox.writer().append(connack);
    }
    this.close(error.reason, code);
  }

  #end(code: number): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outbox.close();
    this.stream.close(code);
    this.#drop();
  }

  #drop(): void {
    this.#framing.clear();
    // Requests received before the end are still carried out; their answers reach nobody.
    this.#opened?.requests.pump();
    this.#host.closed(this);
  }
}
