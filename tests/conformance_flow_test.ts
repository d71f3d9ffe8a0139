/** Receive maximum and maximum packet size, both ways. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { PINGREQ, text } from "./conformance_client.ts";
import { acknowledgement, join, packet, uint16, uint32, userProperty, variable } from "./mqtt_bytes.ts";

const cases = new Conformance();

/** A Receive Maximum. */
function receiveMaximum(count: number): Uint8Array {
  return join(0x21, uint16(count));
}

/** A Maximum Packet Size. */
function maximumPacketSize(bytes: number): Uint8Array {
  return join(0x27, uint32(bytes));
}

cases.v5(
  "No more QoS 1 messages are open than the client takes [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 1, { properties: [receiveMaximum(2)] });
    const publisher = await stage.connect();
    for (const payload of ["1", "2", "3", "4", "5"]) await publisher.publish(topic, payload, { qos: 1 });
    const open = [await client.take("publish"), await client.take("publish")];
    await client.expectSilence();
    // Each that is acknowledged makes room for one.
    for (const expected of ["3", "4", "5"]) {
      await client.acknowledge(open.shift()!);
      const next = await client.take("publish");
      assert.equal(text(next), expected);
      open.push(next);
      await client.expectSilence();
    }
    for (const message of open) await client.acknowledge(message);
    await client.expectSilence();
  },
);

cases.v5("A QoS 2 message is open until its PUBCOMP [MQTT-3.3.4-9] [MQTT-4.9.0-2]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic, 2, { properties: [receiveMaximum(1)] });
  const publisher = await stage.connect();
  for (const payload of ["1", "2", "3"]) await publisher.publish(topic, payload, { qos: 2 });
  const { messageId } = await client.take("publish");
  await client.expectSilence();
  await client.raw.send(acknowledgement(0x50, messageId!));
  await client.take("pubrel");
  await client.expectSilence();
  await client.raw.send(acknowledgement(0x70, messageId!));
  const second = await client.take("publish");
  assert.equal(text(second), "2");
  await client.expectSilence();
  // Refused, it is open no longer.
  await client.raw.send(packet(0x50, uint16(second.messageId!), 0x83));
  assert.equal(text(await client.message()), "3");
  await client.expectSilence();
});

cases.v5(
  "A full window holds up nothing but messages [MQTT-3.3.4-10] [MQTT-4.9.0-3]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 2, { properties: [receiveMaximum(1)] });
    await client.publish(topic, "open", { qos: 1 });
    const open = await client.take("publish");
    await client.publish(topic, "waits", { qos: 2 });
    assert.deepEqual(await client.subscribe([[stage.topic("b"), 0]]), [0]);
    assert.deepEqual(await client.unsubscribe(stage.topic("b")), [0]);
    assert.equal(await client.publish(stage.topic("c"), "to another", { qos: 2 }) & 0x80, 0);
    await client.expectSilence();
    await client.acknowledge(open);
    assert.equal(text(await client.message()), "waits");
  },
);

cases.v5(
  "The window holds on return, for what is sent again too [MQTT-3.3.4-9] [MQTT-4.4.0-1]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
    const client = await stage.subscriber(topic, 1, hello);
    for (const payload of ["1", "2", "3"]) await client.publish(topic, payload, { qos: 1 });
    for (let i = 0; i < 3; i++) await client.take("publish");
    await client.disconnect();
    const again = await stage.connect({ ...hello, properties: [receiveMaximum(1)] });
    for (const expected of ["1", "2", "3"]) {
      const message = await again.take("publish");
      assert.deepEqual([text(message), message.dup], [expected, true]);
      await again.expectSilence();
      await again.acknowledge(message);
    }
    await again.expectSilence();
  },
);

cases.v5("A Receive Maximum of 0 is a protocol error [MQTT-3.1.4-1]", async (stage) => {
  const raw = await stage.open();
  await raw.send(
    packet(0x10, [0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0], 3, receiveMaximum(0), [0, 1, 0x61]),
  );
  for (const heard of await raw.rest()) assert.ok(heard.cmd === "connack" && heard.reasonCode === 0x82);
});

cases.v5(
  "A client may have as many messages open as it was told, and not one more [MQTT-3.3.4-7]",
  async (stage) => {
    const client = await stage.connect();
    const most = client.connack.properties?.receiveMaximum ?? 65_535;
    const topic = stage.topic("a");
    const numbered = (packetId: number) => client.publishBytes(topic, "x", { qos: 2, packetId });
    const ids = Array.from({ length: most }, (_, i) => i + 1);
    await client.raw.send(...ids.map(numbered));
    for (const packetId of ids) assert.equal((await client.take("pubrec")).messageId, packetId);
    // One that is done makes room for one.
    await client.release(1);
    await client.raw.send(numbered(1));
    assert.equal((await client.take("pubrec")).messageId, 1);
    await client.raw.send(numbered(most + 1), PINGREQ);
    assert.equal(await client.closedWith(), 0x93);
  },
);

cases.v5(
  "A message that is too large for a client is as good as delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
    const bytes = 100;
    const client = await stage.connect({
      ...hello,
      properties: [maximumPacketSize(bytes), receiveMaximum(1)],
    });
    await client.subscribe([[topic, 2]]);
    const roomy = await stage.subscriber(topic, 2);
    const publisher = await stage.connect();
    for (const qos of [0, 1, 2]) {
      // First byte, remaining length, topic, packet identifier, property length.
      const room = bytes - 2 - 2 - topic.length - (qos === 0 ? 0 : 2) - 1;
      for (const size of [room, room + 1]) {
        await publisher.publish(topic, String(size % 10).repeat(size), { qos });
        assert.equal(text(await roomy.message()).length, size);
      }
      assert.equal(text(await client.message()).length, room);
      // Properties count like everything else.
      await publisher.publish(topic, "x".repeat(room), { qos, properties: [userProperty("", "")] });
      assert.equal(text(await roomy.message()).length, room);
    }
    // None of them is open, neither now nor later.
    await client.expectSilence();
    await client.disconnect();
    const again = await stage.connect(hello);
    assert.equal(again.connack.sessionPresent, true);
    await again.expectSilence();
  },
);

cases.v5(
  "What has waited is measured by the connection it is for [MQTT-3.1.2-24] [MQTT-3.1.2-25]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
    const away = await stage.subscriber(topic, 1, hello);
    await away.disconnect();
    const publisher = await stage.connect();
    for (const payload of ["small", "L".repeat(200), "also small"]) {
      await publisher.publish(topic, payload, { qos: 1 });
    }
    const again = await stage.connect({ ...hello, properties: [maximumPacketSize(100)] });
    assert.deepEqual((await again.messages(2)).map(text), ["small", "also small"]);
    await again.expectSilence();
  },
);

cases.v5(
  "A packet as large as the server allows is taken, a larger one is not [MQTT-3.2.2-15]",
  async (stage) => {
    const client = await stage.connect();
    const most = client.connack.properties?.maximumPacketSize ?? 268_435_455;
    const topic = stage.topic("a");
    // First byte, remaining length of three bytes, topic, packet identifier, property length.
    const room = most - 1 - 3 - 2 - topic.length - 2 - 1;
    await client.publish(topic, "x".repeat(room), { qos: 1 });
    await client.raw.send(join(0x32, variable(most - 3)));
    assert.equal(await client.closedWith(), 0x95);
  },
);

cases.test("Flow is controlled as the specification says");
