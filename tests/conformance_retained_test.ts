/** Retained messages. */
import assert from "node:assert/strict";
import type { IPublishPacket } from "mqtt-packet";
import { Conformance, type Stage } from "./conformance.ts";
import { type ConformanceClient, text } from "./conformance_client.ts";
import { join, uint32, userProperty } from "./mqtt_bytes.ts";

const cases = new Conformance();
const QOS = [0, 1, 2] as const;
const SEND_IF_NEW = 0x10;
const SEND_NEVER = 0x20;
const AS_PUBLISHED = 0x08;

/** Retains one message of each QoS, under `rest`/0, `rest`/1 and `rest`/2. */
async function retainEach(stage: Stage, rest: string): Promise<void> {
  const publisher = await stage.connect();
  for (const qos of QOS) {
    await publisher.publish(stage.topic(`${rest}/${qos}`), `QoS ${qos}`, { qos, isRetain: true });
  }
  await publisher.disconnect();
}

/** What is retained on a filter, as a client hears it that subscribes now. */
async function retainedOn(stage: Stage, topicFilter: string, options = 2): Promise<IPublishPacket[]> {
  const client = await stage.connect();
  return await subscribeAndHear(stage, client, topicFilter, options);
}

/** Subscribes and gives what comes of it. */
async function subscribeAndHear(
  stage: Stage,
  client: ConformanceClient,
  topicFilter: string,
  options = 2,
): Promise<IPublishPacket[]> {
  // A retained message on a topic that no filter here matches comes last, as its subscription does.
  const last = `${stage.name}last`;
  await client.publish(last, "end", { qos: 2, isRetain: true });
  await client.subscribe([[topicFilter, options]]);
  await client.subscribe([[last, 2]]);
  const messages = await client.messagesBefore("end");
  await client.unsubscribe(last);
  return messages;
}

function row({ topic, qos, retain, dup }: IPublishPacket): string {
  return `${topic} QoS ${qos}${retain ? " retained" : ""}${dup ? " again" : ""}`;
}

cases.both(
  "Retained messages of every QoS reach whoever subscribes later, by a wildcard too [MQTT-3.3.1-5] [MQTT-3.3.1-9] 3.1.1 [MQTT-3.3.1-5] 3.1.1 [MQTT-3.3.1-6] 3.1.1 [MQTT-3.3.1-8] 3.1.1 [MQTT-3.1.2-7]",
  async (stage) => {
    await retainEach(stage, "a");
    for (const filter of ["a/+", "a/#", "+/+", "#"]) {
      const messages = await retainedOn(stage, stage.topic(filter));
      assert.deepEqual(
        messages.map(row).filter((message) => message.includes("/a/")).toSorted(),
        QOS.map((qos) => `${stage.topic(`a/${qos}`)} QoS ${qos} retained`),
        filter,
      );
    }
    assert.deepEqual((await retainedOn(stage, stage.topic("a/1"))).map(text), ["QoS 1"]);
    assert.deepEqual(await retainedOn(stage, stage.topic("b/#")), []);
  },
);

cases.both(
  "A retained message comes at the lower of its own QoS and the one granted [MQTT-3.8.4-8] 3.1.1 [MQTT-3.8.4-6]",
  async (stage) => {
    await retainEach(stage, "a");
    for (const granted of [0, 1]) {
      const messages = await retainedOn(stage, stage.topic("a/+"), granted);
      assert.deepEqual(
        messages.map(({ qos }) => qos).toSorted(),
        QOS.map((qos) => Math.min(qos, granted)).toSorted(),
      );
    }
  },
);

cases.both(
  "An empty message clears what is retained, and is heard like any other [MQTT-3.3.1-6] [MQTT-3.3.1-7] 3.1.1 [MQTT-3.3.1-10] 3.1.1 [MQTT-3.3.1-11]",
  async (stage) => {
    await retainEach(stage, "a");
    const listener = await stage.connect();
    assert.equal((await subscribeAndHear(stage, listener, stage.topic("a/+"))).length, 3);
    const publisher = await stage.connect();
    for (const qos of QOS) await publisher.publish(stage.topic(`a/${qos}`), "", { qos, isRetain: true });
    const messages = await listener.messages(3);
    assert.deepEqual(messages.map(text), ["", "", ""]);
    assert.deepEqual(messages.map(({ retain }) => retain), [false, false, false]);
    assert.deepEqual(await retainedOn(stage, stage.topic("a/+")), []);
  },
);

cases.both(
  "The newer retained message takes the place of the older one, at QoS 0 too [MQTT-3.3.1-5] 3.1.1 [MQTT-3.3.1-5] 3.1.1 [MQTT-3.3.1-7]",
  async (stage) => {
    const topic = stage.topic("a");
    const publisher = await stage.connect();
    for (const qos of [1, 2, 0]) {
      await publisher.publish(topic, `newest of QoS ${qos}`, { qos, isRetain: true });
      const messages = await retainedOn(stage, topic);
      assert.deepEqual(messages.map((message) => [text(message), message.qos]), [[
        `newest of QoS ${qos}`,
        qos,
      ]]);
    }
  },
);

cases.both(
  "A message that is not retained leaves the retained one alone [MQTT-3.3.1-8] 3.1.1 [MQTT-3.3.1-12]",
  async (stage) => {
    const publisher = await stage.connect();
    await publisher.publish(stage.topic("kept"), "kept", { qos: 1, isRetain: true });
    await publisher.publish(stage.topic("kept"), "passing", { qos: 1 });
    await publisher.publish(stage.topic("kept"), "", { qos: 1 });
    await publisher.publish(stage.topic("other"), "passing", { qos: 1 });
    assert.deepEqual((await retainedOn(stage, stage.topic("+"))).map(text), ["kept"]);
  },
);

