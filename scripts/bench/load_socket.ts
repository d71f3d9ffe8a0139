/**
 * A WebSocket client made for load: one TCP connection, frames built in place, nothing allocated per frame.
 *
 * Every packet is a frame of its own, as `WebSocket.send` makes it; frames of one turn leave in one write. The masking
 * key is 0, which the server has to apply like any other [RFC 6455, 5.3]. Over `tcp:` there are no frames.
 */

/** Who hears of a socket. */
export interface LoadSocketObserver {
  /** The next bytes of the stream: a view that is overwritten after the call. */
  receive(bytes: Uint8Array): void;
  /** The other side ended it. */
  closed(reason: string): void;
}

const OPCODE = { binary: 2, close: 8, ping: 9, pong: 10 } as const;
const FINAL = 0x80;
const MASKED = 0x80;
/** First byte, length byte, two length bytes, masking key. */
const LONGEST_HEADER = 8;

/** A WebSocket over a TCP connection of its own, or that connection alone. */
export class LoadSocket {
  /** Whether packets travel in frames. */
  readonly isFramed: boolean;
  readonly #connection: Deno.TcpConn;
  readonly #observer: LoadSocketObserver;
  /** Frames that leave at the end of this turn. */
  #out = new Uint8Array(256);
  #outLength = 0;
  /** The buffer of the write under way. */
  #spare = new Uint8Array(0);
  #writing = false;
  /** Bytes still to come of a frame whose header has been read. */
  #payloadLeft = 0;
  /** The beginning of a header or control frame that the last read cut off. */
  #cutOff = new Uint8Array(0);
  #closed = false;

  private constructor(connection: Deno.TcpConn, observer: LoadSocketObserver, isFramed: boolean) {
    this.isFramed = isFramed;
    this.#connection = connection;
    this.#observer = observer;
    if (!isFramed) this.#payloadLeft = Infinity;
  }

