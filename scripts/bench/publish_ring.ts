/**
 * PUBLISH packets of one topic, made once and sent over and over. Each has a packet identifier of its own and begins
 * its payload with its number in the ring, so that order can be seen at the other end.
 */
import { join, publish, uint16 } from "../../tests/mqtt_bytes.ts";

/** What the packets are. */
export interface PublishRingOptions {
  readonly topic: string;
  readonly qos: number;
  /** How many; no more are under way at a time. */
  readonly size: number;
  readonly bodyBytes: number;
  /** Each in a masked WebSocket frame of its own, with a masking key of its own. */
  readonly isFramed: boolean;
}

const KEY_BYTES = 4;

/** The packets one behind the other, all of one length. */
export class PublishRing {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #each: number;

  constructor(options: PublishRingOptions) {
    this.size = options.size;
    const packets = Array.from({ length: options.size }, (_, i) => {
      const payload = new Uint8Array(Math.max(2, options.bodyBytes)).fill(0x78);
      payload.set(uint16(i));
      const packet = publish(options.topic, { level: 4, qos: options.qos, packetId: i + 1, payload });
      return options.isFramed ? frame(packet) : packet;
    });
    this.#each = packets[0]!.length;
    this.#bytes = new Uint8Array(this.#each * packets.length);
    packets.forEach((packet, i) => this.#bytes.set(packet, i * this.#each));
  }

  /** Messages `number` to `number + count` go to `send` in one piece or two. */
  send(number: number, count: number, send: (frames: Uint8Array) => void): void {
    for (let from = number, left = count; left > 0;) {
      const at = from % this.size;
      const piece = Math.min(left, this.size - at);
      send(this.#bytes.subarray(at * this.#each, (at + piece) * this.#each));
      from += piece;
      left -= piece;
    }
  }
}

/** A binary frame as a browser makes it. */
function frame(content: Uint8Array): Uint8Array {
  const { length } = content;
  const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const head = length < 126 ? [0x82, 0x80 | length] : [0x82, 0xfe, length >> 8, length & 0xff];
  return join(head, key, content.map((byte, i) => byte ^ key[i % KEY_BYTES]!));
}
