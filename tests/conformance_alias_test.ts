/** Topic aliases, both ways. */
import assert from "node:assert/strict";
import type { IPublishPacket } from "mqtt-packet";
import { Conformance } from "./conformance.ts";
import { text } from "./conformance_client.ts";
import { join, uint16 } from "./mqtt_bytes.ts";

const cases = new Conformance();
const QOS = [0, 1, 2] as const;

/** A Topic Alias. */
function alias(value: number): Uint8Array {
  return join(0x23, uint16(value));
}

/** A Topic Alias Maximum. */
function aliasMaximum(value: number): Uint8Array {
  return join(0x22, uint16(value));
}

cases.v5("A client may name a topic by an alias it has given it [MQTT-3.3.2-12]", async (stage) => {
  const [a, b] = [stage.topic("a"), stage.topic("b")];
  const subscriber = await stage.subscriber(stage.topic("+"));
  const client = await stage.connect();
  const most = client.connack.properties?.topicAliasMaximum ?? 0;
  assert.ok(most >= 2, `${most} aliases are taken`);
  for (const qos of QOS) {
    await client.publish(a, "one", { qos, properties: [alias(1)] });
    await client.publish(b, "two", { qos, properties: [alias(most)] });
    await client.publish("", "three", { qos, properties: [alias(1)] });
    await client.publish("", "four", { qos, properties: [alias(most)] });
    // The alias is given to another topic.
    await client.publish(b, "five", { qos, properties: [alias(1)] });
    await client.publish("", "six", { qos, properties: [alias(1)] });
    const messages = await subscriber.messages(6);
    assert.deepEqual(messages.map((message) => [message.topic, text(message)]), [
      [a, "one"],
      [b, "two"],
      [a, "three"],
      [b, "four"],
      [b, "five"],
      [b, "six"],
    ]);
    for (const { properties } of messages) assert.equal(properties, undefined, "an alias is not passed on");
  }
});

cases.v5("An alias ends with its connection [MQTT-3.3.2-7]", async (stage) => {
  const topic = stage.topic("a");
  const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 1000 };
  const client = await stage.subscriber(topic, 2, hello);
  await client.publish(topic, "named", { qos: 1, properties: [alias(1)] });
  assert.equal(text(await client.message()), "named");
  await client.disconnect();
  const again = await stage.connect(hello);
  assert.equal(again.connack.sessionPresent, true);
  await again.publish(topic, "the subscription is there", { qos: 1 });
  assert.equal(text(await again.message()), "the subscription is there");
  await again.raw.send(again.publishBytes("", "what topic", { qos: 1, properties: [alias(1)] }));
  assert.equal(await again.closedWith(), 0x82);
});

cases.v5("An alias belongs to the client that gave it [MQTT-3.3.2-12]", async (stage) => {
  const subscriber = await stage.subscriber(stage.topic("+"));
  const [one, other] = [await stage.connect(), await stage.connect()];
  await one.publish(stage.topic("one"), "1", { qos: 1, properties: [alias(1)] });
  await other.publish(stage.topic("other"), "2", { qos: 1, properties: [alias(1)] });
  await one.publish("", "3", { qos: 1, properties: [alias(1)] });
  const messages = await subscriber.messages(3);
  assert.deepEqual(
    messages.map(({ topic }) => topic),
    [stage.topic("one"), stage.topic("other"), stage.topic("one")],
  );
});

cases.v5(
  "An alias of 0, or above the maximum, ends the connection [MQTT-3.3.2-8] [MQTT-3.3.2-9]",
  async (stage) => {
    for (const isTooLarge of [false, true]) {
      const client = await stage.connect();
      const most = client.connack.properties?.topicAliasMaximum ?? 0;
      const properties = [alias(isTooLarge ? most + 1 : 0)];
      await client.raw.send(client.publishBytes(stage.topic("a"), "x", { qos: 1, properties }));
      assert.equal(await client.closedWith(), 0x94);
    }
  },
);

cases.v5("A client that takes aliases is spared the topic [MQTT-3.1.2-26] [MQTT-3.3.2-11]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic, 2, { properties: [aliasMaximum(1)] });
  for (const qos of QOS) await client.publish(topic, `QoS ${qos}`, { qos });
  const messages = await client.messages(3);
  assert.deepEqual(
    messages.map((message) => [text(message), message.topic, message.properties?.topicAlias]),
    [["QoS 0", topic, 1], ["QoS 1", "", 1], ["QoS 2", "", 1]],
  );
});

cases.v5("However many topics there are, aliases stay within the maximum [MQTT-3.1.2-26]", async (stage) => {
  const client = await stage.subscriber(stage.topic("+"), 1, { properties: [aliasMaximum(2)] });
  const publisher = await stage.connect();
  const topics = new Map<number, string>();
  const resolve = ({ topic, properties }: IPublishPacket): string => {
    const given = properties?.topicAlias;
    if (given === undefined) return topic;
    assert.ok(given >= 1 && given <= 2, `alias ${given}`);
    if (topic !== "") topics.set(given, topic);
    return topics.get(given) ?? "";
  };
  for (let i = 0; i < 20; i++) {
    const topic = stage.topic(String(i * i % 5));
    await publisher.publish(topic, "hello", { qos: 1 });
    assert.equal(resolve(await client.message()), topic);
  }
});

cases.v5(
  "What is sent again names its topic on the new connection [MQTT-3.3.2-7] [MQTT-4.4.0-1]",
  async (stage) => {
    const topic = stage.topic("a");
    const hello = {
      clientId: `${stage.name}x`,
      clean: false,
      expirySeconds: 1000,
      properties: [aliasMaximum(5)],
    };
    const client = await stage.subscriber(topic, 1, hello);
    for (const payload of ["one", "two"]) {
      await client.publish(topic, payload, { qos: 1 });
      await client.take("publish");
    }
    await client.disconnect();
    const again = await stage.connect(hello);
    const messages = await again.messages(2);
    assert.deepEqual(messages.map(text), ["one", "two"]);
    assert.equal(messages[0]!.topic, topic);
    await again.disconnect();
    const plain = await stage.connect({ ...hello, properties: [] });
    await plain.publish(topic, "three", { qos: 1 });
    const message = await plain.message();
    assert.deepEqual([message.topic, message.properties], [topic, undefined]);
  },
);

cases.v5("A client that takes no aliases is sent none [MQTT-3.1.2-27]", async (stage) => {
  const topic = stage.topic("a");
  for (const properties of [[], [aliasMaximum(0)]]) {
    const client = await stage.subscriber(topic, 2, { properties });
    for (const qos of QOS) {
      await client.publish(topic, "hello", { qos });
      const message = await client.message();
      assert.deepEqual([message.topic, message.properties], [topic, undefined]);
    }
    await client.disconnect();
  }
});

cases.test("Topic aliases work as the specification says");
