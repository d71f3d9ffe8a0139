/**
 * One connection: bytes in, packets through the session, requests into their queue, bytes out.
 */

import type { Login } from "../im/mod.ts";
import type { MqttOwner } from "../store/mod.ts";
import type { Admission } from "./admission.ts";
import { Attachment, type AttachmentHost, type AttachmentOwner } from "./attachment.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import type { ClientConnection } from "./client_session.ts";
import { CLOSE_CODES, closeCodeOf } from "./close_codes.ts";
import { acceptedConnack, type ConnectRefusal, type ConnectRules, keepAliveOf } from "./connect.ts";
import { writeDisconnect } from "./encode.ts";
import type { Flusher } from "./flusher.ts";
import { Framing } from "./framing.ts";
import { type Authenticate, type GoodConnect, Handshake, type RefusedConnect } from "./handshake.ts";
import type { Holder } from "./journal.ts";
import type { Delivery } from "./kept_messages.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import type { OutgoingEvent } from "./outgoing.ts";
import type { DisconnectPacket } from "./packet.ts";
import type { PacketWriter } from "./packet_writer.ts";
import { readPacket } from "./packet_check.ts";
import { ProtocolError, REASONS } from "./protocol_error.ts";
import type { ClaimedSession, Sessions } from "./sessions.ts";

/** Largest reply over MQTT. */
const MAX_REPLY_BYTES = 128 * 1024;
/** Room for topic, identifier and properties around a reply. */
const PUBLISH_ENVELOPE_BYTES = 128;

/** What a connection needs of its broker. */
export interface ConnectionHost extends AttachmentHost, ConnectRules {
  readonly flusher: Flusher;
  readonly sessions: Sessions;
  /** Whether there are topics for clients among themselves. */
  readonly hasOpenTopics: boolean;
  readonly authenticate: Authenticate;
  /** Makes it the connection of its client, closing the older one; or says why not. */
  register(connection: Connection): ConnectRefusal | null;
  /** A CONNECT failed for its own fault. */
  connectFailed(connection: Connection): void;
  /** The peer broke MQTT. */
  peerBroke(connection: Connection, error: ProtocolError): void;
  /** We did. */
  failed(connection: Connection, cause: unknown): void;
  /** The socket takes no more for now: it is looked at again. */
  paused(connection: Connection): void;
  /** It is closed because its peer does not read. */
  cutOff(connection: Connection): void;
  closed(connection: Connection): void;
}

/** One client's connection. */
export class Connection implements ByteReceiver, OutboxOwner, AttachmentOwner, ClientConnection, Holder {
  readonly stream: ByteStream;
  readonly admission: Admission;
  readonly #host: ConnectionHost;
  readonly #framing: Framing;
  readonly outbox: Outbox;
  /** null from a good CONNECT on. */
  #handshake: Handshake | null;
  /** Whose connection it is; null before its CONNECT was found good. */
  #owner: MqttOwner | null = null;
  #login: Login | null = null;
  #attachment: Attachment | null = null;
  /** 0: none. */
  #keepAliveMs = 0;
  #isClosed = false;
  heardAtMs: number;

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
    this.outbox = new Outbox(stream, {
      flusher: host.flusher,
      owner: this,
      // One packet of the largest size may be held for the journal although its client reads.
      maxBytes: host.limits.maxWaitingBytes + host.limits.maxPacketBytes,
      nowMs,
    });
    this.#handshake = new Handshake(options.appToken, nowMs);
    this.heardAtMs = nowMs;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whose connection it is; null before its CONNECT was found good. */
  get owner(): MqttOwner | null {
    return this.#owner;
  }

  /** The login of its client; null for an anonymous one, and before its CONNECT was found good. */
  get login(): Login | null {
    return this.#login;
  }

