/** What a PUBLISH of 5.0 carries along, and how long it is good for. */
import assert from "node:assert/strict";
import type { IPublishPacket } from "mqtt-packet";
import { Conformance } from "./conformance.ts";
import { text } from "./conformance_client.ts";
import { counted, join, uint32, userProperty } from "./mqtt_bytes.ts";

const cases = new Conformance();
const QOS = [0, 1, 2] as const;

/** A Message Expiry Interval. */
function expiry(seconds: number): Uint8Array {
  return join(0x02, uint32(seconds));
}

function secondsLeft({ properties }: IPublishPacket): number {
  return properties?.messageExpiryInterval ?? -1;
}

cases.v5(
  "User properties arrive unaltered and in their order [MQTT-3.3.2-17] [MQTT-3.3.2-18]",
  async (stage) => {
    const topic = stage.topic("a");
    const publisher = await stage.connect();
    const pairs = [["z", "1"], ["a", "2"], ["z", "1"], ["", ""], ["a", "ä字"], ["z", "0"]] as const;
    const parts = pairs.map(([name, value]) => userProperty(name, value));
    for (const qos of QOS) {
      const subscriber = await stage.subscriber(topic, qos);
      // The codec sorts them by name: the order shows in the bytes alone.
      const received: Uint8Array[] = [];
      subscriber.raw.onBytes = (bytes) => received.push(bytes);
      await publisher.publish(topic, "hello", { qos, properties: parts });
      const { properties } = await subscriber.message();
      assert.deepEqual(
        { ...properties?.userProperties },
        { z: ["1", "1", "0"], a: ["2", "ä字"], "": "" },
      );
      const hex = join(...received).toHex();
      assert.ok(hex.includes(join(...parts).toHex()), hex);
      await subscriber.disconnect();
    }
  },
);

cases.v5("Payload format and content type arrive unaltered [MQTT-3.3.2-4] [MQTT-3.3.2-20]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic);
  const contentType = join(0x03, counted("My name; ä"));
  for (const qos of QOS) {
    for (const format of [0, 1]) {
      await client.publish(topic, "", { qos, properties: [[0x01, format], contentType] });
      const { properties } = await client.message();
      assert.equal(properties?.payloadFormatIndicator, format === 1);
      assert.equal(properties.contentType, "My name; ä");
    }
  }
});

cases.v5("A message without properties arrives without [MQTT-2.2.2-1]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic);
  for (const qos of QOS) {
    await client.publish(topic, "hello", { qos });
    assert.equal((await client.message()).properties, undefined);
  }
});

cases.v5(
  "A request brings the topic to answer on, and the answer what it belongs to [MQTT-3.3.2-15] [MQTT-3.3.2-16]",
  async (stage) => {
    const [requests, answers] = [stage.topic("requests"), stage.topic("answers/ä")];
    const asker = await stage.subscriber(answers);
    const server = await stage.subscriber(requests);
    const correlation = [0, 1, 254, 255];
    await asker.publish(requests, "request", {
      qos: 1,
      properties: [join(0x08, counted(answers)), join(0x09, counted(correlation))],
    });
    const request = await server.message();
    const { responseTopic, correlationData } = request.properties ?? {};
    assert.equal(responseTopic, answers);
    assert.deepEqual([...correlationData!], correlation);
    await server.publish(responseTopic, "response", {
      qos: 1,
      properties: [join(0x09, counted(correlationData!))],
    });
    const response = await asker.message();
    assert.equal(text(response), "response");
    assert.deepEqual([...response.properties!.correlationData!], correlation);
  },
);

cases.v5("A Response Topic with a wildcard ends the connection [MQTT-3.3.2-14]", async (stage) => {
  const client = await stage.connect();
  const properties = [join(0x08, counted("a/+"))];
  await client.raw.send(client.publishBytes(stage.topic("a"), "x", { properties }));
  assert.ok([0x81, 0x82].includes(await client.closedWith() ?? 0));
});

cases.v5("A message that is delivered at once keeps its expiry [MQTT-3.3.2-6]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic);
  for (const qos of QOS) {
    await client.publish(topic, "hello", { qos, properties: [expiry(1000)] });
    const left = secondsLeft(await client.message());
    assert.ok(left === 999 || left === 1000, `${left} seconds are left`);
  }
});

cases.v5(
  "What has waited says what is left of its expiry, and what has expired is gone [MQTT-3.3.2-5] [MQTT-3.3.2-6]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
    const away = await stage.subscriber(topic, 2, hello);
    await away.disconnect();
    const publisher = await stage.connect();
    for (const seconds of [1, 100]) {
      for (const qos of [1, 2]) {
        await publisher.publish(topic, `${seconds}`, { qos, properties: [expiry(seconds)] });
      }
    }
    await publisher.publish(topic, "for ever", { qos: 2 });
    await stage.pass(1);
    const again = await stage.connect(hello);
    const messages = await again.messages(3);
    assert.deepEqual(messages.map(text), ["100", "100", "for ever"]);
    for (const message of messages.slice(0, 2)) {
      const left = secondsLeft(message);
      assert.ok(left > 0 && left < 100, `${left} seconds are left`);
    }
    assert.equal(messages[2]!.properties, undefined);
    await again.expectSilence();
  },
);

cases.v5(
  "A message that was sent once goes on, though its time is up [MQTT-4.3.3-7] [MQTT-4.4.0-1]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
    const client = await stage.subscriber(topic, 2, hello);
    await client.publish(topic, "sent", { qos: 2, properties: [expiry(1)] });
    const sent = await client.take("publish");
    await client.disconnect();
    await stage.pass(2);
    const again = await stage.connect(hello);
    const message = await again.message();
    assert.deepEqual([message.messageId, text(message), message.dup], [sent.messageId, "sent", true]);
    await again.expectSilence();
  },
);

cases.v5("Messages go from 5.0 to 3.1.1 and back [MQTT-3.3.2-3]", async (stage) => {
  const topic = stage.topic("a");
  const older = await stage.subscriber(topic, 2, { level: 4 });
  const newer = await stage.subscriber(topic, 2);
  const properties = [[0x01, 1], expiry(1000), userProperty("a", "1")];
  for (const qos of QOS) {
    await newer.publish(topic, "from 5.0", { qos, properties });
    await older.publish(topic, "from 3.1.1", { qos });
    const heard = [await older.messages(2), await newer.messages(2)];
    for (const messages of heard) {
      assert.deepEqual(messages.map((message) => [text(message), message.qos]), [
        ["from 5.0", qos],
        ["from 3.1.1", qos],
      ]);
    }
    assert.equal(heard[1]![1]!.properties, undefined);
  }
});

cases.test("Properties are passed on as the specification says");
