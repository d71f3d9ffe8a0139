// @ts-types="npm:@types/ws@8.18.2"
import type { WebSocket as WsSocket } from "ws";
import type { Peer } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import { CLOSE_CODES } from "./close_codes.ts";

/** How long a peer may take to answer the close frame. */
const CLOSE_PATIENCE_MS = 2_000;
/** What is read behind a close that we began. */
const MOST_DROPPED_BYTES = 64 * 1024;

/** What a stream needs of its listener. */
export interface WsStreamHost {
  opened(stream: WsStream): void;
  ended(stream: WsStream): void;
  /** The peer broke the WebSocket protocol, or sent a message over the limit. */
  peerBroke(peer: Peer, reason: string): void;
}

/** MQTT over a WebSocket of `ws`. */
export class WsStream implements ByteStream {
  readonly peer: Peer;
  readonly #socket: WsSocket;
  readonly #host: WsStreamHost;
  #receiver: ByteReceiver | null = null;
  /** What is known of the peer since it was last looked after. */
  #life: "heard" | "silent" | "asked" = "heard";
  #droppedBytes = 0;
  #patience: ReturnType<typeof setTimeout> | undefined;

  /** Takes a socket that is open. */
  constructor(socket: WsSocket, peer: Peer, host: WsStreamHost) {
    this.peer = peer;
    this.#socket = socket;
    this.#host = host;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  open(receiver: ByteReceiver): void {
    this.#receiver = receiver;
    this.#host.opened(this);
    const socket = this.#socket;
    socket.on("message", (data, isBinary) => {
      this.#life = "heard";
      if (!(data instanceof Uint8Array)) return;
      if (this.#receiver === null) this.#drop(data.length);
      else if (isBinary) this.#receiver.receive(data);
      else this.#receiver.receiveText();
    });
    const hear = () => this.#life = "heard";
    socket.on("ping", hear);
    socket.on("pong", hear);
    socket.on("error", (error: Error & { readonly code?: string }) => this.#broken(error));
    socket.on("close", () => this.#closed());
  }

  send(bytes: Uint8Array): void {
    // The socket keeps what it is given until the network takes it.
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytes.slice());
  }

  close(code: number): void {
    this.#receiver = null;
    if (this.#socket.readyState > this.#socket.OPEN) return;
    this.#socket.close(code);
    this.#endSoon();
  }

  /** Called in equal intervals: a peer that is silent through one is pinged, through a second one let go. */
  lookAfter(): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.#life === "asked") return this.#end(CLOSE_CODES.goingAway);
    if (this.#life === "silent") this.#socket.ping();
    this.#life = this.#life === "heard" ? "silent" : "asked";
  }

  /** `ws` has begun to close, with the code that fits. */
  #broken(error: Error & { readonly code?: string }): void {
    if (error.code?.startsWith("WS_ERR_") && this.#receiver !== null) {
      this.#host.peerBroke(this.peer, `${error.message}.`);
    }
    this.#leave();
    this.#endSoon();
    this.#stopReading();
  }

  /** A close frame stands behind what was sent before it; who goes on sending is not waited for. */
  #drop(bytes: number): void {
    this.#droppedBytes += bytes;
    if (this.#droppedBytes > MOST_DROPPED_BYTES) this.#stopReading();
  }

  /** What is read to be dropped leaves garbage faster than it is collected. */
  #stopReading(): void {
    // `ws` resumes a socket it has an error for at the end of this turn.
    setTimeout(() => this.#socket.pause());
  }

  #end(code: number): void {
    this.#leave();
    this.close(code);
  }

  /** The receiver hears of the end before the socket has gone through it. */
  #leave(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    receiver?.ended();
  }

  #endSoon(): void {
    this.#patience ??= setTimeout(() => this.#socket.terminate(), CLOSE_PATIENCE_MS);
  }

  #closed(): void {
    clearTimeout(this.#patience);
    this.#leave();
    this.#host.ended(this);
  }
}
