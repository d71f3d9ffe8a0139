import { malformed } from "./protocol_error.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }); // [MQTT-1.5.4-3]

/** Reads the pieces of one packet; every piece must end inside it. */
export class ByteReader {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;

  /** Starts over with the part of `bytes` from `at` up to `end`. */
  open(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Lets the bytes go. */
  release(): void {
    this.bytes = EMPTY;
  }

  /** One byte. */
  readByte(): number {
    if (this.at >= this.end) throw malformed("The packet ends too early.");
    return this.bytes[this.at++]!;
  }

  /** Two bytes, the higher first. */
  readUint16(): number {
    if (this.at + 2 > this.end) throw malformed("The packet ends too early.");
    const value = (this.bytes[this.at]! << 8) | this.bytes[this.at + 1]!;
    this.at += 2;
    return value;
  }

  /** Four bytes, the highest first. */
  readUint32(): number {
    const high = this.readUint16();
    return high * 65_536 + this.readUint16();
  }

  /** A Variable Byte Integer. [MQTT-1.5.5-1] */
  readVariable(): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.readByte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed("An integer is longer than it needs to be.");
        return value;
      }
    }
    throw malformed("An integer is longer than four bytes.");
  }

  /** Binary Data: a view, not a copy. */
  readBinary(): Uint8Array {
    const length = this.readUint16();
    if (this.at + length > this.end) throw malformed("The packet ends too early.");
    const view = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }

  /** A UTF-8 Encoded String without U+0000. [MQTT-1.5.4-1] [MQTT-1.5.4-2] */
  readText(): string {
    const start = this.at + 2;
    const isAscii = this.skipText();
    if (!isAscii) return utf8.decode(this.bytes.subarray(start, this.at));
    // Short ASCII is what topics are, and the decoder costs more than its letters.
    if (this.at - start <= 64) {
      return String.fromCharCode.apply(null, this.bytes.subarray(start, this.at) as unknown as number[]);
    }
    return utf8.decode(this.bytes.subarray(start, this.at));
  }

  /** Checks a UTF-8 Encoded String and steps over it; whether it is ASCII. */
  skipText(): boolean {
    const length = this.readUint16();
    const end = this.at + length;
    if (end > this.end) throw malformed("The packet ends too early.");
    const { bytes } = this;
    let all = 0;
    for (let i = this.at; i < end; i++) {
      const byte = bytes[i]!;
      if (byte === 0) throw malformed("A string holds the character U+0000."); // [MQTT-1.5.4-2], 3.1.1 [MQTT-1.5.3-2]
      all |= byte;
    }
    if (all >= 0x80 && !isUtf8(bytes.subarray(this.at, end))) {
      throw malformed("A string is not well-formed UTF-8."); // [MQTT-1.5.4-1], 3.1.1 [MQTT-1.5.3-1]
    }
    this.at = end;
    return all < 0x80;
  }

  /** Everything that is left: a view, not a copy. */
  readRest(): Uint8Array {
    const view = this.bytes.subarray(this.at, this.end);
    this.at = this.end;
    return view;
  }

  /** Nothing may follow. */
  requireEnd(): void {
    if (this.at !== this.end) throw malformed("The packet is longer than its content.");
  }
}

/** Whether bytes are well-formed UTF-8; U+0000 may be among them. */
export function isUtf8(bytes: Uint8Array): boolean {
  let ascii = 0;
  while (ascii < bytes.length && bytes[ascii]! < 0x80) ascii++;
  if (ascii === bytes.length) return true;
  try {
    utf8.decode(bytes.subarray(ascii));
    return true;
  } catch {
    return false;
  }
}

const EMPTY = new Uint8Array(0);