  /** Whether requests are not answered, or what was written may not leave yet. */
  get isBusy(): boolean {
    return (this.#attachment?.requests.size ?? 0) > 0 || this.outbox.isHeld;
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
    this.outbox.discard();
    this.#drop();
  }

  #readPackets(nowMs: number): void {
    const framing = this.#framing;
    while (!this.#isClosed) {
      const handshake = this.#handshake;
      if (handshake?.isAuthenticating) return this.#keepForLater(framing);
      if (!framing.next()) break;
      this.heardAtMs = nowMs;
      if (handshake === null) this.#receivePacket(this.#attachment!);
      else this.#receiveConnect(handshake);
    }
    if (this.#isClosed) return framing.clear();
    this.#goOn();
  }

  /** What follows a CONNECT waits for its outcome. */
  #keepForLater(framing: Framing): void {
    if (framing.pendingBytes > 2 * this.#host.limits.maxPacketBytes) {
      throw new ProtocolError(REASONS.quotaExceeded, "Too much was sent before the CONNACK.");
    }
    framing.keep();
  }

  #receiveConnect(handshake: Handshake): void {
    const refused = handshake.read(this.#framing, this.#host);
    if (refused !== null) return this.#refuse(refused);
    this.#authenticate(handshake).catch((cause) => this.#fail(cause));
  }

  async #authenticate(handshake: Handshake): Promise<void> {
    const outcome = await handshake.authenticate(this.#host.authenticate);
    if (this.#isClosed) return;
    if ("connack" in outcome) return this.#refuse(outcome);
    const { connect, login, clientId } = outcome;
    this.#login = login;
    this.#owner = { userId: login?.userId ?? "", clientId };
    const refusal = this.#host.register(this);
    if (refusal !== null) {
      this.#owner = this.#login = null;
      return this.#refuse(handshake.refuse(refusal));
    }
    const claimed = await this.#host.sessions.claim(this.#owner, connect, this);
    if (this.#isClosed) return;
    if (typeof claimed === "string") return this.#refuse(handshake.refuse(claimed));
    this.#open(outcome, claimed);
    this.#readPackets(performance.now());
  }

  /** [MQTT-3.1.4-5] [MQTT-3.2.0-1] */
  #open({ connect, login, clientId }: GoodConnect, { client, isPresent }: ClaimedSession): void {
    const { limits, sessions, hasOpenTopics } = this.#host;
    this.#handshake = null;
    this.#keepAliveMs = keepAliveOf(connect, limits) * 1_500; // [MQTT-3.1.2-22], 3.1.1 [MQTT-3.1.2-24]
    const caller = login === null ? null : {
      ...login,
      door: "mqtt" as const,
      connection: this,
      maxReplyBytes: Math.max(1, Math.min(MAX_REPLY_BYTES, connect.maxPacketBytes - PUBLISH_ENVELOPE_BYTES)),
      order: { generation: 0 },
    };
    this.#attachment = new Attachment(this.#host, this, client, caller);
    const expirySeconds = sessions.attach(client, connect, this);
    const accepted = { isSessionPresent: isPresent, expirySeconds, clientId, hasOpenTopics };
    this.outbox.writer().append(acceptedConnack(connect, limits, accepted));
    client.session.outbound.resume(this.outbox.writer());
  }

  #refuse({ connack, isClientsFault }: RefusedConnect): void {
    if (isClientsFault) this.#host.connectFailed(this);
    this.outbox.writer().append(connack);
    this.#end(CLOSE_CODES.policy);
  }

  /** A login ended: if it is being looked up for this connection, it must not get in. */
  noteEndedLogin(loginId: string): void {
    this.#handshake?.noteEndedLogin(loginId);
  }

