/**
 * The client half of MQTT 5.0, as far as Hearth's protocol needs it: bytes in, packets out, and back.
 *
 * There is no clock and no socket here. A packet may span WebSocket frames and a frame may hold many packets
 * [MQTT-6.0.0-2], so bytes go through a {@link PacketStream}.
 *
 * Source: MQTT Version 5.0, sections 2 and 3.
 *
 * @module
 */

/** What a client says first. */
export interface ConnectPacket {
  /** The installation the login was given to. */
  readonly clientId: string;
  /** The user id. */
  readonly username: string;
  /** The IM token; `null` where a session cookie authenticates the socket. */
  readonly password: string | null;
  /** 0–65,535; 0 turns keep-alive off. */
  readonly keepAliveSeconds: number;
  /** How many unacknowledged QoS 1 packets the server may have out, 1–65,535. */
  readonly receiveMaximum: number;
}

/** A packet from the server. */
export type Packet =
  | {
    readonly type: "connack";
    /** 0 accepted, otherwise the reason code (3.2.2.2). */
    readonly reasonCode: number;
    readonly reasonString: string;
    /** The server's choice, `null` when it keeps ours. */
    readonly serverKeepAliveSeconds: number | null;
    /** 65,535 unless the server says less. */
    readonly receiveMaximum: number;
    /** Bytes; `null` when the server names no limit. */
    readonly maximumPacketBytes: number | null;
  }
  | {
    readonly type: "publish";
    readonly topic: string;
    /** A view into the received bytes: decode it before the next `push`. */
    readonly payload: Uint8Array;
    readonly qos: number;
    /** 0 at QoS 0. */
    readonly packetId: number;
  }
  | { readonly type: "puback"; readonly packetId: number; readonly reasonCode: number }
  | { readonly type: "suback"; readonly packetId: number; readonly reasonCodes: readonly number[] }
  | { readonly type: "pingresp" }
  | { readonly type: "disconnect"; readonly reasonCode: number; readonly reasonString: string };

/** The server sent bytes that are no MQTT 5.0: the connection must be closed. */
export class PacketError extends Error {
  /** Always `PacketError`. */
  override readonly name = "PacketError";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const topicBytes = new Map<string, Uint8Array>();

/** PINGREQ. */
export const PINGREQ: Uint8Array<ArrayBuffer> = new Uint8Array([0xc0, 0]);
/** The largest payload length that fits the four bytes of a Remaining Length. */
const MAX_REMAINING = 268_435_455;

/** Encodes CONNECT with Clean Start: nothing of a Hearth client lives in an MQTT session, the timeline is the queue. */
export function encodeConnect(packet: ConnectPacket): Uint8Array<ArrayBuffer> {
  const clientId = encoder.encode(packet.clientId);
  const username = encoder.encode(packet.username);
  const password = packet.password === null ? null : encoder.encode(packet.password);
  const remaining = 10 + 4 + 2 + clientId.length + 2 + username.length +
    (password === null ? 0 : 2 + password.length);
  const out = new Uint8Array(1 + lengthOfVariable(remaining) + remaining);
  out[0] = 0x10;
  let at = writeVariable(out, 1, remaining);
  out.set([0, 4, 0x4d, 0x51, 0x54, 0x54, 5], at);
  at += 7;
  out[at++] = 0x82 | (password === null ? 0 : 0x40);
  at = write16(out, at, packet.keepAliveSeconds);
  out[at++] = 3; // properties: Receive Maximum
  out[at++] = 0x21;
  at = write16(out, at, packet.receiveMaximum);
  at = writeBinary(out, at, clientId);
  at = writeBinary(out, at, username);
  if (password !== null) writeBinary(out, at, password);
  return out;
}

/** Encodes SUBSCRIBE to one filter with a QoS of 0–2. */
export function encodeSubscribe(packetId: number, topicFilter: string, qos: number): Uint8Array<ArrayBuffer> {
  const filter = encoder.encode(topicFilter);
  const remaining = 2 + 1 + 2 + filter.length + 1;
  const out = new Uint8Array(1 + lengthOfVariable(remaining) + remaining);
  out[0] = 0x82;
  let at = writeVariable(out, 1, remaining);
  at = write16(out, at, packetId);
  out[at++] = 0;
  at = writeBinary(out, at, filter);
  out[at] = qos;
  return out;
}

/** Encodes PUBLISH; `packetId` (1–65,535) is written at QoS 1 alone, and `payload` text is UTF-8. */
export function encodePublish(
  topic: string,
  payload: string | Uint8Array,
  qos: 0 | 1,
  packetId: number,
): Uint8Array<ArrayBuffer> {
  let name = topicBytes.get(topic);
  if (name === undefined) {
    name = encoder.encode(topic);
    if (topicBytes.size < 256) topicBytes.set(topic, name);
  }
  const body = typeof payload === "string" ? encoder.encode(payload) : payload;
  const remaining = 2 + name.length + (qos === 0 ? 0 : 2) + 1 + body.length;
  if (remaining > MAX_REMAINING) {
    throw new RangeError(`a payload of ${body.length} bytes does not fit a packet`);
  }
  const out = new Uint8Array(1 + lengthOfVariable(remaining) + remaining);
  out[0] = 0x30 | qos << 1;
  let at = writeVariable(out, 1, remaining);
  at = writeBinary(out, at, name);
  if (qos === 1) at = write16(out, at, packetId);
  out[at++] = 0;
  out.set(body, at);
  return out;
}

/** Writes a PUBACK with reason 0 into `out` at `at` and returns the place after it (four bytes further). */
export function writePuback(out: Uint8Array, at: number, packetId: number): number {
  out[at] = 0x40;
  out[at + 1] = 2;
  return write16(out, at + 2, packetId);
}

/** Encodes DISCONNECT with a reason code (0 normal). */
export function encodeDisconnect(reasonCode: number): Uint8Array<ArrayBuffer> {
  return reasonCode === 0 ? new Uint8Array([0xe0, 0]) : new Uint8Array([0xe0, 1, reasonCode]);
}

/** Cuts a stream of bytes into packets. */
export class PacketStream {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  // Nearly every packet of a client has the topic of the one before it.
  #lastTopicBytes: Uint8Array = new Uint8Array(0);
  #lastTopic = "";

