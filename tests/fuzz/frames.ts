/** Packets in pieces: any framing. */
import type { Dice } from "../dice.ts";
import { join } from "../mqtt_bytes.ts";

/** Cuts the bytes of packets anywhere, or nowhere. */
export function cut(dice: Dice, packets: readonly Uint8Array[]): Uint8Array[] {
  const kind = dice.roll(20);
  if (kind < 5) return [...packets];
  const bytes = concat(packets);
  if (kind < 11) return [bytes];
  // Byte by byte takes its time: of long ones only the beginning.
  const most = kind === 11 ? 1 : dice.pick([4, 16, 64, 512]);
  const pieces: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length && pieces.length < 60) {
    const size = 1 + dice.roll(most);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  if (at < bytes.length) pieces.push(bytes.subarray(at));
  return pieces;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const OPCODES = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/**
 * WebSocket frames with these contents: whole messages, messages in fragments, empty ones, with pings between them, and
 * rarely a text.
 */
export function framesOf(dice: Dice, contents: readonly Uint8Array[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const content of contents) {
    const kind = dice.roll(40);
    if (kind === 0) frames.push(frame(dice, OPCODES.ping, content.subarray(0, 10)));
    if (kind === 1) frames.push(frame(dice, OPCODES.pong, content.subarray(0, 10)));
    if (kind === 2) frames.push(frame(dice, OPCODES.binary, new Uint8Array(0)));
    if (kind === 3 && dice.roll(8) === 0) frames.push(frame(dice, OPCODES.text, join(0x61, 0x62)));
    if (kind >= 36) frames.push(...fragments(dice, content));
    else frames.push(frame(dice, OPCODES.binary, content));
  }
  return frames;
}

/** A whole message as clients send it, in one frame; a mask of zeros leaves the content as it is. */
export function messageFrame(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = content;
  const head = length < 126
    ? [0x82, 0x80 | length]
    : [0x82, 0xff, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff];
  const bytes = new Uint8Array(head.length + 4 + length);
  bytes.set(head);
  bytes.set(content, head.length + 4);
  return bytes;
}

function fragments(dice: Dice, content: Uint8Array): Uint8Array[] {
  const at = dice.roll(content.length + 1);
  return [
    frame(dice, OPCODES.binary, content.subarray(0, at), false),
    ...(dice.roll(3) === 0 ? [frame(dice, OPCODES.ping, new Uint8Array(0))] : []),
    frame(dice, OPCODES.more, content.subarray(at)),
  ];
}

/** One frame as clients send it, masked. Source: RFC 6455, section 5.2. */
function frame(dice: Dice, opcode: number, content: Uint8Array, isLast = true): Uint8Array {
  const mask = [dice.roll(256), dice.roll(256), dice.roll(256), dice.roll(256)];
  const { length } = content;
  const head = [
    (isLast ? 0x80 : 0) | opcode,
    ...length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff],
    ...mask,
  ];
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  for (let i = 0; i < length; i++) bytes[head.length + i] = content[i]! ^ mask[i & 3]!;
  return bytes;
}

/** The upgrade a client asks for, through a proxy that names `address` where one is given. */
export function upgradeRequest(port: number, address?: string): Uint8Array {
  return new TextEncoder().encode([
    "GET /mqtt HTTP/1.1",
    `host: 127.0.0.1:${port}`,
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    `sec-websocket-key: ${btoa("0123456789abcdef")}`,
    "sec-websocket-protocol: mqtt",
    ...(address === undefined ? [] : [`x-forwarded-for: ${address}`]),
    "",
    "",
  ].join("\r\n"));
}

/** The close a client answers the server's with, or begins. */
export const CLOSE_FRAME = join(0x88, 0x80, [0, 0, 0, 0]);
/** The answer to a ping of the server, which says nothing. */
export const PONG_FRAME = join(0x8a, 0x80, [0, 0, 0, 0]);

/** Takes the frames of a server apart; they are not masked and not in fragments. */
export class FrameReader {
  readonly #hear: (content: Uint8Array) => void;
  #left = new Uint8Array(0);
  /** Whether the server has closed. */
  isClosed = false;
  /** Pings of the server. */
  pings = 0;

  /** `hear` is given the contents of binary frames, whose bytes are valid until it returns. */
  constructor(hear: (content: Uint8Array) => void) {
    this.#hear = hear;
  }

  /** Takes received bytes. */
  push(chunk: Uint8Array): void {
    const bytes = this.#left.length === 0 ? chunk : concat([this.#left, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const short = bytes[at + 1]! & 0x7f;
      const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length - at < headBytes) break;
      let length = short;
      if (short >= 126) {
        length = 0;
        for (let i = 2; i < headBytes; i++) length = length * 256 + bytes[at + i]!;
      }
      if (bytes.length - at - headBytes < length) break;
      const opcode = bytes[at]! & 15;
      if (opcode === OPCODES.close) this.isClosed = true;
      if (opcode === OPCODES.ping) this.pings++;
      if (opcode === OPCODES.binary) {
        this.#hear(bytes.subarray(at + headBytes, at + headBytes + length));
      }
      at += headBytes + length;
    }
    this.#left = bytes.slice(at);
  }
}
