import { malformed, ProtocolError, REASONS } from "./protocol_error.ts";

const LEAST_PENDING_BYTES = 64;

/**
 * Cuts a byte stream into MQTT packets. Packets may span chunks and a chunk may hold many [MQTT-6.0.0-2]; nothing is
 * kept but the part of a packet whose rest has not arrived.
 *
 * Use: `push(chunk)`, then `next()` until it is false; while it is true, the packet is
 * `bytes[packetStart .. packetEnd)`, its body beginning at `bodyStart`. The bytes are valid until the next `push`.
 */
export class Framing {
  readonly #maxPacketBytes: number;
  bytes: Uint8Array = EMPTY;
  packetStart = 0;
  bodyStart = 0;
  packetEnd = 0;
  #length = 0;
  /** Whether `bytes` is ours to append to. */
  #owned = false;

  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /** Bytes that belong to no finished packet yet, or to packets not asked for. */
  get pendingBytes(): number {
    return this.#length - this.packetEnd;
  }

  /** Adds received bytes. */
  push(chunk: Uint8Array): void {
    if (this.pendingBytes === 0) {
      this.bytes = chunk;
      this.packetEnd = 0;
      this.#length = chunk.length;
      this.#owned = false;
      return;
    }
    this.#makeRoom(chunk.length);
    this.bytes.set(chunk, this.#length);
    this.#length += chunk.length;
  }

  /**
   * Steps to the next whole packet. When it is false, what is left has been copied: the chunk may be reused.
   *
   * @throws {ProtocolError} for a remaining length that is too long for its value or for four bytes, and for a packet
   * over the limit, as soon as its header has arrived.
   */
  next(): boolean {
    const start = this.packetEnd;
    let at = start + 1;
    let remaining = 0;
    for (let shift = 0;; shift += 7) {
      if (at >= this.#length) return this.keep();
      const byte = this.bytes[at++]!;
      remaining += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        // As few bytes as the value needs. [MQTT-1.5.5-1]
        if (byte === 0 && shift > 0) throw malformed("The remaining length is longer than it needs to be.");
        break;
      }
      if (shift === 21) throw malformed("The remaining length is longer than four bytes.");
    }
    const end = at + remaining;
    if (end - start > this.#maxPacketBytes) {
      throw new ProtocolError(
        REASONS.packetTooLarge,
        `A packet of ${end - start} bytes is larger than ${this.#maxPacketBytes}.`,
      );
    }
    if (end > this.#length) return this.keep();
    this.packetStart = start;
    this.bodyStart = at;
    this.packetEnd = end;
    return true;
  }

  /** Copies what is left, so that the chunk may be reused; false. */
  keep(): false {
    const left = this.pendingBytes;
    if (left === 0) this.clear();
    else if (!this.#owned) this.#makeRoom(0);
    return false;
  }

  /** Forgets everything. */
  clear(): void {
    this.bytes = EMPTY;
    this.packetEnd = 0;
    this.#length = 0;
    this.#owned = false;
  }

  /** Moves what is left to the front of a buffer of our own with room for more; doubling keeps single bytes cheap. */
  #makeRoom(more: number): void {
    const left = this.pendingBytes;
    if (this.#owned && this.bytes.length - this.#length >= more) return;
    const size = Math.max(
      LEAST_PENDING_BYTES,
      left + more,
      this.#owned ? Math.min(2 * left, this.#maxPacketBytes) : 0,
    );
    const moved = new Uint8Array(size);
    moved.set(this.bytes.subarray(this.packetEnd, this.#length));
    this.bytes = moved;
    this.packetEnd = 0;
    this.#length = left;
    this.#owned = true;
  }
}

const EMPTY = new Uint8Array(0);
