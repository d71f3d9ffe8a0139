import assert from "node:assert/strict";
import { Framing } from "../broker/framing.ts";
import { REASONS } from "../broker/protocol_error.ts";
import { acknowledgement, join, packet, publish, reasonOf, variable } from "./mqtt_bytes.ts";

const MAX_PACKET_BYTES = 4_096;

const stream = [
  publish("im/sync"),
  packet(0xc0),
  publish("im/message.send", { qos: 1, packetId: 7, payload: "p".repeat(300) }),
  acknowledgement(0x40, 9),
  publish("im/message.send", { qos: 2, packetId: 8, payload: "q".repeat(3_000) }),
];

/** Feeds chunks through one buffer that is overwritten each time, as a socket's is. */
function cut(framing: Framing, ...chunks: readonly Uint8Array[]): Uint8Array[] {
  const packets: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (const chunk of chunks) {
    buffer.set(chunk);
    framing.push(buffer.subarray(0, chunk.length));
    while (framing.next()) {
      const { packetStart, bodyStart, packetEnd } = framing;
      assert.ok(packetStart < bodyStart && bodyStart <= packetEnd);
      packets.push(framing.bytes.slice(packetStart, packetEnd));
    }
    buffer.fill(0xee);
  }
  return packets;
}

Deno.test("Framing cuts the same packets wherever the chunks are cut [MQTT-6.0.0-2] 3.1.1 [MQTT-6.0.0-2]", () => {
  const bytes = join(...stream);
  for (let size = 1; size < 700; size++) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
    const framing = new Framing(MAX_PACKET_BYTES);
    assert.deepEqual(cut(framing, ...chunks), stream, `chunks of ${size} bytes`);
    assert.equal(framing.pendingBytes, 0);
  }
});

Deno.test("Framing hands out many packets of one chunk and keeps the beginning of the next", () => {
  const framing = new Framing(MAX_PACKET_BYTES);
  const whole = join(...stream, ...stream);
  assert.equal(cut(framing, whole.slice(0, -1)).length, 9);
  assert.equal(framing.pendingBytes, stream[4]!.length - 1);
  assert.deepEqual(cut(framing, whole.slice(-1)), [stream[4]]);
});

Deno.test("Framing holds no buffer while nothing is pending", () => {
  const framing = new Framing(MAX_PACKET_BYTES);
  cut(framing, join(...stream));
  assert.equal(framing.bytes.length, 0);
});

Deno.test("Framing keeps no more than a packet may have, however slowly it comes", () => {
  const framing = new Framing(MAX_PACKET_BYTES);
  const bytes = packet(0x30, new Uint8Array(MAX_PACKET_BYTES - 3));
  assert.equal(bytes.length, MAX_PACKET_BYTES);
  let most = 0;
  for (const byte of bytes) {
    cut(framing, Uint8Array.of(byte));
    most = Math.max(most, framing.bytes.length);
  }
  assert.equal(most, MAX_PACKET_BYTES);
});

const lengths: readonly [value: number, bytes: readonly number[]][] = [
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 0x01]],
  [16_383, [0xff, 0x7f]],
  [16_384, [0x80, 0x80, 0x01]],
  [2_097_151, [0xff, 0xff, 0x7f]],
  [2_097_152, [0x80, 0x80, 0x80, 0x01]],
];

Deno.test("Framing reads the remaining length at every border of its encoding", () => {
  for (const [value, bytes] of lengths) {
    const framing = new Framing(268_435_460);
    framing.push(join(0x30, bytes, new Uint8Array(value)));
    assert.equal(framing.next(), true, `a remaining length of ${value}`);
    assert.equal(framing.packetEnd - framing.bodyStart, value);
    assert.equal(framing.next(), false);
  }
});

const wrongLengths: readonly [name: string, bytes: readonly number[]][] = [
  ["0 in two bytes", [0x80, 0x00]],
  ["127 in two bytes", [0xff, 0x00]],
  ["128 in three bytes", [0x80, 0x81, 0x00]],
  ["1 in four bytes", [0x81, 0x80, 0x80, 0x00]],
  ["five bytes", [0x80, 0x80, 0x80, 0x80, 0x01]],
  ["five bytes of ones", [0xff, 0xff, 0xff, 0xff, 0xff]],
];

for (const [name, bytes] of wrongLengths) {
  Deno.test(`Framing refuses a remaining length of ${name} as malformed [MQTT-1.5.5-1]`, () => {
    const framing = new Framing(268_435_460);
    framing.push(join(0x30, bytes, new Uint8Array(200)));
    assert.equal(reasonOf(() => framing.next()), REASONS.malformedPacket);
  });
}

Deno.test("Framing refuses a packet over the limit from its fixed header alone", () => {
  for (const remaining of [MAX_PACKET_BYTES - 2, 65_536, 268_435_455]) {
    const framing = new Framing(MAX_PACKET_BYTES);
    const header = join(0x30, variable(remaining));
    // Not a byte of the content has come, and one byte of the header is still missing.
    framing.push(header.slice(0, -1));
    assert.equal(framing.next(), false);
    framing.push(header.slice(-1));
    assert.equal(reasonOf(() => framing.next()), REASONS.packetTooLarge);
  }
});

Deno.test("Framing takes a packet of exactly the limit", () => {
  const framing = new Framing(MAX_PACKET_BYTES);
  assert.equal(cut(framing, packet(0x30, new Uint8Array(MAX_PACKET_BYTES - 3))).length, 1);
});