  /** Takes received bytes; read everything out with {@link next} before the next call. */
  push(chunk: Uint8Array): void {
    const left = this.#bytes.length - this.#at;
    if (left === 0) {
      this.#bytes = chunk;
    } else {
      const joined = new Uint8Array(left + chunk.length);
      joined.set(this.#bytes.subarray(this.#at), 0);
      joined.set(chunk, left);
      this.#bytes = joined;
    }
    this.#at = 0;
  }

  /** The next whole packet, or `null` until more bytes come. Throws {@link PacketError} on anything malformed. */
  next(): Packet | null {
    const bytes = this.#bytes;
    const start = this.#at;
    if (bytes.length - start < 2) return null;
    let remaining = 0;
    let shift = 0;
    let at = start + 1;
    for (;;) {
      if (at >= bytes.length) return null;
      const byte = bytes[at++]!;
      remaining |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
      shift += 7;
      if (shift > 21) throw new PacketError("malformed Remaining Length");
    }
    const end = at + remaining;
    if (end > bytes.length) return null;
    this.#at = end;
    const first = bytes[start]!;
    switch (first >> 4) {
      case 3:
        return this.#publish(bytes, first, at, end);
      case 4:
        require(end - at >= 2, "PUBACK");
        return { type: "puback", packetId: read16(bytes, at), reasonCode: end - at > 2 ? bytes[at + 2]! : 0 };
      case 2:
        return connack(bytes, at, end);
      case 9:
        return suback(bytes, at, end);
      case 13:
        return { type: "pingresp" };
      case 14:
        return disconnect(bytes, at, end);
      default:
        throw new PacketError(`a server does not send packet type ${first >> 4}`);
    }
  }

  #publish(bytes: Uint8Array, first: number, at: number, end: number): Packet {
    const qos = first >> 1 & 3;
    require(end - at >= 2, "PUBLISH");
    const topicEnd = at + 2 + read16(bytes, at);
    let place = topicEnd + (qos === 0 ? 0 : 2);
    require(place < end, "PUBLISH");
    const packetId = qos === 0 ? 0 : read16(bytes, topicEnd);
    const properties = readVariable(bytes, place, end);
    place += lengthOfVariable(properties) + properties;
    require(place <= end, "PUBLISH");
    return {
      type: "publish",
      topic: this.#topic(bytes, at + 2, topicEnd),
      payload: bytes.subarray(place, end),
      qos,
      packetId,
    };
  }

  #topic(bytes: Uint8Array, from: number, to: number): string {
    const last = this.#lastTopicBytes;
    if (last.length === to - from) {
      let i = 0;
      while (i < last.length && last[i] === bytes[from + i]) i++;
      if (i === last.length) return this.#lastTopic;
    }
    this.#lastTopicBytes = bytes.slice(from, to);
    return this.#lastTopic = text(this.#lastTopicBytes, 0, to - from);
  }
}

function connack(bytes: Uint8Array, at: number, end: number): Packet {
  require(end - at >= 2, "CONNACK");
  const properties = end - at > 2 ? readProperties(bytes, at + 2, end) : NO_PROPERTIES;
  return {
    type: "connack",
    reasonCode: bytes[at + 1]!,
    reasonString: properties.reasonString,
    serverKeepAliveSeconds: properties.serverKeepAliveSeconds,
    receiveMaximum: properties.receiveMaximum ?? 65_535,
    maximumPacketBytes: properties.maximumPacketBytes,
  };
}

