/**
 * One connection: bytes in, packets through the session, requests into their queue, bytes out.
 */

import type { Caller, Login } from "../im/mod.ts";
import { ImError } from "../im/mod.ts";
import type { Admission } from "./admission.ts";
import { type ByteReceiver, type ByteStream, CLOSE_CODES } from "./byte_stream.ts";
import {
  acceptedConnack,
  type ConnectRefusal,
  malformedConnack,
  refuseConnect,
  refusedConnack,
} from "./connect.ts";
import { UNSUPPORTED_CONNACK } from "./connect.ts";
import { correlationProperty, NO_OUTGOING_PROPERTIES, type Outgoing, writeDisconnect } from "./encode.ts";
import type { Flushable, Flusher } from "./flusher.ts";
import { Framing } from "./framing.ts";
import type { BrokerLimits } from "./limits.ts";
import type { ConnectPacket, ProtocolLevel } from "./packet.ts";
import { readConnect, readConnectLevel, readPacket } from "./packet_check.ts";
import { giveWriter, type PacketWriter, takeWriter } from "./packet_writer.ts";
import { ProtocolError, REASONS } from "./protocol_error.ts";
import { reasonOf, refusalReply, type Reply } from "./reply.ts";
import { type RequestOwner, RequestQueue } from "./request_queue.ts";
import { type Request, Session } from "./session.ts";
import { NOT_SUBSCRIBED } from "./subscriptions.ts";
import { INBOX_TOPIC, isReplyTopic, REPLY_TOPIC } from "./topic.ts";

/** Above this, nothing more is handed to a socket: what it holds cannot be taken back. */
export const PAUSE_BYTES = 256 * 1024;
/** Largest reply over MQTT. */
const MAX_REPLY_BYTES = 128 * 1024;
/** Room for topic, identifier and properties around a reply. */
const PUBLISH_ENVELOPE_BYTES = 128;

/** What a connection needs of its broker. */
export interface ConnectionHost {
  readonly limits: BrokerLimits;
  readonly flusher: Flusher;
  /** Who it is; or why it may not connect. */
  authenticate(connect: ConnectPacket, appToken: string | null): Promise<Login | ConnectRefusal>;
  /** Makes it a connection of its user, closing an older one of the same client; or says why not. */
  register(connection: Connection, login: Login): ConnectRefusal | null;
  perform(
    caller: Caller,
    command: string,
    body: Uint8Array,
    answer: (reply: Reply) => void,
  ): Promise<void> | null;
  /** A CONNECT failed for its own fault. */
  connectFailed(connection: Connection): void;
  /** The peer broke MQTT. */
  peerBroke(connection: Connection, error: ProtocolError): void;
  /** We did. */
  failed(cause: unknown): void;
  /** The socket takes no more for now: it is looked at again. */
  paused(connection: Connection): void;
  cutOff(connection: Connection): void;
  closed(connection: Connection): void;
}

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
const INBOX = utf8.encode(INBOX_TOPIC);
const REPLY = utf8.encode(REPLY_TOPIC);
// Replies are encoded one at a time and copied into their packet.
let replyScratch = new Uint8Array(8_192);

function encodeReply(text: string): Uint8Array {
  if (replyScratch.length < 3 * text.length) {
    // Long ones are rare, and their room is not kept.
    if (text.length > 65_536) return utf8.encode(text);
    replyScratch = new Uint8Array(3 * text.length);
  }
  return replyScratch.subarray(0, utf8.encodeInto(text, replyScratch).written);
}

/** An event for `me/inbox`; the tail is shared by all receivers. */
export function inboxOutgoing(prefix: string, tail: Uint8Array): Outgoing {
  return { topic: INBOX, properties: NO_OUTGOING_PROPERTIES, prefix, tail };
}

