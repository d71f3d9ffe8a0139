/** MQTT.js, unmodified, on open topics: what 5.0 says about messages and subscriptions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IClientPublishOptions, IPublishPacket } from "mqtt";
import { testOnStages } from "./mqtt_js_stage.ts";

const V5 = [5] as const;

/** Everything that a publisher may say of a message and that travels with it. */
const SAID = {
  payloadFormatIndicator: true,
  contentType: "text/plain; charset=utf-8",
  responseTopic: "answers/to/me",
  correlationData: Buffer.from([0, 1, 0xfe, 0xff]),
  userProperties: { zebra: ["1", "3"], ant: "2", "": "empty", "é漢😀": "é漢😀" },
} satisfies IClientPublishOptions["properties"];

/** As {@linkcode SAID}; user properties as entries, since their order counts. */
function said({ properties }: Pick<IPublishPacket, "properties">) {
  const { userProperties, ...rest } = { ...properties };
  return { ...rest, userProperties: Object.entries({ ...userProperties }) };
}

const EXPECTED = said({ properties: SAID });

testOnStages(
  "MQTT.js brings every property of a message to who hears it, user properties in order",
  V5,
  async (stage) => {
    const topic = stage.own("said");
    const absent = await stage.resume(stage.own("absent"));
    await absent.mqtt.subscribeAsync(topic, { qos: 2 });
    await absent.mqtt.endAsync();
    const subscriber = await stage.connect();
    await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
    const publisher = await stage.connect();
    for (const qos of [0, 1, 2] as const) {
      await publisher.mqtt.publishAsync(topic, "héllo", { qos, properties: SAID });
      assert.deepEqual(said((await subscriber.next()).packet), EXPECTED, `at ${qos}`);
    }
    await publisher.mqtt.publishAsync(topic, "kept", { qos: 1, retain: true, properties: SAID });
    const late = await stage.connect();
    await late.mqtt.subscribeAsync(topic, { qos: 1 });
    assert.deepEqual(said((await late.next()).packet), EXPECTED, "retained");
    const returned = await stage.resume(stage.own("absent"));
    for (let i = 0; i < 4; i++) assert.deepEqual(said((await returned.next()).packet), EXPECTED, "queued");
  },
);

testOnStages("MQTT.js leaves a will with every property", V5, async (stage) => {
  const topic = stage.own("will");
  const watch = await stage.connect();
  await watch.mqtt.subscribeAsync(topic, { qos: 2 });
  const properties = { ...SAID, messageExpiryInterval: 100 };
  const lost = await stage.connect({ will: { topic, payload: "gone", qos: 2, properties } });
  await lost.lose();
  const { text, packet } = await watch.next();
  assert.equal(text, "gone");
  const seconds = packet.properties?.messageExpiryInterval;
  assert.ok(seconds! > 90 && seconds! <= 100);
  assert.deepEqual(said(packet), { ...EXPECTED, messageExpiryInterval: seconds });
});

testOnStages("MQTT.js asks and answers by response topic and correlation data", V5, async (stage) => {
  const service = await stage.connect();
  await service.mqtt.subscribeAsync(stage.own("ask"), { qos: 1 });
  const client = await stage.connect();
  await client.mqtt.subscribeAsync(stage.own("answer/#"), { qos: 1 });
  for (const question of ["one", "two"]) {
    const correlationData = Buffer.from(question);
    await client.mqtt.publishAsync(stage.own("ask"), question, {
      qos: 1,
      properties: { responseTopic: stage.own(`answer/${question}`), correlationData },
    });
    const { text, packet } = await service.next();
    const asked = packet.properties!;
    await service.mqtt.publishAsync(asked.responseTopic!, `${text}!`, {
      qos: 1,
      properties: { correlationData: asked.correlationData! },
    });
    const answer = await client.next();
    assert.deepEqual([answer.topic, answer.text], [stage.own(`answer/${question}`), `${question}!`]);
    assert.deepEqual(answer.packet.properties?.correlationData, correlationData);
  }
});

testOnStages("MQTT.js is told by which subscriptions a message comes", V5, async (stage) => {
  const client = await stage.connect();
  const subscribe = (topicFilter: string, subscriptionIdentifier: number) =>
    client.mqtt.subscribeAsync(topicFilter, { qos: 1, properties: { subscriptionIdentifier } });
  await subscribe(stage.own("s/+"), 1);
  await subscribe(stage.own("s/#"), 268_435_455);
  await subscribe(stage.own("t"), 7);
  await client.mqtt.subscribeAsync(stage.own("u"), { qos: 1 });
  for (const [topic, expected] of [["s/a", [1, 268_435_455]], ["t", [7]], ["u", []]] as const) {
    await client.mqtt.publishAsync(stage.own(topic), "x", { qos: 1 });
    const ids = [(await client.next()).packet.properties?.subscriptionIdentifier ?? []].flat();
    assert.deepEqual(ids.sort((a, b) => a - b), expected);
  }
  await subscribe(stage.own("t"), 8);
  await client.mqtt.publishAsync(stage.own("t"), "x", { qos: 1 });
  assert.equal((await client.next()).packet.properties?.subscriptionIdentifier, 8, "the newer one replaces");
});

