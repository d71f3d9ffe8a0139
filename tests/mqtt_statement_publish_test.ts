/** Statements about PUBLISH and its acknowledgements, packet by packet. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { PINGREQ, text } from "./conformance_client.ts";
import { acknowledgement, counted, join, packet, properties, uint32 } from "./mqtt_bytes.ts";
import { DOORS, RawClient } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

const cases = new Conformance();

cases.both(
  "At QoS 0 the payload follows the topic: there is no packet identifier, neither way [MQTT-2.2.1-2] 3.1.1 [MQTT-2.3.1-5]",
  async (stage) => {
    const topic = stage.topic("a");
    const { level } = stage;
    const watch = await stage.subscriber(topic, 0);
    // An identifier, were one read or written, would take two of these bytes, or bring two more.
    const payload = join(level === 5 ? [] : [0, 7], 0, 9, counted("x"));
    await watch.raw.send(packet(0x30, counted(topic), level === 5 ? properties() : [], payload));
    const message = await watch.message();
    assert.deepEqual([message.qos, message.messageId], [0, undefined]);
    assert.deepEqual([...message.payload as Uint8Array], [...payload]);
    assert.equal(message.length, 2 + topic.length + (level === 5 ? 1 : 0) + payload.length);
  },
);

cases.both(
  "Acknowledgements carry the identifier of their PUBLISH, many at a time [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] 3.1.1 [MQTT-2.3.1-6] 3.1.1 [MQTT-3.3.4-1] 3.1.1 [MQTT-4.3.2-2] 3.1.1 [MQTT-4.3.3-2]",
  async (stage) => {
    const client = await stage.connect();
    const topic = stage.topic("a");
    const ids = [65_535, 1, 256, 255, 2];
    await client.raw.send(
      ...ids.map((packetId, i) => client.publishBytes(topic, "x", { qos: 1 + i % 2, packetId })),
      client.publishBytes(topic, "x"),
    );
    const heard: [string, number | undefined][] = [];
    for (let i = 0; i < ids.length; i++) {
      const { cmd, messageId } = await client.raw.next();
      heard.push([cmd, messageId]);
    }
    assert.deepEqual(heard, ids.map((packetId, i) => [i % 2 === 0 ? "puback" : "pubrec", packetId]));
    await client.expectSilence();
    for (const packetId of [256 - 1, 1]) assert.equal(await client.release(packetId), 0);
  },
);

cases.both(
  "A message on a closed topic is acknowledged and reaches nobody; 5.0 is told why [MQTT-3.4.2-1] [MQTT-3.5.2-1] 3.1.1 [MQTT-3.3.5-2] 3.1.1 [MQTT-3.3.4-1]",
  async (stage) => {
    // Filters whose wildcards reach the closed places, and nothing that other cases publish.
    const watch = await stage.subscriber("+/message.send", 2);
    await watch.subscribe([["+/inbox", 2], [stage.topic("end"), 2]]);
    const client = await stage.connect();
    for (const topic of ["im/message.send", "me/inbox", "$SYS/a", "$share/g/a", "im"]) {
      for (const qos of [0, 1, 2]) {
        const reason = await client.publish(topic, "closed", { qos });
        assert.equal(reason, stage.level === 5 && qos > 0 ? 0x87 : 0, topic);
      }
    }
    await client.publish(stage.topic("end"), "end", { qos: 2 });
    assert.deepEqual((await watch.messagesBefore("end")).map(({ topic }) => topic), []);
  },
);

cases.v5(
  "Each acknowledgement has a reason code of its own kind [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]",
  async (stage) => {
    const client = await stage.connect();
    const topic = stage.topic("a");
    const rows = [[topic, 0x10], ["im/x", 0x87], ["a".repeat(2_000), 0x90], ["/".repeat(100), 0x90]] as const;
    for (const qos of [1, 2]) {
      for (const [name, reason] of rows) assert.equal(await client.publish(name, "x", { qos }), reason, name);
    }
    const watch = await stage.subscriber(topic, 2);
    for (const qos of [1, 2]) assert.equal(await client.publish(topic, "x", { qos }), 0);
    await watch.messages(2);
    await watch.expectSilence();
    assert.equal(await client.release(999), 0x92, "PUBCOMP");
    await client.raw.send(acknowledgement(0x50, 998));
    const pubrel = await client.take("pubrel");
    assert.deepEqual([pubrel.messageId, pubrel.reasonCode], [998, 0x92]);
  },
);

cases.both(
  "Every topic is an ordered one, many at a time too [MQTT-4.6.0-5] [MQTT-4.6.0-6] 3.1.1 [MQTT-4.6.0-5] 3.1.1 [MQTT-4.6.0-6]",
  async (stage) => {
    const watch = await stage.subscriber(stage.topic("+/#"), 2);
    const publisher = await stage.connect();
    const topics = ["a", "b/c", "d", "$d"].map((name) => stage.topic(name));
    const all = Array.from(
      { length: 200 },
      (_, i) => ({ topic: topics[i * 7 % 4]!, qos: i % 3, number: `${i}` }),
    );
    await publisher.raw.send(
      ...all.map(({ topic, qos, number }, i) =>
        publisher.publishBytes(topic, number, { qos, packetId: i + 1 })
      ),
    );
    const heard = await watch.messages(all.length);
    for (const topic of topics) {
      for (const qos of [0, 1, 2]) {
        assert.deepEqual(
          heard.filter((message) => message.topic === topic && message.qos === qos).map(text),
          all.filter((sent) => sent.topic === topic && sent.qos === qos).map(({ number }) => number),
        );
      }
    }
  },
);

cases.v5(
  "A QoS 2 message whose PUBLISH was sent expires no more, and its exchange goes on [MQTT-4.3.3-7] [MQTT-4.3.3-13]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: stage.name, clean: false, expirySeconds: 600 };
    const receiver = await stage.subscriber(topic, 2, hello);
    const publisher = await stage.connect();
    const brief = [join(0x02, uint32(1))];
    const packetId = 77;
    await publisher.raw.send(publisher.publishBytes(topic, "brief", { qos: 2, packetId, properties: brief }));
    assert.equal((await publisher.take("pubrec")).messageId, packetId);
    const { messageId } = await receiver.take("publish");
    await stage.pass(2);
    // As the sender: it is sent again though its time is over.
    await receiver.drop();
    const again = await stage.connect(hello);
    const repeated = await again.take("publish");
    assert.deepEqual([repeated.messageId, repeated.dup, text(repeated)], [messageId, true, "brief"]);
    await again.acknowledge(repeated);
    await again.expectSilence();
    // As the receiver.
    assert.equal(await publisher.release(packetId), 0);
  },
);

cases.test("PUBLISH and its acknowledgements keep to their statements");

for (const door of DOORS) {
  Deno.test(`What a refusal adds leaves a PUBACK and a PUBREC within the smallest packet size, over ${door} [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.1.2-29]`, async () => {
    await using server = await startServer();
    const small = (...more: readonly number[]) => ({
      connect: { properties: properties(0x27, uint32(64), more) },
    });
    for (const wantsCode of [true, false]) {
      await using alice = await RawClient.login(server, door, "alice", small(...wantsCode ? [] : [0x17, 0]));
      for (const qos of [1, 2]) {
        await alice.send(alice.requestBytes("no.such.command", "{}", { qos, packetId: 9 }));
        const answer = await alice.next();
        assert.ok(answer.cmd === (qos === 1 ? "puback" : "pubrec") && answer.messageId === 9);
        assert.ok(answer.reasonCode! >= 0x80 && 2 + answer.length! <= 64);
        assert.equal(answer.properties?.userProperties?.code !== undefined, wantsCode);
        // The reply is too large, and so is the shorter one that says so.
        await alice.send(PINGREQ);
        assert.equal((await alice.next()).cmd, "pingresp");
      }
    }
  });
}
