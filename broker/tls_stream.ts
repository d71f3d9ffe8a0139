import type { TLSSocket } from "node:tls";
import type { Peer } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import type { OpenStreams } from "./open_streams.ts";

/** How long a peer may take to read what was sent before the close, and to close its own side. */
const CLOSE_PATIENCE_MS = 2_000;

/** What is read behind a close that we began; what is read to be dropped leaves garbage faster than it is collected. */
const MOST_DROPPED_BYTES = 64 * 1024;

/** MQTT over TLS. */
export class TlsStream implements ByteStream {
  readonly peer: Peer;
  readonly #socket: TLSSocket;
  readonly #streams: OpenStreams;
  #receiver: ByteReceiver | null = null;
  #droppedBytes = 0;
  #patience: ReturnType<typeof setTimeout> | undefined;

  /** Takes a socket whose handshake is done. */
  constructor(socket: TLSSocket, peer: Peer, streams: OpenStreams) {
    this.peer = peer;
    this.#socket = socket;
    this.#streams = streams;
  }

  get bufferedAmount(): number {
    return this.#socket.writableLength;
  }

  open(receiver: ByteReceiver): void {
    this.#receiver = receiver;
    this.#streams.add(this);
    const socket = this.#socket;
    socket.on("data", (bytes) => {
      if (typeof bytes === "string") return;
      if (this.#receiver !== null) return this.#receiver.receive(bytes);
      this.#droppedBytes += bytes.length;
      if (this.#droppedBytes > MOST_DROPPED_BYTES) socket.pause();
    });
    socket.on("end", () => {
      this.#leave();
      this.close(0);
    });
    socket.on("close", () => {
      clearTimeout(this.#patience);
      this.#leave();
      this.#streams.delete(this);
    });
  }

  send(bytes: Uint8Array): void {
    // The socket keeps what it is given until the network takes it.
    if (this.#socket.writable) this.#socket.write(bytes.slice());
  }

  /** Closes our side and reads on until the peer has closed its own: an unread byte would have the last words reset. */
  close(_code: number): void {
    this.#receiver = null;
    if (this.#socket.destroyed) return;
    this.#patience ??= setTimeout(() => this.#socket.destroy(), CLOSE_PATIENCE_MS);
    this.#socket.end();
  }

  #leave(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    receiver?.ended();
  }
}
