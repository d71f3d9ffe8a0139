import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generate, parser } from "mqtt-packet";
import type { IConnectPacket, IPublishPacket, ISubscribePacket, Packet as AnyPacket } from "mqtt-packet";
import {
  encodeConnect,
  encodeDisconnect,
  encodePublish,
  encodeSubscribe,
  PacketError,
  PacketStream,
  PINGREQ,
  writePuback,
} from "../sdk/packet.ts";
import type { Packet } from "../sdk/packet.ts";

/** Reads bytes with the parser the server uses: the two codecs were written apart. */
function read(bytes: Uint8Array): AnyPacket {
  const packets: AnyPacket[] = [];
  const reader = parser({ protocolVersion: 5 });
  reader.on("packet", (packet) => packets.push(packet));
  reader.parse(bytes as Parameters<typeof reader.parse>[0]);
  assert.equal(packets.length, 1);
  return packets[0]!;
}

function write(packet: unknown): Uint8Array {
  return Uint8Array.from(generate(packet as AnyPacket, { protocolVersion: 5 }));
}

function receive(...chunks: Uint8Array[]): Packet[] {
  const stream = new PacketStream();
  const packets: Packet[] = [];
  for (const chunk of chunks) {
    stream.push(chunk);
    for (let packet = stream.next(); packet !== null; packet = stream.next()) {
      packets.push(packet.type === "publish" ? { ...packet, payload: packet.payload.slice() } : packet);
    }
  }
  return packets;
}

const publish = {
  cmd: "publish",
  topic: "me/inbox",
  payload: '{"a":"ä"}',
  qos: 1,
  messageId: 7,
  dup: false,
  retain: false,
};

Deno.test("CONNECT carries user, token, client and keep-alive, and starts clean", () => {
  const bytes = encodeConnect({
    clientId: "c-1",
    username: "bob",
    password: "id.secret",
    keepAliveSeconds: 30,
    receiveMaximum: 1024,
  });
  const packet = read(bytes) as IConnectPacket;
  assert.equal(packet.protocolVersion, 5);
  assert.equal(packet.clean, true);
  assert.equal(packet.clientId, "c-1");
  assert.equal(packet.username, "bob");
  assert.equal(String(packet.password), "id.secret");
  assert.equal(packet.keepalive, 30);
  assert.equal(packet.properties?.receiveMaximum, 1024);
});

Deno.test("CONNECT leaves the password out where a cookie authenticates [MQTT-3.1.2-18]", () => {
  const packet = read(
    encodeConnect({ clientId: "c", username: "u", password: null, keepAliveSeconds: 0, receiveMaximum: 1 }),
  ) as IConnectPacket;
  assert.equal(packet.password, undefined);
});

Deno.test("SUBSCRIBE, PUBLISH, PUBACK, PINGREQ and DISCONNECT are what another parser reads", () => {
  const subscribe = read(encodeSubscribe(9, "me/#", 1)) as ISubscribePacket;
  assert.deepEqual(subscribe.subscriptions.map(({ topic, qos }) => ({ topic, qos })), [{
    topic: "me/#",
    qos: 1,
  }]);
  for (const payload of ["", "héllo", "x".repeat(200), "y".repeat(20_000), "z".repeat(3_000_000)]) {
    const one = read(encodePublish("im/message.send", payload, 1, 65_535)) as IPublishPacket;
    assert.equal(one.topic, "im/message.send");
    assert.equal(one.messageId, 65_535);
    assert.equal(String(one.payload), payload);
    assert.equal((read(encodePublish("im/sync", payload, 0, 0)) as IPublishPacket).qos, 0);
  }
  const puback = new Uint8Array(8);
  assert.equal(writePuback(puback, 4, 513), 8);
  assert.equal(read(puback.subarray(4)).messageId, 513);
  assert.equal(read(PINGREQ).cmd, "pingreq");
  assert.equal(read(encodeDisconnect(0)).cmd, "disconnect");
  assert.equal((read(encodeDisconnect(4)) as { reasonCode?: number }).reasonCode, 4);
});