testOnStages("MQTT.js does not hear itself with no-local, and others it does", V5, async (stage) => {
  const client = await stage.connect();
  const topic = stage.own("local");
  await client.mqtt.subscribeAsync(topic, { qos: 1, nl: true });
  const other = await stage.connect();
  await client.mqtt.publishAsync(topic, "its own", { qos: 1 });
  await other.mqtt.publishAsync(topic, "of another", { qos: 1 });
  assert.equal((await client.next()).text, "of another");
});

testOnStages(
  "MQTT.js hears the retain flag as it was published where it asks for that",
  V5,
  async (stage) => {
    const publisher = await stage.connect();
    const topic = stage.own("flag");
    for (const rap of [true, false]) {
      const client = await stage.connect();
      await client.mqtt.subscribeAsync(topic, { qos: 1, rap, rh: 2 });
      for (const retain of [true, false]) {
        await publisher.mqtt.publishAsync(topic, "x", { qos: 1, retain });
        assert.equal((await client.next()).packet.retain, rap && retain, `asked ${rap}, published ${retain}`);
      }
    }
  },
);

testOnStages("MQTT.js says when it wants retained messages", V5, async (stage) => {
  const publisher = await stage.connect();
  const topic = stage.own("handling");
  await publisher.mqtt.publishAsync(topic, "kept", { qos: 1, retain: true });
  for (const [rh, first, second] of [[0, 1, 1], [1, 1, 0], [2, 0, 0]] as const) {
    const client = await stage.connect();
    for (const expected of [first, second]) {
      await client.mqtt.subscribeAsync(topic, { qos: 1, rh });
      await publisher.mqtt.publishAsync(topic, "the end", { qos: 1 });
      const heard = await client.before("the end");
      assert.deepEqual(heard.map(({ text }) => text), Array(expected).fill("kept"), `retain handling ${rh}`);
    }
  }
});

testOnStages(
  "MQTT.js hears of messages until they expire, and how long they have left",
  V5,
  async (stage) => {
    const topic = stage.own("expiring");
    const clientId = stage.own("absent");
    const older = await stage.resume(clientId);
    await older.mqtt.subscribeAsync(topic, { qos: 1 });
    await older.mqtt.endAsync();
    const publisher = await stage.connect();
    const publish = (text: string, messageExpiryInterval: number, retain = false) =>
      publisher.mqtt.publishAsync(topic, text, { qos: 1, retain, properties: { messageExpiryInterval } });
    await publish("short", 1);
    await publish("long", 600);
    await publisher.mqtt.publishAsync(stage.own("kept"), "short", {
      qos: 1,
      retain: true,
      properties: { messageExpiryInterval: 1 },
    });
    await stage.pass(2);
    const newer = await stage.resume(clientId);
    const { text, packet } = await newer.next();
    const seconds = packet.properties!.messageExpiryInterval!;
    assert.equal(text, "long");
    assert.ok(seconds > 540 && seconds <= 598, `${seconds} of 600 s are left after 2 s`);
    await newer.mqtt.subscribeAsync(stage.own("kept"), { qos: 1 });
    await publisher.mqtt.publishAsync(topic, "the end", { qos: 1 });
    assert.deepEqual(await newer.before("the end"), [], "the retained one has expired, too");
  },
);

testOnStages("MQTT.js uses topic aliases in both directions", V5, async (stage) => {
  const publisher = await stage.connect({ autoAssignTopicAlias: true });
  assert.ok(publisher.connack.properties!.topicAliasMaximum! > 0);
  const sent: (readonly [string, number | undefined])[] = [];
  publisher.mqtt.on("packetsend", (packet) => {
    if (packet.cmd === "publish") sent.push([packet.topic, packet.properties?.topicAlias]);
  });
  const subscriber = await stage.connect({ properties: { topicAliasMaximum: 1 } });
  const plain = await stage.connect();
  const [a, b] = [stage.own("alias/a"), stage.own("alias/b")];
  for (const client of [subscriber, plain]) {
    await client.mqtt.subscribeAsync(stage.own("alias/+"), { qos: 1 });
  }
  const topics = [a, b, a, b];
  for (const topic of topics) await publisher.mqtt.publishAsync(topic, topic, { qos: 1 });
  assert.deepEqual(sent, [[a, 1], [b, 2], ["", 1], ["", 2]]);
  const written: (readonly [string, number | undefined])[] = [];
  for (const topic of topics) {
    const { topic: heard, text, packet } = await subscriber.next();
    assert.deepEqual([heard, text], [topic, topic]);
    written.push([packet.topic, packet.properties?.topicAlias]);
    const other = await plain.next();
    assert.deepEqual([other.packet.topic, other.packet.properties?.topicAlias], [topic, undefined]);
  }
  assert.deepEqual(written, [[a, 1], [b, undefined], ["", 1], [b, undefined]], "it takes one alias");
  assert.deepEqual(subscriber.errors, []);
});
