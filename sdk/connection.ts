/**
 * One WebSocket that speaks MQTT 5.0 to Hearth: CONNECT, SUBSCRIBE `me/#`, requests out, replies and events in.
 * It lives once; coming back after a loss is the work of {@link SocketLink}.
 *
 * @module
 */
import {
  encodeConnect,
  encodeDisconnect,
  encodePublish,
  encodeSubscribe,
  PacketStream,
  PINGREQ,
  writePuback,
} from "./packet.ts";
import type { Packet } from "./packet.ts";

/** What a connection needs of a WebSocket class: the standard one of browsers, Deno and Node ≥ 22 has it. */
export interface WebSocketClass {
  /** Opens a socket with the sub-protocol `mqtt`. */
  new (url: string, protocols: string[]): WebSocket;
}

/** Where to connect, and as whom. */
export interface ConnectionOptions {
  /** `ws(s)://host/mqtt`. */
  readonly url: string;
  /** The MQTT username. */
  readonly userId: string;
  /** The installation the token was given to. */
  readonly clientId: string;
  /** The IM token; `null` in a browser whose cookie authenticates the socket. */
  readonly token: string | null;
  /** Default 30. */
  readonly keepAliveSeconds?: number;
  /** How long connecting may take; default 15,000 ms. */
  readonly connectTimeoutMs?: number;
  /** For runtimes without a global `WebSocket` (Node 20). */
  readonly WebSocket?: WebSocketClass;
}

/** Who hears of what arrives; called in the order of arrival. */
export interface ConnectionObserver {
  /** Subscribed: requests may be sent. */
  opened(): void;
  /** JSON text from `me/reply`. */
  reply(text: string): void;
  /** JSON text from `me/inbox`. */
  event(text: string): void;
  /** Called once, last. */
  closed(end: ConnectionEnd): void;
}

/** Why a connection ended. */
export interface ConnectionEnd {
  /** `refused`: CONNACK with a reason code; `disconnected`: the server said DISCONNECT; `lost`: anything else. */
  readonly kind: "refused" | "disconnected" | "lost" | "closed";
  /** The MQTT 5.0 reason code of `refused` and `disconnected`, otherwise 0. */
  readonly reasonCode: number;
  /** A sentence for logs. */
  readonly message: string;
}

/** One MQTT connection over one WebSocket. */
export class Connection {
  readonly #socket: WebSocket;
  readonly #observer: ConnectionObserver;
  readonly #stream = new PacketStream();
  readonly #decoder = new TextDecoder();
  #keepAliveMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #opened = false;
  #ended = false;
  #lastPacketId = 0;
  #receivedAtMs = 0;
  #sentAtMs = 0;
  /** Requests at QoS 1 without their PUBACK. */
  #inflight = 0;
  #maxInflight = 65_535;
  #maxPacketBytes = Infinity;
  /** Requests that wait for a place among those. */
  readonly #waiting: { readonly command: string; readonly body: string }[] = [];
  #acknowledgements = new Uint8Array(256);
  #acknowledged = 0;