Deno.test("a packet may span frames and a frame hold many packets [MQTT-6.0.0-2]", () => {
  const bytes = new Uint8Array([
    ...write(publish),
    ...write({ cmd: "pingresp" }),
    ...write({ ...publish, payload: "p".repeat(300), qos: 0, messageId: undefined }),
    ...write({ cmd: "puback", messageId: 3, reasonCode: 0x87 }),
  ]);
  const whole = receive(bytes);
  assert.deepEqual(whole.map(({ type }) => type), ["publish", "pingresp", "publish", "puback"]);
  for (let size = 1; size < bytes.length; size++) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
    assert.deepEqual(receive(...chunks), whole);
  }
});

Deno.test("PUBLISH is read with its properties skipped, at every QoS", () => {
  const properties = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 5,
    contentType: "application/json",
    correlationData: Buffer.from([1, 2, 3]),
    userProperties: { code: "0", x: "y" },
  };
  for (const qos of [0, 1]) {
    const [packet] = receive(write({ ...publish, qos, properties, topic: "me/reply" }));
    assert.equal(packet?.type, "publish");
    assert.equal(packet.topic, "me/reply");
    assert.equal(packet.qos, qos);
    assert.equal(new TextDecoder().decode(packet.payload), publish.payload);
  }
});

Deno.test("CONNACK and DISCONNECT are read with what matters of their properties", () => {
  const [connack] = receive(write({
    cmd: "connack",
    sessionPresent: false,
    reasonCode: 0,
    properties: {
      serverKeepAlive: 20,
      receiveMaximum: 100,
      maximumPacketSize: 1_048_576,
      assignedClientIdentifier: "x",
      userProperties: { a: "b" },
      reasonString: "fine",
      wildcardSubscriptionAvailable: false,
    },
  }));
  assert.deepEqual(connack, {
    type: "connack",
    reasonCode: 0,
    reasonString: "fine",
    serverKeepAliveSeconds: 20,
    receiveMaximum: 100,
    maximumPacketBytes: 1_048_576,
  });
  const [refused] = receive(write({ cmd: "connack", sessionPresent: false, reasonCode: 0x86 }));
  assert.equal(refused?.type === "connack" && refused.reasonCode, 0x86);
  assert.deepEqual(receive(new Uint8Array([0xe0, 0]), new Uint8Array([0xe0, 1, 0x8b])), [
    { type: "disconnect", reasonCode: 0, reasonString: "" },
    { type: "disconnect", reasonCode: 0x8b, reasonString: "" },
  ]);
});

Deno.test("an unknown property ends the reading of properties, not of the packet", () => {
  const bytes = new Uint8Array([0x20, 8, 0, 0, 5, 0x13, 0, 20, 0x7e, 1, 0xd0, 0]);
  assert.deepEqual(receive(bytes).map(({ type }) => type), ["connack", "pingresp"]);
});

Deno.test("SUBACK gives every reason code", () => {
  const [suback] = receive(write({ cmd: "suback", messageId: 4, granted: [1, 0x87] }));
  assert.deepEqual(suback, { type: "suback", packetId: 4, reasonCodes: [1, 0x87] });
});

Deno.test("malformed bytes are refused and never read past their end", () => {
  const malformed = [
    [0x30, 0xff, 0xff, 0xff, 0xff, 1], // Remaining Length of five bytes
    [0x10, 0], // a server does not send CONNECT
    [0x32, 3, 0, 9, 1], // topic longer than the packet
    [0x30, 4, 0, 1, 0x61, 9], // properties longer than the packet
    [0x40, 1, 0], // PUBACK without an id
    [0x20, 5, 0, 0, 2, 0x13, 1], // property longer than its section
    [0x90, 3, 0, 1, 0], // SUBACK without a reason code
    [0x30, 4, 0, 1, 0xff, 0], // topic that is no UTF-8
  ];
  for (const bytes of malformed) assert.throws(() => receive(new Uint8Array(bytes)), PacketError, `${bytes}`);
});
