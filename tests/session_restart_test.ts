/** What a session has outlives the process, however that ends. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IPublishPacket } from "mqtt-packet";
import { text } from "./conformance_client.ts";
import { ENDINGS, LastingBroker } from "./lasting_broker.ts";
import { counted, join, uint32, userProperty, variable } from "./mqtt_bytes.ts";

const LEVELS = [4, 5] as const;
const HOUR = 3_600;
const NO_LOCAL = 0x04;
const RETAIN_AS_PUBLISHED = 0x08;

/** A session that goes on where it stood. */
const LASTING = { clean: false, expirySeconds: HOUR };

/** Bytes as text, different for every size. */
function bodyOf(bytes: number): string {
  return `${bytes} `.repeat(bytes / (String(bytes).length + 1) + 1).slice(0, bytes);
}

/** What a subscriber is told of a message besides its body. */
function seen({ qos, retain, properties }: IPublishPacket) {
  return { qos, retain, properties: { ...properties } };
}

for (const ending of ENDINGS) {
  Deno.test(`Subscriptions outlive ${ending} of the server, with their options`, async () => {
    await using broker = await LastingBroker.start();
    for (const level of LEVELS) {
      const client = await broker.connect(`client-${level}`, level, LASTING);
      assert.equal(client.connack.sessionPresent, false);
      await client.subscribe([["once/+", 0], ["twice/#", 2], ["gone/+", 1]]);
      await client.subscribe([["twice/#", 1]]);
      await client.unsubscribe("gone/+");
    }
    const options = await broker.connect("options", 5, LASTING);
    await options.subscribe([["own/+", 1 | NO_LOCAL]], 0x0b, variable(268_435_455));
    await options.subscribe([["kept/+", 1 | RETAIN_AS_PUBLISHED]], 0x0b, variable(7));
    await options.subscribe([["$share/group/kept/+", 1]]);
    await broker.end(ending);
    await broker.start();

    const publisher = await broker.connect("publisher", 5);
    for (const topic of ["gone/a", "once/a", "twice"]) await publisher.publish(topic, topic, { qos: 2 });
    for (const level of LEVELS) {
      const client = await broker.connect(`client-${level}`, level, LASTING);
      assert.equal(client.connack.sessionPresent, true);
      const heard = await client.messages(2);
      assert.deepEqual(heard.map(({ topic, qos }) => [topic, qos]), [["once/a", 0], ["twice", 1]]);
      await client.expectSilence();
    }
    const again = await broker.connect("options", 5, LASTING);
    assert.equal(again.connack.sessionPresent, true);
    await again.publish("own/a", "not to itself", { qos: 1 });
    await publisher.publish("own/a", "from another", { qos: 1 });
    await publisher.publish("kept/a", "retained", { qos: 1, isRetain: true });
    const [own, kept, shared] = await again.messages(3);
    assert.equal(text(own!), "from another");
    assert.deepEqual(seen(own!).properties, { subscriptionIdentifier: 268_435_455 });
    assert.deepEqual(seen(kept!), { qos: 1, retain: true, properties: { subscriptionIdentifier: 7 } });
    assert.deepEqual(seen(shared!), { qos: 1, retain: false, properties: {} });
  });

  Deno.test(`Messages for absent clients outlive ${ending} of the server, whole and in order`, async () => {
    // Deno KV takes 64 KiB in a value and 800 KiB in a commit.
    const sizes = [0, 1, 60_000, 65_535, 65_536, 65_537, 200_000, 819_200, 1_048_576, 2_500_000];
    await using broker = await LastingBroker.start({
      MAX_PACKET_BYTES: "4194304",
      MAX_QUEUED_BYTES: "67108864",
    });
    for (const level of LEVELS) {
      const client = await broker.connect(`client-${level}`, level, LASTING);
      await client.subscribe([["queue/+", 2]]);
      await client.disconnect();
    }
    const publisher = await broker.connect("publisher", 5);
    const parts = [
      [0x02, uint32(HOUR)],
      [0x03, counted("text/plain")],
      [0x08, counted("answers")],
      [0x09, counted([0, 255])],
      [userProperty("b", "1")],
      [userProperty("a", "2")],
      [userProperty("b", "3")],
    ].map((part) => join(...part));
    for (const size of sizes) {
      for (const qos of [0, 1, 2]) {
        await publisher.publish(`queue/${qos}`, bodyOf(size), { qos, properties: parts });
      }
    }
    await broker.end(ending);
    await broker.start();

    for (const level of LEVELS) {
      const client = await broker.connect(`client-${level}`, level, LASTING);
      for (const size of sizes) {
        for (const qos of [0, 1, 2]) {
          const message = await client.message();
          assert.deepEqual([message.topic, message.qos], [`queue/${qos}`, qos], `${size} bytes`);
          assert.ok(text(message) === bodyOf(size), `${size} bytes`);
          if (level === 4) continue;
          const { messageExpiryInterval, userProperties, ...properties } = { ...message.properties };
          assert.ok(messageExpiryInterval! <= HOUR && messageExpiryInterval! > HOUR - 60);
          assert.deepEqual(Object.entries({ ...userProperties }), [["b", ["1", "3"]], ["a", "2"]]);
          assert.deepEqual(properties, {
            contentType: "text/plain",
            responseTopic: "answers",
            correlationData: Buffer.of(0, 255),
          });
        }
      }
      await client.expectSilence();
      await client.disconnect();
      const again = await broker.connect(`client-${level}`, level, LASTING);
      await again.expectSilence();
    }
  });

  Deno.test(`Retained messages outlive ${ending} of the server as they were last set`, async () => {
    await using broker = await LastingBroker.start({ MAX_PACKET_BYTES: "4194304" });
    const publisher = await broker.connect("publisher", 5);
    const retain = (topic: string, payload: string, qos = 1, ...properties: Uint8Array[]) =>
      publisher.publish(topic, payload, { qos, isRetain: true, properties });
    const large = bodyOf(1_500_000);
    await retain("set", "as it was set", 2, userProperty("n", "v"));
    await retain("replaced", "old");
    await retain("replaced", "new");
    await retain("large", large);
    await retain("shrunk", large);
    await retain("shrunk", "small");
    await retain("grown", "small");
    await retain("grown", large, 2);
    await retain("cleared", "gone");
    await retain("cleared", "");
    await retain("large/cleared", large);
    await retain("large/cleared", "");
    await retain("set again", "old");
    await retain("set again", "");
    await retain("set again", "new", 1, join(0x02, uint32(HOUR)));
    await retain("at most once", "taken in", 0);
    // Nothing answers that one: it has been taken in when this is answered.
    await publisher.publish("elsewhere", "", { qos: 1 });
    await broker.settled();
    await broker.end(ending);
    await broker.start();

    for (const level of LEVELS) {
      const subscriber = await broker.connect("subscriber", level);
      await subscriber.subscribe([["#", 2]]);
      const found = new Map<string, IPublishPacket>();
      for (const message of await subscriber.messages(7)) found.set(message.topic, message);
      await subscriber.expectSilence();
      const bodies = [...found].map(([topic, message]) => [topic, text(message)]);
      assert.deepEqual(
        new Map(bodies as [string, string][]),
        new Map([
          ["at most once", "taken in"],
          ["grown", large],
          ["large", large],
          ["replaced", "new"],
          ["set", "as it was set"],
          ["set again", "new"],
          ["shrunk", "small"],
        ]),
      );
      assert.deepEqual([...found.values()].map(({ retain }) => retain), Array(7).fill(true));
      assert.deepEqual(["set", "grown", "replaced", "at most once"].map((topic) => found.get(topic)!.qos), [
        2,
        2,
        1,
        0,
      ]);
      if (level === 4) continue;
      assert.deepEqual({ ...found.get("set")!.properties?.userProperties }, { n: "v" });
      const seconds = found.get("set again")!.properties?.messageExpiryInterval;
      assert.ok(seconds! <= HOUR && seconds! > HOUR - 60);
    }
  });

  Deno.test(`A session that begins anew before ${ending} of the server has nothing of the old one`, async () => {
    await using broker = await LastingBroker.start();
    const publisher = await broker.connect("publisher", 5);
    for (const level of LEVELS) {
      const older = await broker.connect(`client-${level}`, level, LASTING);
      await older.subscribe([["news", 2]]);
      await older.disconnect();
      await publisher.publish("news", "old", { qos: 2 });
      const newer = await broker.connect(`client-${level}`, level, { ...LASTING, clean: true });
      await newer.expectSilence();
      // In 3.1.1 a clean session ends with its connection.
      if (level === 5) await newer.subscribe([["new", 2]]);
    }
    await broker.end(ending);
    await broker.start();
    const other = await broker.connect("other", 5);
    for (const topic of ["news", "new"]) await other.publish(topic, topic, { qos: 2 });
    for (const level of LEVELS) {
      const client = await broker.connect(`client-${level}`, level, LASTING);
      assert.equal(client.connack.sessionPresent, level === 5);
      if (level === 5) assert.equal(text(await client.message()), "new");
      await client.expectSilence();
    }
  });
}
