import type { Log } from "../log.ts";
import type { Peer } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";

/** Room for reading: small while little arrives, as an idle connection keeps it. */
const LEAST_READ_BYTES = 2_048;
const MOST_READ_BYTES = 64 * 1024;
/** How long a peer may take to read what was sent before the close. */
const CLOSE_PATIENCE_MS = 2_000;

/** MQTT over plain TCP. */
export class TcpStream implements ByteStream {
  readonly peer: Peer;
  readonly #conn: Deno.TcpConn;
  readonly #log: Log;
  #receiver: ByteReceiver | null = null;
  #queued: Uint8Array[] = [];
  #buffered = 0;
  #isWriting = false;
  #isClosing = false;
  #isClosed = false;
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(conn: Deno.TcpConn, peer: Peer, log: Log) {
    this.peer = peer;
    this.#conn = conn;
    this.#log = log;
  }

  get bufferedAmount(): number {
    return this.#buffered;
  }

  open(receiver: ByteReceiver): void {
    this.#receiver = receiver;
    this.#read().catch((cause) => this.#log.error("tcp stream failed", cause));
  }

  async #read(): Promise<void> {
    let buffer = new Uint8Array(LEAST_READ_BYTES);
    while (!this.#isClosed) {
      let count: number | null;
      try {
        count = await this.#conn.read(buffer);
      } catch {
        // Reset by the peer, or closed by us.
        count = null;
      }
      if (count === null) break;
      this.#receiver?.receive(buffer.subarray(0, count));
      if (count === buffer.length && count < MOST_READ_BYTES) buffer = new Uint8Array(4 * count);
      else if (count < buffer.length / 16 && buffer.length > LEAST_READ_BYTES) {
        buffer = new Uint8Array(LEAST_READ_BYTES);
      }
    }
    const receiver = this.#receiver;
    this.#receiver = null;
    receiver?.ended();
    this.#end();
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosing || this.#isClosed) return;
    this.#queued.push(bytes.slice());
    this.#buffered += bytes.length;
    if (!this.#isWriting) this.#write().catch((cause) => this.#log.error("tcp stream failed", cause));
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#queued.length > 0) {
        const chunks = this.#queued;
        this.#queued = [];
        for (const chunk of chunks) {
          for (let sent = 0; sent < chunk.length;) sent += await this.#conn.write(chunk.subarray(sent));
          this.#buffered -= chunk.length;
        }
      }
    } catch {
      // The peer is gone: reading ends too, and tells the receiver.
      this.#queued = [];
      this.#end();
    }
    this.#isWriting = false;
    if (this.#isClosing) this.#end();
  }

  close(_code: number): void {
    this.#receiver = null;
    if (this.#isClosing || this.#isClosed) return;
    this.#isClosing = true;
    if (!this.#isWriting) return this.#end();
    this.#patience = setTimeout(() => this.#end(), CLOSE_PATIENCE_MS);
  }

  #end(): void {
    clearTimeout(this.#patience);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queued = [];
    try {
      this.#conn.close();
    } catch {
      // Closed already, by the other side.
    }
  }
}