  /** Starts connecting at once; the observer hears how it went. Throws when there is no WebSocket class. */
  constructor(options: ConnectionOptions, observer: ConnectionObserver) {
    const WebSocketClass = options.WebSocket ?? (globalThis.WebSocket as WebSocketClass | undefined);
    if (WebSocketClass === undefined) {
      throw new TypeError("this runtime has no WebSocket: pass one in the options");
    }
    this.#observer = observer;
    this.#keepAliveMs = (options.keepAliveSeconds ?? 30) * 1000;
    const socket = this.#socket = new WebSocketClass(options.url, ["mqtt"]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#write(encodeConnect({
        clientId: options.clientId,
        username: options.userId,
        password: options.token,
        keepAliveSeconds: this.#keepAliveMs / 1000,
        receiveMaximum: 1024,
      }));
    };
    socket.onmessage = (message: MessageEvent) => this.#receive(message.data);
    socket.onclose = (event: CloseEvent) => this.#end("lost", 0, `the socket closed (${event.code})`);
    socket.onerror = () => this.#end("lost", 0, "the socket failed");
    this.#timer = setTimeout(
      () => this.#end("lost", 0, "connecting took too long"),
      options.connectTimeoutMs ?? 15_000,
    );
  }

  /** Whether requests may be sent. */
  get isOpen(): boolean {
    return this.#opened && !this.#ended;
  }

  /**
   * Publishes a request body (JSON text) to `im/<command>`, at QoS 1 in order and as many at once as the server
   * takes. False when the connection is not open.
   */
  send(command: string, body: string, qos: 0 | 1 = 1): boolean {
    if (!this.isOpen) return false;
    if (qos === 0) this.#write(encodePublish(`im/${command}`, body, 0, 0));
    else if (this.#inflight < this.#maxInflight) this.#publish(command, body);
    else this.#waiting.push({ command, body });
    return true;
  }

  /** Whether a request is small enough for the server, which would close the connection otherwise. */
  fits(command: string, body: string): boolean {
    // Fixed header 5, topic 2 + 3, packet id 2, no properties 1. A UTF-16 unit is at most three bytes.
    const room = this.#maxPacketBytes - 13 - command.length;
    return body.length * 3 <= room || new TextEncoder().encode(body).length <= room;
  }

  /** Asks the server for a sign of life; ends the connection as lost when none comes within the time. */
  probe(timeoutMs = 5000): void {
    if (!this.isOpen) return;
    const before = this.#receivedAtMs;
    this.#write(PINGREQ);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#receivedAtMs === before) this.#end("lost", 0, "no sign of life");
      else this.#watch();
    }, timeoutMs);
  }

  /** Says DISCONNECT and closes. */
  close(): void {
    if (this.#ended) return;
    if (this.#socket.readyState === 1) this.#write(encodeDisconnect(0));
    this.#end("closed", 0, "closed here");
  }

  #receive(data: unknown): void {
    if (this.#ended) return;
    this.#receivedAtMs = Date.now();
    try {
      if (!(data instanceof ArrayBuffer)) throw new TypeError("a text frame is no MQTT"); // [MQTT-6.0.0-1]
      this.#stream.push(new Uint8Array(data));
      for (let packet = this.#stream.next(); packet !== null && !this.#ended; packet = this.#stream.next()) {
        this.#take(packet);
      }
    } catch (cause) {
      this.#end("lost", 0, cause instanceof Error ? cause.message : String(cause));
      return;
    }
    this.#flushAcknowledgements();
  }

  #take(packet: Packet): void {
    switch (packet.type) {
      case "publish": {
        const text = this.#decoder.decode(packet.payload);
        if (packet.topic === "me/reply") this.#observer.reply(text);
        else if (packet.topic === "me/inbox") this.#observer.event(text);
        // After it has been applied: the acknowledgement is what moves "delivered" on the other side.
        if (packet.qos > 0) this.#acknowledge(packet.packetId);
        return;
      }
      case "connack":
        if (packet.reasonCode !== 0) {
          return this.#end(
            "refused",
            packet.reasonCode,
            packet.reasonString || "the server refused the connection",
          );
        }
        if (packet.serverKeepAliveSeconds !== null) this.#keepAliveMs = packet.serverKeepAliveSeconds * 1000;
        this.#maxInflight = packet.receiveMaximum;
        this.#maxPacketBytes = packet.maximumPacketBytes ?? Infinity; // [MQTT-3.2.2-15]
        this.#write(encodeSubscribe(this.#nextPacketId(), "me/#", 1));
        return;
      case "suback":
        if ((packet.reasonCodes[0] ?? 0x80) >= 0x80) return this.#end("lost", 0, "the server refused me/#");
        this.#opened = true;
        this.#watch();
        this.#observer.opened();
        return;
      case "disconnect":
        return this.#end("disconnected", packet.reasonCode, packet.reasonString || "the server disconnected");
      case "puback": {
        this.#inflight--;
        const next = this.#waiting.shift();
        if (next !== undefined) this.#publish(next.command, next.body);
        return;
      }
      case "pingresp":
    }
  }

  #publish(command: string, body: string): void {
    this.#inflight++; // [MQTT-3.3.4-7]
    this.#write(encodePublish(`im/${command}`, body, 1, this.#nextPacketId()));
  }

  #acknowledge(packetId: number): void {
    if (this.#acknowledged + 4 > this.#acknowledgements.length) this.#flushAcknowledgements();
    this.#acknowledged = writePuback(this.#acknowledgements, this.#acknowledged, packetId);
  }

  #flushAcknowledgements(): void {
    if (this.#acknowledged === 0) return;
    const bytes = this.#acknowledgements.slice(0, this.#acknowledged);
    this.#acknowledged = 0;
    this.#write(bytes);
  }

  /** Half way through the keep-alive: a ping when nothing was sent or received; lost after 1.5 times of silence. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#keepAliveMs === 0) return;
    this.#timer = setTimeout(() => {
      const nowMs = Date.now();
      const silentMs = nowMs - this.#receivedAtMs;
      if (silentMs > this.#keepAliveMs * 1.5) return this.#end("lost", 0, "no sign of life");
      if (silentMs > this.#keepAliveMs / 3 || nowMs - this.#sentAtMs > this.#keepAliveMs / 3) {
        this.#write(PINGREQ);
      }
      this.#watch();
    }, this.#keepAliveMs / 2);
  }

  #nextPacketId(): number {
    return this.#lastPacketId = this.#lastPacketId % 65_535 + 1;
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState !== 1) return;
    this.#sentAtMs = Date.now();
    this.#socket.send(bytes);
  }

  #end(kind: ConnectionEnd["kind"], reasonCode: number, message: string): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = null;
    if (this.#socket.readyState < 2) this.#socket.close();
    this.#observer.closed({ kind, reasonCode, message });
  }
}
