/** Statements about SUBSCRIBE, UNSUBSCRIBE and topics, packet by packet. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { type Filter, text } from "./conformance_client.ts";
import { acknowledgement, counted, packet, properties, subscribe, uint16 } from "./mqtt_bytes.ts";

const cases = new Conformance();

cases.both(
  "A SUBACK has the identifier of its SUBSCRIBE and one code per filter, in their order [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] 3.1.1 [MQTT-2.3.1-7] 3.1.1 [MQTT-3.8.4-1] 3.1.1 [MQTT-3.8.4-2] 3.1.1 [MQTT-3.8.4-4] 3.1.1 [MQTT-3.8.4-5] 3.1.1 [MQTT-3.9.3-1] 3.1.1 [MQTT-3.9.3-2]",
  async (stage) => {
    const { level } = stage;
    const client = await stage.connect();
    const [closed, tooLong] = level === 5 ? [0x87, 0x8f] : [0x80, 0x80];
    const filters: readonly (readonly [...Filter, code: number])[] = [
      [stage.topic("a"), 2, 2],
      ["im/#", 0, closed],
      [stage.topic("b"), 1, 1],
      ["$SYS/#", 1, closed],
      [stage.topic("b"), 1, 1],
      ["/".repeat(40), 0, tooLong],
      [stage.topic("c/#"), 0, 0],
      ["me/#", 2, closed],
      [stage.topic("a"), 0, 0],
    ];
    for (const packetId of [1, 256, 65_535]) {
      await client.raw.send(
        subscribe(level, packetId, ...filters.map(([topicFilter, qos]) => [topicFilter, qos] as const)),
      );
      const suback = await client.take("suback");
      assert.equal(suback.messageId, packetId);
      assert.deepEqual(suback.granted, filters.map(([, , code]) => code));
    }
    await client.expectSilence();
    // As if each filter had come in a packet of its own: of the same one, the last counts.
    for (const [name, qos] of [["a", 0], ["b", 1], ["c/d", 0]] as const) {
      await client.publish(stage.topic(name), name, { qos: 2 });
      const message = await client.message();
      assert.deepEqual([text(message), message.qos], [name, qos]);
    }
  },
);

cases.both(
  "An UNSUBACK has the identifier of its UNSUBSCRIBE and one code per filter, in their order [MQTT-2.2.1-6] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] 3.1.1 [MQTT-2.3.1-7] 3.1.1 [MQTT-3.10.4-4] 3.1.1 [MQTT-3.10.4-5] 3.1.1 [MQTT-3.10.4-6]",
  async (stage) => {
    const { level } = stage;
    const client = await stage.connect();
    const [a, b, c] = ["a", "b/+", "c/#"].map((name) => stage.topic(name)) as [string, string, string];
    await client.subscribe([[a, 1], [b, 1], [c, 1]]);
    const rows: readonly (readonly [packetId: number, topicFilters: string[], codes: number[]])[] = [
      [7, [stage.topic("x"), c, "im/#", a, c], [0x11, 0, 0x11, 0, 0x11]],
      [65_535, [a], [0x11]],
    ];
    for (const [packetId, topicFilters, codes] of rows) {
      const content = topicFilters.map((topicFilter) => counted(topicFilter));
      await client.raw.send(packet(0xa2, uint16(packetId), level === 5 ? properties() : [], ...content));
      const unsuback = await client.take("unsuback");
      assert.equal(unsuback.messageId, packetId);
      assert.deepEqual(unsuback.granted ?? [], level === 5 ? codes : []);
      if (level === 4) assert.equal(unsuback.length, 2);
    }
    for (const name of ["a", "b/1", "c/1"]) await client.publish(stage.topic(name), name, { qos: 1 });
    assert.equal(text(await client.message()), "b/1");
    await client.expectSilence();
  },
);

cases.both(
  "Only the very filter that was subscribed to is given up [MQTT-3.10.4-1] [MQTT-3.10.4-2] 3.1.1 [MQTT-3.10.4-1] 3.1.1 [MQTT-3.10.4-2]",
  async (stage) => {
    const topic = stage.topic("é/b");
    for (const held of [topic, stage.topic("+/b"), stage.topic("é/#"), stage.topic("#")]) {
      const client = await stage.subscriber(held, 1);
      const others = [
        ...[topic, stage.topic("+/b"), stage.topic("é/#"), stage.topic("#"), stage.topic("+/+")],
        ...[held.toUpperCase(), `${held}/`, `/${held}`, held.normalize("NFD"), `${held} `, "#", "+/#"],
      ].filter((topicFilter) => topicFilter !== held);
      const codes = await client.unsubscribe(...others.filter((other) => !/#./.test(other)));
      for (const code of codes) assert.equal(code, 0x11);
      await client.publish(topic, "still", { qos: 1 });
      assert.equal(text(await client.message()), "still", held);
      await client.unsubscribe(held);
      await client.publish(topic, "over", { qos: 1 });
      await client.expectSilence();
      await client.disconnect();
    }
  },
);

cases.both(
  "A delivery that has begun is brought to its end after UNSUBSCRIBE, and none begins [MQTT-3.10.4-3] [MQTT-3.10.4-2] 3.1.1 [MQTT-3.10.4-3] 3.1.1 [MQTT-3.10.4-2]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 2);
    for (const qos of [1, 2, 2]) await client.publish(topic, `QoS ${qos}`, { qos });
    const begun = [await client.take("publish"), await client.take("publish"), await client.take("publish")];
    await client.raw.send(acknowledgement(0x50, begun[2]!.messageId!));
    await client.take("pubrel");
    await client.unsubscribe(topic);
    await client.publish(topic, "late", { qos: 2 });
    await client.acknowledge(begun[0]!);
    await client.acknowledge(begun[1]!);
    await client.raw.send(acknowledgement(0x70, begun[2]!.messageId!));
    await client.expectSilence();
  },
);

cases.both(
  "Subscribing again in the midst of messages loses none of them [MQTT-3.8.4-3] [MQTT-3.8.4-4] 3.1.1 [MQTT-3.8.4-3]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 1);
    const publisher = await stage.connect();
    const numbers = Array.from({ length: 200 }, (_, i) => String(i));
    const publishing = publisher.raw.send(
      ...numbers.map((number, i) => publisher.publishBytes(topic, number, { qos: 1, packetId: i + 1 })),
    );
    for (let i = 0; i < 20; i++) await client.raw.send(subscribe(stage.level, 1_000 + i, [topic, 1 + i % 2]));
    await publishing;
    assert.deepEqual((await client.messages(200)).map(text), numbers, "each once");
    for (let i = 0; i < 20; i++) assert.equal((await client.take("suback")).messageId, 1_000 + i);
    await client.expectSilence();
  },
);

cases.both(
  "A client gets what its filter matches, character by character, and nothing else [MQTT-1.5.4-3] [MQTT-3.3.2-3] [MQTT-4.7.3-4] 3.1.1 [MQTT-1.5.3-3] 3.1.1 [MQTT-3.3.2-3] 3.1.1 [MQTT-4.7.3-4]",
  async (stage) => {
    // U+FEFF, composed and decomposed letters, case, spaces, empty levels, and a character of four bytes.
    const names = [
      "x",
      "\ufeffx",
      "x\ufeff",
      "é",
      "e\u0301",
      "É",
      " x",
      "x ",
      "",
      "/",
      "x/",
      "/x",
      "🔥",
      "ﬁ",
      "fi",
    ];
    const publisher = await stage.connect();
    for (const name of names) {
      const held = stage.topic(name);
      const client = await stage.subscriber(held, 0);
      for (const other of names) await publisher.publish(stage.topic(other), other, { qos: 1 });
      await publisher.publish(held, "end", { qos: 1 });
      const heard = await client.messagesBefore("end");
      assert.deepEqual(heard.map(({ topic }) => topic), [held]);
      assert.deepEqual(heard.map(text), [name]);
      await client.disconnect();
    }
    const all = await stage.subscriber(stage.topic("#"), 0);
    for (const name of names) await publisher.publish(stage.topic(name), name, { qos: 1 });
    assert.deepEqual(
      (await all.messages(names.length)).map(({ topic }) => topic),
      names.map((n) => stage.topic(n)),
    );
  },
);

cases.v5(
  "Of two copies, one shared and one its own, each names its own subscriptions [MQTT-3.3.4-5] [MQTT-3.3.4-4]",
  async (stage) => {
    const client = await stage.connect();
    await client.subscribe([[`$share/g/${stage.topic("a")}`, 1]], 0x0b, 1);
    await client.subscribe([[stage.topic("a"), 2]], 0x0b, 2);
    await client.subscribe([[stage.topic("#"), 0]], 0x0b, 3);
    await client.publish(stage.topic("a"), "hello", { qos: 2 });
    const copies = (await client.messages(2)).map(({ qos, properties }) => {
      const ids = properties?.subscriptionIdentifier as number | number[];
      return `${[ids].flat().toSorted()} at QoS ${qos}`;
    });
    assert.deepEqual(copies.toSorted(), ["1 at QoS 1", "2,3 at QoS 2"]);
    await client.expectSilence();
  },
);

cases.test("SUBSCRIBE, UNSUBSCRIBE and topics keep to their statements");

const longest = new Conformance();

longest.both(
  "Topic names and filters of 65,535 bytes are the longest there are [MQTT-4.7.3-3] 3.1.1 [MQTT-4.7.3-3]",
  async (stage) => {
    const room = 65_535 - stage.topic("").length;
    const topic = stage.topic("é".repeat(room >> 1) + "x".repeat(room & 1));
    assert.equal(new TextEncoder().encode(topic).length, 65_535);
    const client = await stage.subscriber(topic, 1);
    await client.publish(topic, "hello", { qos: 1 });
    assert.equal((await client.message()).topic, topic);
  },
);

longest.test("The longest topics are served where the limits allow them", { MAX_FILTER_BYTES: "65535" });
