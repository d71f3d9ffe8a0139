/** Subscriptions: SUBSCRIBE and UNSUBSCRIBE, overlaps, options, identifiers, and what a filter matches. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { text } from "./conformance_client.ts";
import { counted, join, packet, properties, publish, subscribe, uint16, variable } from "./mqtt_bytes.ts";

const cases = new Conformance();
const NO_LOCAL = 0x04;

/** A Subscription Identifier. */
function identifier(value: number): Uint8Array {
  return join(0x0b, variable(value));
}

/** The subscription identifiers of a message, in order of size. */
function identifiers(message: { properties?: { subscriptionIdentifier?: number | number[] } }): number[] {
  const value = message.properties?.subscriptionIdentifier ?? [];
  return (Array.isArray(value) ? value : [value]).toSorted((a, b) => a - b);
}

cases.both(
  "A SUBACK has a code for every filter, in their order, also for one that is repeated [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] 3.1.1 [MQTT-3.8.4-1] 3.1.1 [MQTT-3.8.4-2] 3.1.1 [MQTT-3.8.4-4] 3.1.1 [MQTT-3.8.4-5] 3.1.1 [MQTT-3.9.3-1]",
  async (stage) => {
    const client = await stage.connect();
    const [a, b, c] = [stage.topic("a"), stage.topic("b/#"), stage.topic("c")];
    assert.deepEqual(await client.subscribe([[a, 2], [b, 0], [c, 1], [a, 1]]), [2, 0, 1, 1]);
    // The later one of the two holds.
    await client.publish(a, "hello", { qos: 2 });
    assert.equal((await client.message()).qos, 1);
    await client.expectSilence();
  },
);

cases.both(
  "A filter that is not allowed is refused by itself [MQTT-3.8.4-7] [MQTT-3.9.3-2] 3.1.1 [MQTT-3.8.4-5] 3.1.1 [MQTT-3.9.3-2]",
  async (stage) => {
    const client = await stage.connect();
    const refused = stage.level === 5 ? 0x87 : 0x80;
    const topic = stage.topic("a");
    assert.deepEqual(await client.subscribe([["im/x", 2]]), [refused]);
    assert.deepEqual(await client.subscribe([["im/x", 2], [topic, 1], ["im/#", 0]]), [refused, 1, refused]);
    await client.publish(topic, "hello");
    assert.equal(text(await client.message()), "hello");
  },
);

cases.both(
  "Where filters overlap the highest QoS counts [MQTT-3.3.4-2] 3.1.1 [MQTT-3.3.5-1]",
  async (stage) => {
    const topic = stage.topic("a/c");
    const [all, some] = [stage.topic("#"), stage.topic("+/c")];
    for (const filters of [[[all, 2], [some, 1]], [[all, 1], [some, 2]], [[some, 0], [all, 2]]] as const) {
      const client = await stage.connect();
      await client.subscribe(filters);
      await client.publish(topic, "hello", { qos: 2 });
      await client.publish(stage.topic("last"), "end", { qos: 2 });
      const qos = (await client.messagesBefore("end")).map((message) => message.qos).toSorted();
      // One copy for both, or one for each.
      const each = filters.map(([, granted]) => granted as number).toSorted();
      assert.ok(qos.join() === "2" || qos.join() === each.join(), `the copies have QoS ${qos.join()}`);
      await client.disconnect();
    }
  },
);

cases.both(
  "Subscribing again to a filter replaces the subscription [MQTT-3.8.4-3] 3.1.1 [MQTT-3.8.4-3]",
  async (stage) => {
    const topic = stage.topic("a");
    const client = await stage.connect();
    for (const granted of [2, 0, 1]) {
      assert.deepEqual(await client.subscribe([[topic, granted]]), [granted]);
      await client.publish(topic, "hello", { qos: 2 });
      assert.equal((await client.message()).qos, granted);
      await client.expectSilence();
    }
  },
);