  /** Connects to `url` (ws: with the sub-protocol `mqtt`, or tcp:); `readBytes` is the size of the read buffer. */
  static async open(url: string, observer: LoadSocketObserver, readBytes: number): Promise<LoadSocket> {
    const { protocol, hostname, port } = new URL(url);
    const connection = await Deno.connect({ hostname, port: Number(port) });
    try {
      connection.setNoDelay(true);
      const isFramed = protocol === "ws:";
      const rest = isFramed ? await upgrade(connection, new URL(url)) : new Uint8Array(0);
      const socket = new LoadSocket(connection, observer, isFramed);
      void socket.#read(rest, new Uint8Array(readBytes));
      return socket;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Sends a packet in a frame of its own, at the end of this turn; the bytes are copied at once. */
  send(packet: Uint8Array): void {
    this.#frame(OPCODE.binary, packet);
  }

  /** Sends what was framed before, where packets are framed, at the end of this turn; the bytes are copied at once. */
  sendFramed(frames: Uint8Array): void {
    this.#makeRoom(frames.length);
    this.#out.set(frames, this.#outLength);
    this.#outLength += frames.length;
    this.#writeSoon();
  }

  /** Closes without a word. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
  }

  #frame(opcode: number, payload: Uint8Array): void {
    if (!this.isFramed) return this.sendFramed(payload);
    const { length } = payload;
    if (length > 65_535) throw new RangeError(`a frame of ${length} bytes is not made here`);
    this.#makeRoom(LONGEST_HEADER + length);
    const out = this.#out;
    let at = this.#outLength;
    out[at++] = FINAL | opcode;
    if (length < 126) {
      out[at++] = MASKED | length;
    } else {
      out[at++] = MASKED | 126;
      out[at++] = length >> 8;
      out[at++] = length & 0xff;
    }
    out.fill(0, at, at += 4);
    out.set(payload, at);
    this.#outLength = at + length;
    this.#writeSoon();
  }

  #writeSoon(): void {
    if (this.#writing) return;
    this.#writing = true;
    queueMicrotask(() => void this.#write());
  }

  #makeRoom(bytes: number): void {
    if (this.#outLength + bytes <= this.#out.length) return;
    const grown = new Uint8Array(Math.max(this.#outLength + bytes, this.#out.length * 2));
    grown.set(this.#out.subarray(0, this.#outLength));
    this.#out = grown;
  }

  async #write(): Promise<void> {
    try {
      while (this.#outLength > 0 && !this.#closed) {
        const bytes = this.#out, length = this.#outLength;
        // The bytes under way belong to the write: what comes meanwhile goes into the other buffer.
        this.#out = this.#spare.length > 0 ? this.#spare : new Uint8Array(bytes.length);
        this.#outLength = 0;
        this.#spare = bytes;
        for (let at = 0; at < length;) at += await this.#connection.write(bytes.subarray(at, length));
      }
    } catch (error) {
      this.#end(String(error));
    }
    this.#writing = false;
  }

  async #read(first: Uint8Array, buffer: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      this.#take(first);
      while (!this.#closed) {
        const length = await this.#connection.read(buffer);
        if (length === null) return this.#end("the server closed the connection");
        this.#take(buffer.subarray(0, length));
      }
    } catch (error) {
      this.#end(String(error));
    }
  }

  #take(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#cutOff.length > 0) {
      bytes = new Uint8Array(this.#cutOff.length + chunk.length);
      bytes.set(this.#cutOff);
      bytes.set(chunk, this.#cutOff.length);
      this.#cutOff = new Uint8Array(0);
    }
    let at = 0;
    while (at < bytes.length && !this.#closed) {
      if (this.#payloadLeft > 0) {
        const end = Math.min(at + this.#payloadLeft, bytes.length);
        this.#payloadLeft -= end - at;
        this.#observer.receive(bytes.subarray(at, end));
        at = end;
        continue;
      }
      const payloadAt = this.#header(bytes, at);
      if (payloadAt === null) {
        this.#cutOff = bytes.slice(at);
        return;
      }
      at = payloadAt;
    }
  }

  /** Reads a header, and a control frame as a whole; the place behind it, `null` when bytes are missing. */
  #header(bytes: Uint8Array, at: number): number | null {
    if (bytes.length - at < 2) return null;
    const opcode = bytes[at]! & 0x0f;
    let length = bytes[at + 1]!;
    let payloadAt = at + 2;
    if (length === 126) {
      if (bytes.length - at < 4) return null;
      length = bytes[at + 2]! << 8 | bytes[at + 3]!;
      payloadAt = at + 4;
    } else if (length === 127) {
      if (bytes.length - at < 10) return null;
      length = Number(new DataView(bytes.buffer, bytes.byteOffset + at + 2, 8).getBigUint64(0));
      payloadAt = at + 10;
    }
    if (opcode <= OPCODE.binary) {
      this.#payloadLeft = length;
      return payloadAt;
    }
    if (bytes.length - payloadAt < length) return null;
    const payload = bytes.subarray(payloadAt, payloadAt + length);
    if (opcode === OPCODE.ping) this.#frame(OPCODE.pong, payload);
    if (opcode === OPCODE.close) {
      const code = length >= 2 ? payload[0]! << 8 | payload[1]! : 1005;
      this.#end(`the server closed the WebSocket: ${code} ${new TextDecoder().decode(payload.subarray(2))}`);
    }
    return payloadAt + length;
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.close();
    this.#observer.closed(reason.trim());
  }
}

/** Asks for a WebSocket on a connection; resolves with what followed the answer, which belongs to the first frames. */
export async function upgrade(connection: Deno.TcpConn, { host, pathname }: URL): Promise<Uint8Array> {
  await connection.write(new TextEncoder().encode(
    `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
  ));
  const buffer = new Uint8Array(4_096);
  let length = 0;
  while (length < buffer.length) {
    const read = await connection.read(buffer.subarray(length));
    if (read === null) throw new Error("The server closed the connection instead of upgrading it.");
    length += read;
    const text = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) continue;
    if (!text.startsWith("HTTP/1.1 101")) {
      throw new Error(`The server refused the upgrade: ${text.split("\r\n")[0]}.`);
    }
    return buffer.slice(end + 4, length);
  }
  throw new Error("The answer to the upgrade is longer than 4 KiB.");
}