function suback(bytes: Uint8Array, at: number, end: number): Packet {
  require(end - at >= 4, "SUBACK");
  const properties = readVariable(bytes, at + 2, end);
  const codes = at + 2 + lengthOfVariable(properties) + properties;
  require(codes < end, "SUBACK");
  return { type: "suback", packetId: read16(bytes, at), reasonCodes: [...bytes.subarray(codes, end)] };
}

function disconnect(bytes: Uint8Array, at: number, end: number): Packet {
  const properties = end - at > 1 ? readProperties(bytes, at + 1, end) : NO_PROPERTIES;
  return { type: "disconnect", reasonCode: end > at ? bytes[at]! : 0, reasonString: properties.reasonString };
}

interface Properties {
  reasonString: string;
  serverKeepAliveSeconds: number | null;
  receiveMaximum: number | null;
  maximumPacketBytes: number | null;
}

const NO_PROPERTIES: Readonly<Properties> = {
  reasonString: "",
  serverKeepAliveSeconds: null,
  receiveMaximum: null,
  maximumPacketBytes: null,
};

/** How long each property's value is (2.2.2.2): a number of bytes, or one of the three that carry a length. */
const PROPERTY_LENGTHS: Readonly<Record<number, number | "variable" | "binary" | "pair">> = {
  0x01: 1,
  0x17: 1,
  0x19: 1,
  0x24: 1,
  0x25: 1,
  0x28: 1,
  0x29: 1,
  0x2a: 1,
  0x13: 2,
  0x21: 2,
  0x22: 2,
  0x23: 2,
  0x02: 4,
  0x11: 4,
  0x18: 4,
  0x27: 4,
  0x0b: "variable",
  0x03: "binary",
  0x08: "binary",
  0x09: "binary",
  0x12: "binary",
  0x15: "binary",
  0x16: "binary",
  0x1a: "binary",
  0x1c: "binary",
  0x1f: "binary",
  0x26: "pair",
};

function readProperties(bytes: Uint8Array, from: number, limit: number): Properties {
  const properties = { ...NO_PROPERTIES };
  const length = readVariable(bytes, from, limit);
  let at = from + lengthOfVariable(length);
  const end = at + length;
  require(end <= limit, "property");
  while (at < end) {
    const id = bytes[at++]!;
    const kind = PROPERTY_LENGTHS[id];
    // What a property of an unknown kind is followed by cannot be known; the Property Length skips the rest.
    if (kind === undefined) return properties;
    if (kind === "variable") {
      at += lengthOfVariable(readVariable(bytes, at, end));
    } else if (kind === "binary" || kind === "pair") {
      require(at + 2 <= end, "property");
      const valueEnd = at + 2 + read16(bytes, at);
      require(valueEnd <= end, "property");
      if (id === 0x1f) properties.reasonString = text(bytes, at + 2, valueEnd);
      at = valueEnd;
      if (kind === "pair") {
        require(at + 2 <= end, "property");
        at += 2 + read16(bytes, at);
      }
    } else {
      require(at + kind <= end, "property");
      if (id === 0x13) properties.serverKeepAliveSeconds = read16(bytes, at);
      else if (id === 0x21) properties.receiveMaximum = read16(bytes, at);
      else if (id === 0x27) {
        properties.maximumPacketBytes = read16(bytes, at) * 65_536 + read16(bytes, at + 2);
      }
      at += kind;
    }
    require(at <= end, "property");
  }
  return properties;
}

function require(condition: boolean, name: string): asserts condition {
  if (!condition) throw new PacketError(`malformed ${name}`);
}

function text(bytes: Uint8Array, from: number, to: number): string {
  try {
    return decoder.decode(bytes.subarray(from, to));
  } catch (cause) {
    throw new PacketError("text is not UTF-8", { cause }); // [MQTT-1.5.4-1]
  }
}

function read16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

function readVariable(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let shift = 0; shift <= 21; shift += 7) {
    require(at < end, "length");
    const byte = bytes[at++]!;
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) return value;
  }
  throw new PacketError("malformed length");
}

function lengthOfVariable(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

function writeVariable(out: Uint8Array, at: number, value: number): number {
  while (value > 127) {
    out[at++] = value & 0x7f | 0x80;
    value >>= 7;
  }
  out[at++] = value;
  return at;
}

function write16(out: Uint8Array, at: number, value: number): number {
  out[at] = value >> 8;
  out[at + 1] = value & 0xff;
  return at + 2;
}

function writeBinary(out: Uint8Array, at: number, bytes: Uint8Array): number {
  at = write16(out, at, bytes.length);
  out.set(bytes, at);
  return at + bytes.length;
}