cases.both(
  "A filter matches the topics of the specification and no others [MQTT-3.3.2-3] [MQTT-4.7.3-4] 3.1.1 [MQTT-3.3.2-3] 3.1.1 [MQTT-4.7.3-4]",
  async (stage) => {
    const topics = ["", "/", "/a", "a", "A", "a/", "a/b", "a/b/c", "b/b", "a b", "ä", "a\u0308"];
    const rows: readonly [filter: string, matched: readonly string[]][] = [
      ["#", topics],
      ["+", ["", "a", "A", "a b", "ä", "a\u0308"]],
      ["a/#", ["a", "a/", "a/b", "a/b/c"]],
      ["a/+", ["a/", "a/b"]],
      ["+/b/#", ["a/b", "a/b/c", "b/b"]],
      ["+/+", ["/", "/a", "a/", "a/b", "b/b"]],
      ["/+", ["/", "/a"]],
      ["/a", ["/a"]],
      ["a", ["a"]],
      ["ä", ["ä"]],
    ];
    const publisher = await stage.connect();
    for (const [filter, matched] of rows) {
      const client = await stage.connect();
      await client.subscribe([[stage.topic(filter), 1], [`${stage.name}last`, 1]]);
      for (const topic of topics) await publisher.publish(stage.topic(topic), topic, { qos: 1 });
      await publisher.publish(`${stage.name}last`, "end", { qos: 1 });
      const heard = await client.messagesBefore("end");
      // The level above is matched by # and was not published to.
      assert.deepEqual(heard.map(({ topic }) => topic), matched.map((topic) => stage.topic(topic)), filter);
      await client.disconnect();
    }
  },
);

cases.both(
  "A wildcard in front does not match a topic that begins with $ [MQTT-4.7.2-1] 3.1.1 [MQTT-4.7.2-1]",
  async (stage) => {
    const client = await stage.connect();
    await client.subscribe([["#", 1]]);
    await client.subscribe([[`+/${stage.name}/#`, 1]]);
    await client.publish(`$${stage.name}/${stage.name}/a`, "hidden", { qos: 1 });
    const last = `the end of ${stage.name}`;
    await client.publish(`${stage.name}/${stage.name}/a`, last, { qos: 1 });
    // What other cases say is heard too.
    assert.ok(!(await client.messagesBefore(last)).map(text).includes("hidden"));
  },
);

cases.both(
  "A subscription that is given up brings nothing more, the others do [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] 3.1.1 [MQTT-3.10.4-1] 3.1.1 [MQTT-3.10.4-2] 3.1.1 [MQTT-3.10.4-4]",
  async (stage) => {
    const client = await stage.connect();
    for (const rest of ["a", "b", "c"]) await client.subscribe([[stage.topic(rest), 2]]);
    const codes = await client.unsubscribe(stage.topic("a"));
    assert.deepEqual(codes, stage.level === 5 ? [0] : []);
    const publisher = await stage.connect();
    for (const rest of ["a", "b", "c"]) await publisher.publish(stage.topic(rest), rest, { qos: 1 });
    assert.deepEqual((await client.messagesBefore("c")).map(text), ["b"]);
    await client.expectSilence();
  },
);

cases.both(
  "Only the very filter is given up, and UNSUBACK comes in any case [MQTT-3.10.4-1] [MQTT-3.10.4-5] [MQTT-3.11.3-2] 3.1.1 [MQTT-3.10.4-1] 3.1.1 [MQTT-3.10.4-5]",
  async (stage) => {
    const client = await stage.connect();
    await client.subscribe([[stage.topic("a/+"), 1]]);
    for (const rest of ["a/b", "a/#", "A/+", "a/+/", "+/+"]) {
      const codes = await client.unsubscribe(stage.topic(rest));
      assert.deepEqual(codes, stage.level === 5 ? [0x11] : [], rest);
    }
    await client.publish(stage.topic("a/b"), "hello");
    assert.equal(text(await client.message()), "hello");
  },
);

cases.both(
  "Several filters may be given up at once [MQTT-3.10.4-6] [MQTT-3.11.3-1] 3.1.1 [MQTT-3.10.4-6]",
  async (stage) => {
    const client = await stage.connect();
    const [a, b, c, d] = ["a", "b", "c", "d"].map((rest) => stage.topic(rest)) as [
      string,
      string,
      string,
      string,
    ];
    await client.subscribe([[a, 1], [b, 1], [c, 1]]);
    const codes = await client.unsubscribe(a, d, c, a);
    assert.deepEqual(codes, stage.level === 5 ? [0, 0x11, 0, 0x11] : []);
    for (const topic of [a, b, c, d]) await client.publish(topic, topic, { qos: 1 });
    assert.equal(text(await client.message()), b);
    await client.expectSilence();
  },
);

