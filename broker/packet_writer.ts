/** Bytes on their way to one socket; packets are encoded at the end of it. */
export class PacketWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Makes room for so many more bytes; where they begin. `length` has grown already. */
  reserve(more: number): number {
    const at = this.length;
    const needed = at + more;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.length = needed;
    return at;
  }

  /** Adds finished bytes. */
  append(bytes: Uint8Array): void {
    // Making room may move the bytes: it comes first.
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** What has been written. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

const USUAL_BYTES = 4_096;
/** Larger buffers are left to the collector. */
const MAX_KEPT_BYTES = 64 * 1024;
const MAX_KEPT = 256;
const kept: PacketWriter[] = [];

/** An empty writer. Idle connections hold none: they are handed from socket to socket. */
export function takeWriter(): PacketWriter {
  return kept.pop() ?? new PacketWriter(USUAL_BYTES);
}

/** Gives a writer back; its bytes must have been sent. */
export function giveWriter(writer: PacketWriter): void {
  if (kept.length >= MAX_KEPT || writer.bytes.length > MAX_KEPT_BYTES) return;
  writer.length = 0;
  kept.push(writer);
}