cases.both(
  "A standing subscription hears a retained message without the flag [MQTT-3.3.1-12] 3.1.1 [MQTT-3.3.1-9]",
  async (stage) => {
    const listener = await stage.subscriber(stage.topic("+"));
    const publisher = await stage.connect();
    for (const qos of QOS) await publisher.publish(stage.topic("a"), `QoS ${qos}`, { qos, isRetain: true });
    const messages = await listener.messages(3);
    assert.deepEqual(messages.map(({ retain }) => retain), [false, false, false]);
  },
);

cases.both(
  "Subscribing again brings the retained messages again [MQTT-3.8.4-4] 3.1.1 [MQTT-3.8.4-3]",
  async (stage) => {
    await retainEach(stage, "a");
    const listener = await stage.connect();
    for (let i = 0; i < 3; i++) {
      const messages = await subscribeAndHear(stage, listener, stage.topic("a/+"));
      assert.deepEqual(messages.map(text).toSorted(), ["QoS 0", "QoS 1", "QoS 2"]);
    }
    await listener.publish(stage.topic("a/3"), "one subscription", { qos: 1 });
    await listener.publish(stage.topic("a/3"), "end", { qos: 1 });
    assert.deepEqual((await listener.messagesBefore("end")).map(text), ["one subscription"]);
  },
);

cases.both(
  "A retained message of a topic with several levels is found from every level [MQTT-3.3.2-3] 3.1.1 [MQTT-3.3.2-3]",
  async (stage) => {
    const publisher = await stage.connect();
    const topics = ["a", "a/b", "a/b/c", "a//c"].map((rest) => stage.topic(rest));
    for (const topic of topics) await publisher.publish(topic, topic, { qos: 1, isRetain: true });
    const rows: readonly [filter: string, found: readonly string[]][] = [
      ["a/#", ["a", "a//c", "a/b", "a/b/c"]],
      ["a/+", ["a/b"]],
      ["a/+/c", ["a//c", "a/b/c"]],
      ["a/b/#", ["a/b", "a/b/c"]],
      ["+", ["a"]],
      ["+/+/+", ["a//c", "a/b/c"]],
    ];
    for (const [filter, found] of rows) {
      const messages = await retainedOn(stage, stage.topic(filter));
      assert.deepEqual(messages.map(text).toSorted(), found.map((rest) => stage.topic(rest)), filter);
    }
  },
);

cases.v5("A retained message keeps its user properties [MQTT-3.3.2-17]", async (stage) => {
  const publisher = await stage.connect();
  const parts = [userProperty("a", "2"), userProperty("c", "3")];
  for (const qos of QOS) {
    await publisher.publish(stage.topic(`a/${qos}`), "x", { qos, isRetain: true, properties: parts });
  }
  const messages = await retainedOn(stage, stage.topic("a/+"));
  assert.equal(messages.length, 3);
  for (const { properties } of messages) {
    assert.deepEqual(Object.entries(properties?.userProperties ?? {}), [["a", "2"], ["c", "3"]]);
  }
});

cases.v5("Retained messages may be asked for at a new subscription alone [MQTT-3.3.1-10]", async (stage) => {
  await retainEach(stage, "a");
  const listener = await stage.connect();
  const filter = stage.topic("a/+");
  const heard = async () => (await subscribeAndHear(stage, listener, filter, 2 | SEND_IF_NEW)).length;
  assert.equal(await heard(), 3);
  assert.equal(await heard(), 0);
  await listener.unsubscribe(filter);
  assert.equal(await heard(), 3);
});

cases.v5("Retained messages may be declined [MQTT-3.3.1-11]", async (stage) => {
  await retainEach(stage, "a");
  const listener = await stage.connect();
  const filter = stage.topic("a/+");
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await subscribeAndHear(stage, listener, filter, 2 | SEND_NEVER), []);
  }
  const messages = await subscribeAndHear(stage, listener, filter, 2);
  assert.deepEqual(messages.map(text).toSorted(), ["QoS 0", "QoS 1", "QoS 2"]);
});

cases.v5(
  "RETAIN is passed on to those who ask for it, as it was published [MQTT-3.3.1-13] [MQTT-3.3.1-12]",
  async (stage) => {
    const topic = stage.topic("a");
    const asPublished = await stage.subscriber(topic, 2 | AS_PUBLISHED);
    const plain = await stage.subscriber(topic, 2);
    const publisher = await stage.connect();
    for (const qos of QOS) {
      for (const isRetain of [false, true]) {
        await publisher.publish(topic, String(isRetain), { qos, isRetain });
        assert.equal((await asPublished.message()).retain, isRetain);
        assert.equal((await plain.message()).retain, false);
      }
    }
    for (const options of [2, 2 | AS_PUBLISHED]) {
      const [kept] = await retainedOn(stage, topic, options);
      assert.equal(kept?.retain, true, "what comes of a subscription is marked in any case");
    }
  },
);

cases.v5(
  "A retained message that has expired is not sent, and one that has not says what is left [MQTT-3.3.2-5] [MQTT-3.3.2-6]",
  async (stage) => {
    const publisher = await stage.connect();
    for (const seconds of [1, 100]) {
      await publisher.publish(stage.topic(`a/${seconds}`), String(seconds), {
        qos: 1,
        isRetain: true,
        properties: [join(0x02, uint32(seconds))],
      });
    }
    await stage.pass(1);
    const messages = await retainedOn(stage, stage.topic("a/+"));
    assert.deepEqual(messages.map(text), ["100"]);
    const left = messages[0]!.properties?.messageExpiryInterval ?? 0;
    assert.ok(left > 0 && left < 100, `${left} seconds are left`);
  },
);

cases.test("Messages are retained as the specifications say");