cases.both(
  "Filters and topics against the rules end the connection [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.0-1] [MQTT-3.8.3-2] [MQTT-3.10.3-2] 3.1.1 [MQTT-4.7.1-2] 3.1.1 [MQTT-4.7.1-3] 3.1.1 [MQTT-4.7.1-1] 3.1.1 [MQTT-3.8.3-3] 3.1.1 [MQTT-3.10.3-2]",
  async (stage) => {
    const { level } = stage;
    const malformed = [
      ...["a#", "a/#/b", "a+", "+a/b", ""].map((filter) => subscribe(level, 1, [filter, 0])),
      ...["a/#", "+/a"].map((topic) => publish(topic, { level })),
      subscribe(level, 1),
      packet(0xa2, uint16(1), level === 5 ? properties() : []),
      packet(0x80, uint16(1), level === 5 ? properties() : [], counted("a"), 0),
      subscribe(level, 1, ["a", 3]),
    ];
    for (const bytes of malformed) {
      const client = await stage.connect();
      await client.raw.send(bytes);
      const reason = await client.closedWith();
      if (level === 5) assert.ok([0x81, 0x82, 0x8f, 0x90].includes(reason!), `reason ${reason}`);
    }
  },
);

cases.v5("With No Local a client does not hear itself [MQTT-3.8.3-3]", async (stage) => {
  const topic = stage.topic("a");
  const one = await stage.subscriber(topic, 2 | NO_LOCAL);
  const other = await stage.subscriber(topic, 2 | NO_LOCAL);
  for (const qos of [0, 1, 2]) await one.publish(topic, `QoS ${qos}`, { qos });
  assert.deepEqual((await other.messages(3)).map(text), ["QoS 0", "QoS 1", "QoS 2"]);
  await other.publish(topic, "end", { qos: 2 });
  assert.deepEqual((await one.messagesBefore("end")).map(text), []);
  await other.expectSilence();
});

cases.v5("A subscription identifier comes with what it brings [MQTT-3.3.4-3]", async (stage) => {
  const client = await stage.connect();
  const largest = 268_435_455;
  for (const value of [1, 127, 128, 456_789, largest]) {
    await client.subscribe([[stage.topic(String(value)), 2]], identifier(value));
    await client.publish(stage.topic(String(value)), "hello", { qos: 1 });
    assert.deepEqual(identifiers(await client.message()), [value]);
  }
  await client.subscribe([[stage.topic("none"), 2]]);
  await client.publish(stage.topic("none"), "hello");
  assert.deepEqual(identifiers(await client.message()), []);
});

cases.v5(
  "The identifiers of all that match come, each client's own [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]",
  async (stage) => {
    const topic = stage.topic("a");
    const one = await stage.connect();
    await one.subscribe([[topic, 2]], identifier(456_789));
    const other = await stage.connect();
    await other.subscribe([[topic, 2]], identifier(2));
    await other.subscribe([[`${topic}/#`, 2]], identifier(3));
    await other.subscribe([[stage.topic("+"), 0]]);
    await other.publish(topic, "hello", { qos: 1 });
    await other.publish(topic, "end", { qos: 1 });
    const [message] = await one.messagesBefore("end");
    assert.deepEqual(identifiers(message!), [456_789]);
    const copies = await other.messagesBefore("end");
    if (copies.length === 1) assert.deepEqual(identifiers(copies[0]!), [2, 3]);
    else assert.deepEqual(copies.map(identifiers).toSorted(), [[], [2], [3]]);
  },
);

cases.v5("Subscribing again gives the subscription its new identifier [MQTT-3.8.4-3]", async (stage) => {
  const topic = stage.topic("a");
  const client = await stage.connect();
  for (const [parts, expected] of [[[identifier(7)], [7]], [[identifier(8)], [8]], [[], []]] as const) {
    await client.subscribe([[topic, 1]], ...parts);
    await client.publish(topic, "hello", { qos: 1 });
    assert.deepEqual(identifiers(await client.message()), expected);
  }
});

cases.v5(
  "An identifier of 0, or in a client's PUBLISH, is a protocol error [MQTT-3.3.4-6] [MQTT-4.13.1-1]",
  async (stage) => {
    const subscriber = await stage.connect();
    await subscriber.raw.send(packet(0x82, uint16(1), properties(0x0b, 0), counted("a"), 0));
    assert.equal(await subscriber.closedWith(), 0x82);
    const publisher = await stage.connect();
    await publisher.raw.send(publisher.publishBytes(stage.topic("a"), "x", { properties: [identifier(1)] }));
    assert.ok([0x81, 0x82].includes(await publisher.closedWith() ?? 0));
  },
);

cases.test("Subscriptions work as the specifications say");
