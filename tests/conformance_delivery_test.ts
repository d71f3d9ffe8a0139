/** The three qualities of service, both ways. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { text } from "./conformance_client.ts";
import { acknowledgement } from "./mqtt_bytes.ts";

const cases = new Conformance();
const QOS = [0, 1, 2] as const;

cases.both(
  "A client hears its own messages of every QoS [MQTT-3.3.4-1] [MQTT-4.3.1-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] 3.1.1 [MQTT-3.3.4-1] 3.1.1 [MQTT-4.3.1-1] 3.1.1 [MQTT-4.3.2-2] 3.1.1 [MQTT-4.3.3-2]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 2);
    for (const qos of QOS) {
      assert.equal(await client.publish(topic, `QoS ${qos}`, { qos }), 0);
      const message = await client.message();
      assert.deepEqual(
        [message.topic, text(message), message.qos, message.dup, message.retain],
        [topic, `QoS ${qos}`, qos, false, false],
      );
    }
    await client.expectSilence();
  },
);

cases.both(
  "A message comes at the lower of its own QoS and the one granted [MQTT-3.8.4-8] [MQTT-3.8.4-7] 3.1.1 [MQTT-3.8.4-6] 3.1.1 [MQTT-3.8.4-5]",
  async (stage) => {
    const publisher = await stage.connect();
    for (const granted of QOS) {
      const topic = stage.topic(`granted${granted}`);
      const subscriber = await stage.connect();
      assert.deepEqual(await subscriber.subscribe([[topic, granted]]), [granted]);
      for (const qos of QOS) {
        await publisher.publish(topic, `QoS ${qos}`, { qos });
        const message = await subscriber.message();
        assert.deepEqual([text(message), message.qos], [`QoS ${qos}`, Math.min(qos, granted)]);
      }
    }
  },
);

cases.both(
  "Until its PUBREL a QoS 2 message is acknowledged again and delivered once [MQTT-4.3.3-10] [MQTT-4.3.3-12] 3.1.1 [MQTT-4.3.3-2]",
  async (stage) => {
    const topic = stage.topic("a");
    const subscriber = await stage.subscriber(topic, 2);
    const publisher = await stage.connect();
    const first = publisher.publishBytes(topic, "once", { qos: 2, packetId: 7 });
    const again = publisher.publishBytes(topic, "once", { qos: 2, packetId: 7, isDup: true });
    await publisher.raw.send(first, again, again);
    for (let i = 0; i < 3; i++) assert.equal((await publisher.take("pubrec")).messageId, 7);
    assert.equal(await publisher.release(7), 0);
    // The identifier is free: what comes under it now is another message.
    assert.equal(await publisher.publish(topic, "twice", { qos: 2, packetId: 7, isDup: true }), 0);
    await publisher.publish(topic, "end", { qos: 2 });
    assert.deepEqual((await subscriber.messagesBefore("end")).map(text), ["once", "twice"]);
  },
);

cases.both(
  "After its PUBACK an identifier means a new message, whatever DUP says [MQTT-4.3.2-5] 3.1.1 [MQTT-4.3.2-2]",
  async (stage) => {
    const topic = stage.topic("a");
    const subscriber = await stage.subscriber(topic, 1);
    const publisher = await stage.connect();
    await publisher.publish(topic, "one", { qos: 1, packetId: 9 });
    await publisher.publish(topic, "two", { qos: 1, packetId: 9, isDup: true });
    await publisher.publish(topic, "end", { qos: 1 });
    assert.deepEqual((await subscriber.messagesBefore("end")).map(text), ["one", "two"]);
  },
);

cases.both(
  "DUP of the publisher is not passed on [MQTT-3.3.1-3] [MQTT-4.3.2-2] [MQTT-4.3.3-2] 3.1.1 [MQTT-3.3.1-3]",
  async (stage) => {
    const topic = stage.topic("a");
    const subscriber = await stage.subscriber(topic, 2);
    const publisher = await stage.connect();
    for (const qos of [1, 2]) {
      await publisher.publish(topic, "again", { qos, isDup: true });
      assert.equal((await subscriber.message()).dup, false);
    }
  },
);

cases.both(
  "A PUBREL nobody waits for is answered all the same [MQTT-4.3.3-11] 3.1.1 [MQTT-4.3.3-2]",
  async (stage) => {
    const client = await stage.connect();
    assert.ok([0, 0x92].includes(await client.release(999)));
    await client.expectSilence();
  },
);

cases.both(
  "The messages of a client arrive in their order [MQTT-4.6.0-5] [MQTT-4.6.0-6] 3.1.1 [MQTT-4.6.0-6]",
  async (stage) => {
    const topic = stage.topic("a");
    const publisher = await stage.connect();
    const numbers = Array.from({ length: 50 }, (_, i) => String(i));
    for (const qos of QOS) {
      const subscriber = await stage.subscriber(topic, qos);
      await publisher.raw.send(
        ...numbers.map((number, i) => publisher.publishBytes(topic, number, { qos, packetId: i + 1 })),
      );
      for (let i = 1; i <= 50 && qos > 0; i++) {
        assert.equal((await publisher.take(qos === 1 ? "puback" : "pubrec")).messageId, i);
      }
      if (qos === 2) await publisher.raw.send(...numbers.map((_, i) => acknowledgement(0x62, i + 1)));
      for (let i = 1; i <= 50 && qos === 2; i++) {
        assert.equal((await publisher.take("pubcomp")).messageId, i);
      }
      assert.deepEqual((await subscriber.messages(50)).map(text), numbers, `QoS ${qos}`);
      await subscriber.disconnect();
    }
  },
);

cases.both(
  "Messages that are open at a time have identifiers of their own [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] 3.1.1 [MQTT-2.3.1-4] 3.1.1 [MQTT-4.3.2-1]",
  async (stage) => {
    const topic = stage.topic("a");
    const subscriber = await stage.subscriber(topic, 2);
    const publisher = await stage.connect();
    const open = [];
    for (let i = 0; i < 20; i++) {
      await publisher.publish(topic, String(i), { qos: 1 + i % 2 });
      open.push(await subscriber.take("publish"));
    }
    const ids = open.map(({ messageId }) => messageId!);
    assert.equal(new Set(ids).size, 20);
    assert.ok(!ids.includes(0));
    for (const message of open) await subscriber.acknowledge(message);
    await subscriber.expectSilence();
  },
);

cases.both(
  "PUBREC gets a PUBREL each time until PUBCOMP has come [MQTT-4.3.3-4] [MQTT-2.2.1-5] 3.1.1 [MQTT-4.3.3-1] 3.1.1 [MQTT-2.3.1-6]",
  async (stage) => {
    const topic = stage.topic("a");
    const subscriber = await stage.subscriber(topic, 2);
    await subscriber.publish(topic, "hello", { qos: 2 });
    const { messageId } = await subscriber.take("publish");
    for (let i = 0; i < 2; i++) {
      await subscriber.raw.send(acknowledgement(0x50, messageId!));
      assert.equal((await subscriber.take("pubrel")).messageId, messageId);
    }
    await subscriber.raw.send(acknowledgement(0x70, messageId!));
    await subscriber.expectSilence();
  },
);

cases.both(
  "A message nobody subscribed to is acknowledged [MQTT-3.4.2-1] [MQTT-3.5.2-1] 3.1.1 [MQTT-3.3.4-1]",
  async (stage) => {
    const client = await stage.connect();
    for (const qos of [1, 2]) {
      const reason = await client.publish(stage.topic("nobody"), "hello", { qos });
      assert.ok([0, 0x10].includes(reason), `reason ${reason}`);
    }
  },
);

cases.test("Messages are delivered as the specifications say");