  #receivePacket(attachment: Attachment): void {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const { level } = attachment.client.session;
    const packet = readPacket(bytes, packetStart, bodyStart, packetEnd, level);
    const goodbye = this.#host.journal.asUnit(() => attachment.receive(packet, Date.now()));
    if (goodbye !== null) this.#leave(attachment, goodbye);
  }

  #leave({ client }: Attachment, goodbye: DisconnectPacket): void {
    this.#host.sessions.disconnect(client, goodbye);
    this.#end(CLOSE_CODES.normal); // [MQTT-3.14.4-1]
  }

  /** Sends an event to `me/inbox`, if the client subscribed to it. */
  deliver(event: OutgoingEvent): void {
    if (!this.#isClosed) this.#attachment?.deliver(event);
  }

  publish(delivery: Delivery): void {
    if (!this.#isClosed) this.#attachment!.publish(delivery);
  }

  hold(): void {
    this.outbox.hold(this.#host.journal.hold(this));
  }

  stored(batch: number): void {
    this.outbox.stored(batch, performance.now());
  }

  /** An answer that can never be true is not given. */
  lost(): void {
    this.close(REASONS.unspecified);
  }

  get hasWaiting(): boolean {
    return this.#attachment?.hasWaiting === true;
  }

  /** Moves what waits, as far as there is room. */
  #goOn(): void {
    const attachment = this.#attachment;
    if (attachment?.hasWaiting) this.#host.journal.asUnit(() => attachment.proceed());
  }

  proceed(): void {
    try {
      this.#goOn();
    } catch (error) {
      this.#fail(error);
    }
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
    return this.outbox.retry(nowMs);
  }

  /** Time goes by: closes what is late. */
  tick(nowMs: number): void {
    if (this.#isClosed) return;
    const { connectTimeoutSeconds, stalledSeconds } = this.#host.limits;
    if (this.#attachment === null) {
      const startedAtMs = this.#handshake!.startedAtMs;
      if (nowMs - startedAtMs > connectTimeoutSeconds * 1_000) this.#end(CLOSE_CODES.policy);
      return;
    }
    if (this.#keepAliveMs > 0 && nowMs - this.heardAtMs > this.#keepAliveMs) {
      this.close(REASONS.keepAliveTimeout);
      return;
    }
    // Whoever reads may take its time over a message of an open topic: MQTT sets none for an acknowledgement. Events
    // can be pulled, so that nothing is lost with the connection.
    const isWaiting = this.outbox.isPaused || this.#attachment.client.session.outbound.waitingEvents > 0;
    const isLate = nowMs - this.outbox.progressAtMs > stalledSeconds * 1_000;
    if (isWaiting && isLate && !this.outbox.isHeld) this.overflowed();
  }

  /** The whole process stood still for so long: nobody is late because of that. */
  excuse(ms: number): void {
    if (this.#handshake !== null) this.#handshake.startedAtMs += ms;
    this.heardAtMs += ms;
    this.outbox.progressAtMs += ms;
  }

  /** Ends the requests that have not started: their login is over. */
  forgetRequests(): void {
    this.#attachment?.requests.clear();
  }

  /** Closes it: 5.0 is told why. What has been written still goes out. */
  close(reason: number, code = closeCodeOf(reason)): void {
    if (this.#isClosed) return;
    // A server says DISCONNECT only behind a CONNACK. [MQTT-3.14.0-1]
    const mayTell = this.#attachment?.client.session.level === 5;
    this.#end(code, mayTell ? (writer) => writeDisconnect(writer, reason) : null);
  }

  /** The one place where a peer that broke MQTT is shown out. [MQTT-4.13.1-1] */
  #fail(error: unknown, code?: number): void {
    if (this.#isClosed) return;
    if (!(error instanceof ProtocolError)) {
      this.#host.failed(this, error);
      return this.close(REASONS.unspecified);
    }
    this.#host.peerBroke(this, error);
    if (this.#handshake !== null) {
      this.#host.connectFailed(this);
      const connack = this.#handshake.connackFor(error.reason);
      if (connack !== null) this.outbox.writer().append(connack);
    }
    this.close(error.reason, code);
  }

  #end(code: number, farewell: ((writer: PacketWriter) => void) | null = null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.outbox.close(farewell);
    this.stream.close(code);
    this.#drop();
  }

  #drop(): void {
    this.#framing.clear();
    this.#host.closed(this);
    // Requests received before the end are still carried out; their answers reach nobody.
    this.#attachment?.requests.pump();
  }
}