/** One client's connection. */
export class Connection implements ByteReceiver, Flushable, RequestOwner {
  readonly stream: ByteStream;
  readonly admission: Admission;
  readonly #host: ConnectionHost;
  readonly #framing: Framing;
  #appToken: string | null;
  #state: "waiting" | "authenticating" | "open" | "closed" = "waiting";
  #level: ProtocolLevel | null = null;
  #login: Login | null = null;
  #caller: Caller | null = null;
  #session: Session | null = null;
  #requests: RequestQueue | null = null;
  #writer: PacketWriter | null = null;
  #keepAliveMs = 0;
  /** Bytes the socket held when it was last looked at. */
  #backlog = 0;
  #isPaused = false;
  /** Logins that ended while this connection was being authenticated. */
  #endedLogins: string[] | null = null;
  isDirty = false;
  flushedAtMs = 0;
  openedAtMs: number;
  heardAtMs: number;
  progressAtMs: number;

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
    this.stream = stream;
    this.admission = options.admission;
    this.#host = options.host;
    this.#appToken = options.appToken;
    this.#framing = new Framing(options.host.limits.maxPacketBytes);
    this.openedAtMs = this.heardAtMs = this.progressAtMs = options.nowMs;
  }

  /** Whose connection it is; null before a good CONNECT. */
  get login(): Login | null {
    return this.#login;
  }

  get caller(): Caller {
    return this.#caller!;
  }

  /** Whether it has sent a good CONNECT and is not closed. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Requests that are not answered. */
  get requestCount(): number {
    return this.#requests?.size ?? 0;
  }

  receive(bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    this.heardAtMs = performance.now();
    try {
      this.#framing.push(bytes);
      this.#readPackets();
    } catch (error) {
      this.#fail(error);
    }
  }

  receiveText(): void {
    if (this.#state === "closed") return;
    const error = new ProtocolError(REASONS.protocolError, "A text frame came where MQTT is binary.");
    this.#host.peerBroke(this, error);
    this.#end(null, CLOSE_CODES.unsupportedFrame); // [MQTT-6.0.0-1]
  }

  ended(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#drop();
  }

  #readPackets(): void {
    const framing = this.#framing;
    while ((this.#state === "waiting" || this.#state === "open") && framing.next()) {
      if (this.#state === "waiting") this.#receiveConnect();
      else this.#receivePacket(this.#session!);
    }
    if (this.#state === "authenticating") {
      // What follows a CONNECT waits for its outcome.
      framing.keep();
      if (framing.pendingBytes > 2 * this.#host.limits.maxPacketBytes) {
        throw new ProtocolError(REASONS.quotaExceeded, "Too much was sent before the CONNACK.");
      }
      return;
    }
    if (this.#state === "closed") return framing.clear();
    this.#release();
  }

  #receiveConnect(): void {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const level = readConnectLevel(bytes, packetStart, bodyStart, packetEnd);
    if (level === "unsupported") {
      this.#host.connectFailed(this);
      this.#writable().append(UNSUPPORTED_CONNACK);
      return this.#end(null, CLOSE_CODES.protocolError);
    }
    this.#level = level;
    const connect = readConnect(bytes, packetStart, bodyStart, packetEnd, level);
    const refusal = refuseConnect(connect);
    if (refusal !== null) return this.#refuse(refusal);
    this.#state = "authenticating";
    this.#authenticate(connect).catch((cause) => this.#fail(cause));
  }

  async #authenticate(connect: ConnectPacket): Promise<void> {
    const login = await this.#host.authenticate(connect, this.#appToken);
    this.#appToken = null;
    if (this.#state !== "authenticating") return;
    if (typeof login === "string") return this.#refuse(login);
    if (this.#endedLogins?.includes(login.loginId)) return this.#refuse("bad-credentials");
    const refusal = this.#host.register(this, login);
    if (refusal !== null) return this.#refuse(refusal);
    this.#open(connect, login);
    this.#readPackets();
  }

  #open(connect: ConnectPacket, login: Login): void {
    this.#state = "open";
    this.#login = login;
    this.#session = new Session(connect, this.#host.limits);
    this.#requests = new RequestQueue(this);
    this.#caller = {
      ...login,
      door: "mqtt",
      connection: this,
      maxReplyBytes: Math.max(1, Math.min(MAX_REPLY_BYTES, connect.maxPacketBytes - PUBLISH_ENVELOPE_BYTES)),
      order: { generation: 0 },
    };
    this.#keepAliveMs = connect.keepAliveSeconds * 1_500; // [MQTT-3.1.2-22], 3.1.1 [MQTT-3.1.2-24]
    this.#writable().append(acceptedConnack(connect, this.#host.limits)); // [MQTT-3.1.4-5]
  }

  #refuse(refusal: ConnectRefusal): void {
    if (!NOT_THE_CLIENT.has(refusal)) this.#host.connectFailed(this);
    this.#writable().append(refusedConnack(refusal, this.#level!));
    this.#end(null, CLOSE_CODES.policy);
  }

  /** A login ended while we were asking who this is. */
  noteEndedLogin(loginId: string): void {
    if (this.#state === "authenticating") (this.#endedLogins ??= []).push(loginId);
  }

  #receivePacket(session: Session): void {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const packet = readPacket(bytes, packetStart, bodyStart, packetEnd, session.level);
    const effect = session.receive(packet, this.#writable());
    if (effect === null) return;
    switch (effect.type) {
      case "request":
        return this.#request(effect.request);
      case "progress":
        this.progressAtMs = this.heardAtMs;
        return;
      case "disconnect":
        this.#end(null, CLOSE_CODES.normal); // [MQTT-3.14.4-2]
    }
  }

  #request(request: Request): void {
    const { maxInflightIn } = this.#host.limits;
    // Requests of QoS 1 and 2 cannot be more than this: the session sees to it.
    if (request.qos === 0 && this.#requests!.size >= maxInflightIn) {
      const refusal = new ImError("request/too-often", `More than ${maxInflightIn} requests wait.`, {
        retryAfterMs: 1_000,
      });
      return this.finish(request, refusalReply(null, request.command, refusal));
    }
    this.#requests!.push(request);
  }

  get hasRoom(): boolean {
    return this.#state === "closed" || (this.#hasRoom() && this.#session!.waitingReplies === 0);
  }

  #hasRoom(): boolean {
    return !this.#isPaused && this.#backlog + (this.#writer?.length ?? 0) < PAUSE_BYTES;
  }

  start(command: string, body: Uint8Array, answer: (reply: Reply) => void): Promise<void> | null {
    return this.#host.perform(this.#caller!, command, body, answer);
  }

  finish(request: Request, reply: Reply | null): void {
    if (this.#state !== "open") return;
    const session = this.#session!;
    const writer = this.#writable();
    session.acknowledge(
      request,
      reply === null ? REASONS.notAuthorized : reasonOf(reply),
      reply?.code ?? 0,
      writer,
    );
    if (reply === null) return;
    const { responseTopic, correlationData } = request;
    const isBelow = responseTopic !== null && responseTopic !== REPLY_TOPIC && isReplyTopic(responseTopic);
    const qos = session.replyQos(isBelow ? responseTopic : REPLY_TOPIC);
    if (qos === NOT_SUBSCRIBED) return;
    const outgoing = {
      topic: isBelow ? utf8.encode(responseTopic) : REPLY,
      properties: correlationData === null ? NO_OUTGOING_PROPERTIES : correlationProperty(correlationData),
      prefix: "",
    };
    const sent = this.#deliver({ ...outgoing, tail: encodeReply(reply.text) }, qos, false);
    if (sent !== "too-large") return;
    const refusal = new ImError("message/too-large", "The answer is larger than your Maximum Packet Size.");
    const { text } = refusalReply(null, request.command, refusal);
    this.#deliver({ ...outgoing, tail: encodeReply(text) }, qos, false);
  }

  /**
   * Sends an event to `me/inbox`, if the client subscribed to it. `bodyless` makes the event that takes the place of
   * one larger than the client's Maximum Packet Size.
   */
  deliver(outgoing: Outgoing, bodyless: (() => Outgoing) | null): void {
    if (this.#state !== "open") return;
    if (this.#requests!.writeBehindReplies(() => this.#deliverEvent(outgoing, bodyless))) return;
    this.#deliverEvent(outgoing, bodyless);
  }

  #deliverEvent(outgoing: Outgoing, bodyless: (() => Outgoing) | null): void {
    if (this.#state !== "open") return;
    const qos = this.#session!.inboxQos;
    if (qos === NOT_SUBSCRIBED) return;
    if (this.#deliver(outgoing, qos, true) === "too-large" && bodyless !== null) {
      this.#deliver(bodyless(), qos, true);
    }
  }

  #deliver(outgoing: Outgoing, qos: number, isCounted: boolean) {
    const session = this.#session!;
    const isFirst = !session.hasWaiting;
    const writer = this.#writable();
    const delivered = session.deliver(outgoing, qos, isCounted, this.#hasRoom(), writer);
    if (delivered === "waiting") {
      if (isFirst) this.progressAtMs = performance.now();
      if (session.waitingBytes > this.#host.limits.maxWaitingBytes) this.#cutOff();
    }
    return delivered;
  }

  /** Where to write; it is flushed behind this turn. */
  #writable(): PacketWriter {
    this.#host.flusher.mark(this);
    return this.#writer ??= takeWriter();
  }

  /** Moves what waits into the writer, as far as window and socket have room; then requests may have room too. */
  #release(): void {
    const session = this.#session;
    if (session === null) return;
    if (session.hasWaiting && this.#hasRoom()) session.release(PAUSE_BYTES - this.#backlog, this.#writable());
    if (this.#requests!.size > 0) this.#requests!.pump();
  }

  flush(nowMs: number): void {
    if (this.#state === "closed") return;
    const backlog = this.stream.bufferedAmount;
    if (backlog < this.#backlog) this.progressAtMs = nowMs;
    this.#backlog = backlog;
    if (backlog >= PAUSE_BYTES) return this.#pause();
    this.#isPaused = false;
    this.#send();
    if (this.#session?.hasWaiting || this.requestCount > 0) this.#release();
  }

  #send(): void {
    const writer = this.#writer;
    if (writer === null) return;
    this.#writer = null;
    if (writer.length > 0) {
      this.stream.send(writer.written());
      this.#backlog += writer.length;
    }
    giveWriter(writer);
  }

  #pause(): void {
    if (!this.#isPaused) {
      this.#isPaused = true;
      this.progressAtMs = performance.now();
    }
    // Acknowledgements and PINGRESPs gather here; a peer that only asks and never reads must not fill memory.
    if ((this.#writer?.length ?? 0) > this.#host.limits.maxWaitingBytes) return this.#cutOff();
    this.#host.paused(this);
  }

  /** Looks after a connection whose socket takes no more; whether it still does not. */
  retry(nowMs: number): boolean {
    if (this.#state === "closed") return false;
    this.flush(nowMs);
    return this.#isPaused && this.isLive;
  }

  /** Whether it is not closed. */
  get isLive(): boolean {
    return this.#state !== "closed";
  }

  /** Time goes by: closes what is late. */
  tick(nowMs: number): void {
    const { connectTimeoutSeconds, stalledSeconds } = this.#host.limits;
    if (this.#state === "closed") return;
    if (this.#state !== "open") {
      if (nowMs - this.openedAtMs > connectTimeoutSeconds * 1_000) this.#end(null, CLOSE_CODES.policy);
    } else if (this.#keepAliveMs > 0 && nowMs - this.heardAtMs > this.#keepAliveMs) {
      this.#end(REASONS.keepAliveTimeout, CLOSE_CODES.policy);
    } else if (
      (this.#isPaused || this.#session!.hasWaiting) && nowMs - this.progressAtMs > stalledSeconds * 1_000
    ) {
      this.#cutOff();
    }
  }

  /** The whole process stood still for so long: nobody is late because of that. */
  excuse(ms: number): void {
    this.openedAtMs += ms;
    this.heardAtMs += ms;
    this.progressAtMs += ms;
  }

  #cutOff(): void {
    this.#host.cutOff(this);
    this.#end(REASONS.quotaExceeded, CLOSE_CODES.tryAgainLater);
  }

  /** Closes it: 5.0 is told why. What has been written still goes out. */
  close(reason: number, code: number): void {
    this.#end(reason, code);
  }

  /** Ends the requests that have not started: their login is over. */
  forgetRequests(): void {
    this.#requests?.clear();
  }

  #fail(error: unknown): void {
    if (this.#state === "closed") return;
    if (!(error instanceof ProtocolError)) {
      this.#host.failed(error);
      return this.#end(REASONS.unspecified, CLOSE_CODES.policy);
    }
    this.#host.peerBroke(this, error);
    if (this.#state !== "open") {
      this.#host.connectFailed(this);
      if (this.#level === 5) this.#writable().append(malformedConnack(error.reason));
    }
    const isTooLarge = error.reason === REASONS.packetTooLarge;
    this.#end(error.reason, isTooLarge ? CLOSE_CODES.tooLarge : CLOSE_CODES.protocolError); // [MQTT-4.13.1-1]
  }

  #end(reason: number | null, code: number): void {
    if (this.#state === "closed") return;
    const isOpen = this.#state === "open";
    if (isOpen && reason !== null && this.#level === 5) writeDisconnect(this.#writable(), reason); // [MQTT-3.14.0-1]
    this.#state = "closed";
    // To a socket that takes no more, more would only be kept.
    if (!this.#isPaused) this.#send();
    this.stream.close(code);
    this.#drop();
  }

  #drop(): void {
    if (this.#writer !== null) giveWriter(this.#writer);
    this.#writer = null;
    this.#framing.clear();
    this.isDirty = false;
    // Requests received before the end are still carried out; their answers reach nobody.
    this.#requests?.pump();
    this.#host.closed(this);
  }
}

/** Refusals that are no fault of the client. */
const NOT_THE_CLIENT: ReadonlySet<ConnectRefusal> = new Set<ConnectRefusal>([
  "server-unavailable",
  "quota-exceeded",
  "shutting-down",
]);
