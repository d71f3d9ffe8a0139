/**
 * Cuts a stream into MQTT packets, for load: no packet is decoded, nothing is allocated, and of a packet that arrives
 * in pieces only its beginning is kept.
 */

/** What is kept of a packet that does not arrive whole: more than anybody here looks at. */
const HEAD_BYTES = 128;

/** Who hears of packets; the bytes are valid during the call. */
export interface PacketObserver {
  /** A packet from `at`, its content from `bodyAt`; when `end` cuts it short, it came in pieces. */
  packet(bytes: Uint8Array, at: number, bodyAt: number, end: number): void;
}

/** The packets of one connection. */
export class MqttReader {
  readonly #observer: PacketObserver;
  /** The beginning of a packet that is not whole. */
  readonly #head = new Uint8Array(HEAD_BYTES);
  #headLength = 0;
  /** Where its content begins; 0 while its length is not known. */
  #bodyAt = 0;
  /** Bytes of its content that are still to come. */
  #left = 0;

  constructor(observer: PacketObserver) {
    this.#observer = observer;
  }

  /** Takes the next bytes of the stream. */
  push(bytes: Uint8Array): void {
    const { length } = bytes;
    for (let at = 0; at < length;) {
      if (this.#headLength === 0) {
        const end = wholeUntil(bytes, at);
        if (end > 0) {
          this.#observer.packet(bytes, at, bytes[at + 1]! < 0x80 ? at + 2 : at + 3, end);
          at = end;
          continue;
        }
      }
      at = this.#piece(bytes, at);
    }
  }

  /** Takes a piece of a packet, one byte of its header or as much of its content as there is; the place behind it. */
  #piece(bytes: Uint8Array, at: number): number {
    const head = this.#head;
    if (this.#bodyAt === 0) {
      head[this.#headLength++] = bytes[at]!;
      if (this.#headLength === 1 || bytes[at]! >= 0x80) return at + 1;
      this.#bodyAt = this.#headLength;
      this.#left = 0;
      for (let i = this.#headLength - 1; i > 0; i--) this.#left = this.#left * 128 + (head[i]! & 0x7f);
      if (this.#left === 0) this.#end();
      return at + 1;
    }
    const taken = Math.min(this.#left, bytes.length - at);
    const kept = Math.min(taken, HEAD_BYTES - this.#headLength);
    for (let i = 0; i < kept; i++) head[this.#headLength++] = bytes[at + i]!;
    this.#left -= taken;
    if (this.#left === 0) this.#end();
    return at + taken;
  }

  #end(): void {
    this.#observer.packet(this.#head, 0, this.#bodyAt, this.#headLength);
    this.#headLength = 0;
    this.#bodyAt = 0;
  }
}

/** The end of the packet at `at`, 0 unless it is whole and its length takes one or two bytes. */
function wholeUntil(bytes: Uint8Array, at: number): number {
  const available = bytes.length - at;
  if (available < 2) return 0;
  const low = bytes[at + 1]!;
  if (low < 0x80) return available - 2 >= low ? at + 2 + low : 0;
  if (available < 3) return 0;
  const high = bytes[at + 2]!;
  if (high >= 0x80) return 0;
  const length = high * 128 + (low & 0x7f);
  return available - 3 >= length ? at + 3 + length : 0;
}
