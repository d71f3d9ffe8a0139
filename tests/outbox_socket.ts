/** A stream that takes as much as a test says, and the outbox on top of it. */
import type { ByteStream } from "../broker/byte_stream.ts";
import { Flusher } from "../broker/flusher.ts";
import { Outbox, type OutboxOwner } from "../broker/outbox.ts";

/** From here on a socket counts as full. */
export const FULL_BYTES = 256 * 1024;

/** A socket whose peer reads when the test says so, and the connection on top of it. */
export class Socket implements ByteStream, OutboxOwner {
  readonly peer = { address: "127.0.0.1", isTrustedProxy: false };
  readonly outbox: Outbox;
  bufferedAmount = 0;
  /** Sizes of the frames that were handed over. */
  readonly frames: number[] = [];
  pauses = 0;
  overflows = 0;
  /** Bytes that wait for room, and are written by `proceed`. */
  waiting = 0;
  #heard = "";

  constructor(maxBytes = 1_000_000) {
    this.outbox = new Outbox(this, { flusher: new Flusher(), owner: this, maxBytes, nowMs: 0 });
  }

  open(): void {}

  close(): void {}

  send(bytes: Uint8Array): void {
    this.frames.push(bytes.length);
    this.#heard += new TextDecoder().decode(bytes);
    this.bufferedAmount += bytes.length;
  }

  get hasWaiting(): boolean {
    return this.waiting > 0;
  }

  proceed(): void {
    const now = Math.min(this.waiting, this.outbox.room);
    this.waiting -= now;
    if (now > 0) this.write(now);
  }

  paused(): void {
    this.pauses++;
  }

  overflowed(): void {
    this.overflows++;
  }

  write(count: number): void {
    this.outbox.writer().append(new Uint8Array(count));
  }

  /** Writes text. */
  say(text: string): void {
    this.outbox.writer().append(new TextEncoder().encode(text));
  }

  /** The text that was handed over since. */
  heard(): string {
    const heard = this.#heard;
    this.#heard = "";
    return heard;
  }

  read(count = this.bufferedAmount): void {
    this.bufferedAmount -= count;
  }
}
