/**
 * MQTT over WebSocket on a port of its own, by `ws`. The runtime's own sockets take in frames of 64 MiB before anybody
 * sees them, and cannot be cut off while their peer does not read; these can, and know how long a message is from its
 * first bytes.
 */

import { createServer, type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
// @ts-types="npm:@types/ws@8.18.2"
import { WebSocketServer } from "ws";
import type { Log } from "../log.ts";
import type { Admissions, Peer } from "./admission.ts";
import { Arrivals } from "./arrivals.ts";
import type { BrokerLimits } from "./limits.ts";
import type { OpenStreams } from "./open_streams.ts";
import { chooseSubProtocol } from "./sub_protocol.ts";
import { WsStream } from "./ws_stream.ts";

/**
 * A message may hold so many packets of the largest size: clients send what they have queued in one. A connection
 * holds no more than one message that has not arrived whole.
 */
const MESSAGE_PACKETS = 4;
/** A timer so late says that the process stood still. */
const STOOD_STILL_MS = 1_000;

/** A request for a WebSocket. */
export interface UpgradeRequest {
  /** Without the query. */
  readonly path: string;
  readonly headers: Headers;
  /** The other end of the TCP connection. */
  readonly address: string;
}

/** Why a WebSocket is not opened, as the answer to its request. */
export interface UpgradeRefusal {
  readonly status: number;
  /** Besides those every refusal has. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string;
}

/** What decides who may open a WebSocket. */
export interface UpgradeScreen {
  /** Who is at the other end of a connection that has not said anything. */
  peerOf(address: string): Peer;
  /** Whom a request comes from, or why it is refused. */
  screen(request: UpgradeRequest): Peer | UpgradeRefusal;
}

/** What a listener needs of the broker. */
export interface WsListenerHost {
  readonly log: Log;
  readonly streams: OpenStreams;
  readonly limits: BrokerLimits;
  readonly admissions: Admissions;
  /** The peer broke the WebSocket protocol. */
  peerBroke(peer: Peer, reason: string): void;
  accept(stream: WsStream): void;
}

/** Where to listen. */
export interface WsListenerOptions extends UpgradeScreen {
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
}

/** What came behind the request. */
type UpgradeHead = Parameters<WebSocketServer["handleUpgrade"]>[2];

/** Takes MQTT connections over WebSocket. */
export class WsListener {
  readonly #host: WsListenerHost;
  readonly #screen: UpgradeScreen;
  readonly #server: Server;
  readonly #webSockets: WebSocketServer;
  readonly #arrivals: Arrivals;
  readonly #streams = new Set<WsStream>();
  #looker: ReturnType<typeof setInterval> | undefined;
  #lookedAtMs = 0;

  private constructor(host: WsListenerHost, screen: UpgradeScreen) {
    this.#host = host;
    this.#screen = screen;
    this.#arrivals = new Arrivals(host.admissions, host.limits.connectTimeoutSeconds * 1_000);
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MESSAGE_PACKETS * host.limits.maxPacketBytes,
      handleProtocols: (offered: Set<string>) => chooseSubProtocol(offered) ?? false,
    });
    this.#server = createServer((request, response) => {
      request.resume();
      response.writeHead(426, { connection: "close", upgrade: "websocket" }).end();
    });
    this.#server.on("connection", (socket) => this.#take(socket));
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  /** Listens; rejects when it cannot. */
  static async open(host: WsListenerHost, options: WsListenerOptions): Promise<WsListener> {
    const listener = new WsListener(host, options);
    const server = listener.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, options.hostname, resolve);
    });
    server.removeAllListeners("error");
    server.on(
      "error",
      (error) => host.log.warn("WebSocket connection not accepted", { error: String(error) }),
    );
    listener.#watch(host.limits.idleTimeoutSeconds * 500);
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #take(socket: Socket): void {
    if (!this.#arrivals.take(socket, this.#screen.peerOf(socket.remoteAddress ?? ""))) return;
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: UpgradeHead): void {
    // From here on it is counted with its connection, or not at all.
    this.#arrivals.release(socket);
    const screened = this.#screen.screen({
      path: request.url?.split("?")[0] ?? "",
      headers: headersOf(request),
      address: request.socket.remoteAddress ?? "",
    });
    if ("status" in screened) return refuse(socket, screened);
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#host.accept(new WsStream(webSocket, screened, this.#streamHost));
    });
  }

  readonly #streamHost = {
    opened: (stream: WsStream) => {
      this.#streams.add(stream);
      this.#host.streams.add(stream);
    },
    ended: (stream: WsStream) => {
      this.#streams.delete(stream);
      this.#host.streams.delete(stream);
    },
    peerBroke: (peer: Peer, reason: string) => this.#host.peerBroke(peer, reason),
  };

  /** Has the streams looked after in intervals; two in silence, and a peer is let go. */
  #watch(intervalMs: number): void {
    if (intervalMs === 0) return;
    this.#lookedAtMs = performance.now();
    this.#looker = setInterval(() => {
      const passedMs = performance.now() - this.#lookedAtMs;
      this.#lookedAtMs += passedMs;
      // When this process stood still, what the peers sent meanwhile has not been read yet.
      if (passedMs > intervalMs + STOOD_STILL_MS) return;
      for (const stream of this.#streams) stream.lookAfter();
    }, intervalMs);
  }

  /** Takes no more connections; WebSockets that are open stay. Safe to call twice. */
  close(): void {
    clearInterval(this.#looker);
    this.#server.close();
    this.#arrivals.close();
  }
}

function headersOf({ headers }: IncomingMessage): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) all.append(name, one);
  }
  return all;
}

function refuse(socket: Duplex, { status, headers, body }: UpgradeRefusal): void {
  const fields = {
    "connection": "close",
    "content-type": "application/json",
    "content-length": String(new TextEncoder().encode(body).length),
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines}`;
  socket.end(`${head}\r\n${body}`, () => socket.destroy());
}
