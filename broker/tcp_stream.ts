import type { Log } from "../log.ts";
import type { Peer } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import type { OpenStreams } from "./open_streams.ts";

/** Room for reading: small while little arrives, as an idle connection keeps it. */
const LEAST_READ_BYTES = 2_048;
const MOST_READ_BYTES = 64 * 1024;
/** How long a peer may take to read what was sent before the close, and to close its own side. */
const CLOSE_PATIENCE_MS = 2_000;

/** MQTT over plain TCP. */
export class TcpStream implements ByteStream {
  readonly peer: Peer;
  readonly #conn: Deno.TcpConn;
  readonly #log: Log;
  readonly #streams: OpenStreams;
  #receiver: ByteReceiver | null = null;
  #queued: Uint8Array[] = [];
  #buffered = 0;
  #isWriting = false;
  #isClosing = false;
  #isEnded = false;
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(
    conn: Deno.TcpConn,
    peer: Peer,
    { log, streams }: { readonly log: Log; readonly streams: OpenStreams },
  ) {
    this.peer = peer;
    this.#conn = conn;
    this.#log = log;
    this.#streams = streams;
  }

  get bufferedAmount(): number {
    return this.#buffered;
  }

  open(receiver: ByteReceiver): void {
    this.#receiver = receiver;
    this.#streams.add(this);
    this.#read().catch((cause) => this.#fail(cause));
  }

  async #read(): Promise<void> {
    let buffer = new Uint8Array(LEAST_READ_BYTES);
    while (!this.#isEnded) {
      let count: number | null;
      try {
        count = await this.#conn.read(buffer);
      } catch {
        // Reset by the peer, or closed by us.
        count = null;
      }
      if (count === null) break;
      // While we close there is no receiver: what still arrives is read and dropped.
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
    if (this.#isClosing || this.#isEnded) return;
    this.#queued.push(bytes.slice());
    this.#buffered += bytes.length;
    if (!this.#isWriting) this.#write().catch((cause) => this.#fail(cause));
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
      if (this.#isClosing) await this.#conn.closeWrite();
    } catch {
      // The peer is gone: reading ends too, and tells the receiver.
      this.#queued = [];
      this.#end();
    }
    this.#isWriting = false;
  }

  /**
   * Closes our side and reads on until the peer has closed its own: a socket closed with bytes unread is reset, and
   * the reset can overtake the packet that says why.
   */
  close(_code: number): void {
    this.#receiver = null;
    if (this.#isClosing || this.#isEnded) return;
    this.#isClosing = true;
    this.#patience = setTimeout(() => this.#end(), CLOSE_PATIENCE_MS);
    if (!this.#isWriting) this.#write().catch((cause) => this.#fail(cause));
  }

  #fail(cause: unknown): void {
    this.#log.error("TCP stream failed", cause);
    this.#end();
  }

  #end(): void {
    clearTimeout(this.#patience);
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#queued = [];
    try {
      this.#conn.close();
    } catch {
      // Closed already, by the other side.
    }
    this.#streams.delete(this);
  }
}
