/** What the benchmark's load of plain MQTT counts packets with, and what it sends. */
import assert from "node:assert/strict";
import { MqttReader } from "../scripts/bench/mqtt_reader.ts";
import { PublishRing } from "../scripts/bench/publish_ring.ts";
import { acknowledgement, join, packet, publish, readPackets } from "./mqtt_bytes.ts";

const PACKETS: readonly Uint8Array[] = [
  packet(0xd0),
  publish("bench/a", { level: 4, payload: "x" }),
  publish("bench/a", { level: 4, qos: 1, packetId: 258, payload: "x".repeat(100) }),
  acknowledgement(0x40, 65_535),
  publish("bench/a", { level: 4, qos: 2, packetId: 7, payload: "x".repeat(200) }),
  publish("bench/a", { level: 4, payload: "x".repeat(20_000) }),
  packet(0xd0),
];

/** Of each packet its first byte and the beginning of its content. */
function read(chunks: readonly Uint8Array[]): string[] {
  const seen: string[] = [];
  const reader = new MqttReader({
    packet: (bytes, at, bodyAt, end) =>
      seen.push(`${bytes[at]} ${bytes.slice(bodyAt, Math.min(end, bodyAt + 20)).toHex()}`),
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

Deno.test("The load's reader finds the same packets wherever the stream is cut", () => {
  const stream = join(...PACKETS);
  const expected = PACKETS.map((bytes) => {
    const headBytes = bytes.findIndex((byte, i) => i > 0 && byte < 0x80) + 1;
    return `${bytes[0]} ${bytes.slice(headBytes, headBytes + 20).toHex()}`;
  });
  assert.deepEqual(read([stream]), expected);
  for (let cut = 1; cut < stream.length; cut++) {
    assert.deepEqual(read([stream.subarray(0, cut), stream.subarray(cut)]), expected, `cut at ${cut}`);
  }
  assert.deepEqual(read(Array.from(stream, (byte) => Uint8Array.of(byte))), expected);
});

Deno.test("A ring sends its packets in order and begins again behind the last", () => {
  const size = 5;
  const ring = new PublishRing({ topic: "bench/a", qos: 1, size, bodyBytes: 100, isFramed: false });
  const pieces: Uint8Array[] = [];
  ring.send(3, 7, (frames) => pieces.push(frames.slice()));
  const sent = readPackets(join(...pieces), 4).map((sent) => {
    assert.ok(sent.type === "publish");
    return [sent.packetId, Number(`0x${sent.payload.subarray(0, 2).toHex()}`), sent.payload.length];
  });
  const numbers = [3, 4, 0, 1, 2, 3, 4];
  assert.deepEqual(sent, numbers.map((number) => [number + 1, number, 100]));
});

Deno.test("A ring's frames are masked, and hold one packet each", () => {
  const options = { topic: "bench/a", qos: 0, size: 3, bodyBytes: 200 };
  const bytes = (isFramed: boolean) => {
    const pieces: Uint8Array[] = [];
    new PublishRing({ ...options, isFramed }).send(0, 3, (frames) => pieces.push(frames.slice()));
    return join(...pieces);
  };
  const plain = bytes(false), framed = bytes(true);
  const each = plain.length / options.size;
  const headBytes = 8;
  for (let i = 0; i < options.size; i++) {
    const frame = framed.subarray(i * (each + headBytes), (i + 1) * (each + headBytes));
    assert.deepEqual([...frame.subarray(0, 4)], [0x82, 0xfe, each >> 8, each & 0xff]);
    const key = frame.subarray(4, headBytes);
    const content = frame.subarray(headBytes).map((byte, at) => byte ^ key[at % 4]!);
    assert.deepEqual(content, plain.subarray(i * each, (i + 1) * each));
  }
});
