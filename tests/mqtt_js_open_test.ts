/** MQTT.js, unmodified, on open topics: what both versions have. */
import assert from "node:assert/strict";
import type { ErrorWithSubackPacket } from "mqtt";
import { within } from "./mqtt_client.ts";
import type { JsClient } from "./mqtt_js_client.ts";
import { testOnStages } from "./mqtt_js_stage.ts";

const BOTH = [4, 5] as const;
const QOS = [0, 1, 2] as const;

testOnStages("MQTT.js publishes and hears at every pair of QoS", BOTH, async (stage) => {
  const publisher = await stage.connect();
  for (const granted of QOS) {
    const subscriber = await stage.connect();
    const [suback] = await subscriber.mqtt.subscribeAsync(stage.own("a/+"), { qos: granted });
    assert.equal(suback?.qos, granted);
    for (const qos of QOS) {
      await publisher.mqtt.publishAsync(stage.own("a/b"), `at ${qos}`, { qos });
      const { topic, text, packet } = await subscriber.next();
      assert.deepEqual([topic, text, packet.qos], [stage.own("a/b"), `at ${qos}`, Math.min(qos, granted)]);
      assert.deepEqual([packet.retain, packet.dup], [false, false]);
    }
  }
});

testOnStages(
  "MQTT.js gets one copy at the highest QoS, and nothing after UNSUBSCRIBE",
  BOTH,
  async (stage) => {
    const client = await stage.connect();
    const [low, high] = [stage.own("b/+"), stage.own("b/#")];
    await client.mqtt.subscribeAsync({ [low]: { qos: 0 }, [high]: { qos: 2 } });
    await client.mqtt.publishAsync(stage.own("b/c"), "one", { qos: 2 });
    await client.mqtt.publishAsync(stage.own("b"), "two", { qos: 2 });
    const [one, two] = [await client.next(), await client.next()];
    assert.deepEqual([one.text, one.packet.qos, two.text, two.packet.qos], ["one", 2, "two", 2]);
    await client.mqtt.unsubscribeAsync([low, high]);
    await client.mqtt.publishAsync(stage.own("b/c"), "three", { qos: 2 });
    await client.mqtt.subscribeAsync(high, { qos: 1 });
    await client.mqtt.publishAsync(stage.own("b"), "the end", { qos: 1 });
    assert.deepEqual(await client.before("the end"), []);
  },
);

testOnStages("MQTT.js sets, replaces and clears retained messages", BOTH, async (stage) => {
  const publisher = await stage.connect();
  const topic = stage.own("kept");
  const live = await stage.connect();
  await live.mqtt.subscribeAsync(topic, { qos: 2 });
  for (const qos of QOS) {
    await publisher.mqtt.publishAsync(topic, `at ${qos}`, { qos, retain: true });
    const heard = await live.next();
    assert.equal(heard.packet.retain, false, "it is new to who had subscribed before");
    const subscriber = await stage.connect();
    await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
    const { text, packet } = await subscriber.next();
    assert.deepEqual([text, packet.qos, packet.retain], [`at ${qos}`, qos, true]);
  }
  await publisher.mqtt.publishAsync(topic, "", { qos: 1, retain: true });
  assert.equal((await live.next()).text, "", "that it is cleared is a message, too");
  const late = await stage.connect();
  await late.mqtt.subscribeAsync(topic, { qos: 2 });
  await publisher.mqtt.publishAsync(topic, "the end", { qos: 1 });
  assert.deepEqual(await late.before("the end"), []);
});

testOnStages("MQTT.js leaves a will, and takes it along when it says good-bye", BOTH, async (stage) => {
  const watch = await stage.connect();
  const topic = stage.own("will");
  await watch.mqtt.subscribeAsync(topic, { qos: 2 });
  const willOf = (payload: string) => ({ will: { topic, payload, qos: 1 as const, retain: true } });
  const polite = await stage.connect(willOf("of the polite"));
  await polite.mqtt.endAsync();
  const lost = await stage.connect(willOf("of the lost"));
  await lost.lose();
  const { text, packet } = await watch.next();
  assert.deepEqual([text, packet.qos], ["of the lost", 1]);
  const late = await stage.connect();
  await late.mqtt.subscribeAsync(topic, { qos: 2 });
  const kept = await late.next();
  assert.deepEqual([kept.text, kept.packet.retain], ["of the lost", true]);
});

testOnStages("MQTT.js finds its session and what came meanwhile, in order", BOTH, async (stage) => {
  const clientId = stage.own("lasting");
  const older = await stage.resume(clientId);
  assert.equal(older.connack.sessionPresent, false);
  await older.mqtt.subscribeAsync(stage.own("queue/#"), { qos: 2 });
  await older.mqtt.endAsync();
  const publisher = await stage.connect();
  const expected: string[] = [];
  for (let i = 0; i < 10; i++) {
    for (const qos of QOS) {
      expected.push(`${i} at ${qos}`);
      await publisher.mqtt.publishAsync(stage.own(`queue/${qos}`), `${i} at ${qos}`, { qos });
    }
  }
  const newer = await stage.resume(clientId);
  assert.equal(newer.connack.sessionPresent, true);
  await publisher.mqtt.publishAsync(stage.own("queue/end"), "the end", { qos: 2 });
  const heard = await newer.before("the end");
  assert.deepEqual(heard.map(({ text }) => text).sort(), expected.sort());
  for (const qos of QOS) {
    const own = heard.filter(({ packet }) => packet.qos === qos).map(({ text }) => text);
    assert.deepEqual(own, Array.from({ length: 10 }, (_, i) => `${i} at ${qos}`));
  }
  await newer.mqtt.endAsync();
  const again = await stage.resume(clientId);
  await publisher.mqtt.publishAsync(stage.own("queue/end"), "the end", { qos: 2 });
  assert.deepEqual(await again.before("the end"), [], "what was acknowledged does not come again");
});

testOnStages("MQTT.js loses its connection, comes again and goes on", BOTH, async (stage) => {
  const other = await stage.connect();
  const client = await stage.resume(stage.own("returning"), { resubscribe: false });
  await client.mqtt.subscribeAsync(stage.own("down"), { qos: 1 });
  await other.mqtt.subscribeAsync(stage.own("up"), { qos: 2 });
  await client.lose();
  await other.mqtt.publishAsync(stage.own("down"), "while it was away", { qos: 1 });
  const sending = ([1, 2] as const).map((qos) =>
    client.mqtt.publishAsync(stage.own("up"), `kept at ${qos}`, { qos })
  );
  await client.comeAgain();
  assert.equal(client.connack.sessionPresent, true);
  assert.equal((await client.next()).text, "while it was away");
  await within("every PUBACK and PUBCOMP", Promise.all(sending));
  await other.mqtt.publishAsync(stage.own("up"), "the end", { qos: 2 });
  assert.deepEqual((await other.before("the end")).map(({ text }) => text).sort(), [
    "kept at 1",
    "kept at 2",
  ]);
});

testOnStages("MQTT.js begins anew where it asks to", BOTH, async (stage) => {
  const clientId = stage.own("anew");
  const topic = stage.own("news");
  const older = await stage.resume(clientId);
  await older.mqtt.subscribeAsync(topic, { qos: 1 });
  await older.mqtt.endAsync();
  const publisher = await stage.connect();
  await publisher.mqtt.publishAsync(topic, "for the old session", { qos: 1 });
  const newer = await stage.connect({ clientId, clean: true });
  assert.equal(newer.connack.sessionPresent, false);
  await publisher.mqtt.publishAsync(topic, "for nobody", { qos: 1 });
  await newer.mqtt.subscribeAsync(topic, { qos: 1 });
  await publisher.mqtt.publishAsync(topic, "the end", { qos: 1 });
  assert.deepEqual(await newer.before("the end"), []);
  await newer.mqtt.endAsync();
  const last = await stage.resume(clientId);
  assert.equal(last.connack.sessionPresent, false, "a clean session ends with its connection");
});

testOnStages("Members of $share of MQTT.js take turns", BOTH, async (stage) => {
  const topicFilter = `$share/group/${stage.own("work/#")}`;
  const members: JsClient[] = [];
  for (let i = 0; i < 3; i++) {
    const member = await stage.connect();
    await member.mqtt.subscribeAsync(topicFilter, { qos: 1 });
    await member.mqtt.subscribeAsync(stage.own("end"), { qos: 1 });
    members.push(member);
  }
  const whole = await stage.connect();
  await whole.mqtt.subscribeAsync({ [stage.own("work/#")]: { qos: 1 }, [stage.own("end")]: { qos: 1 } });
  const publisher = await stage.connect();
  const all = Array.from({ length: 30 }, (_, i) => String(i));
  for (const text of all) await publisher.mqtt.publishAsync(stage.own("work/a"), text, { qos: 1 });
  await publisher.mqtt.publishAsync(stage.own("end"), "the end", { qos: 1 });
  const shares = await Promise.all(
    members.map(async (member) => (await member.before("the end")).map(({ text }) => text)),
  );
  assert.deepEqual(shares.map(({ length }) => length), [10, 10, 10]);
  assert.deepEqual(shares.flat().sort(), all.toSorted());
  assert.deepEqual(
    (await whole.before("the end")).map(({ text }) => text),
    all,
    "who does not share gets all",
  );
});

testOnStages("MQTT.js is taken over, and the newer connection has the session", BOTH, async (stage) => {
  const clientId = stage.own("twice");
  const topic = stage.own("to the newer");
  const older = await stage.resume(clientId);
  await older.mqtt.subscribeAsync(topic, { qos: 1 });
  const closed = new Promise<void>((resolve) => older.mqtt.once("close", () => resolve()));
  const newer = await stage.resume(clientId);
  assert.equal(newer.connack.sessionPresent, true);
  if (stage.level === 5) assert.equal(await older.told, 0x8e);
  await closed;
  await newer.mqtt.publishAsync(topic, "hello", { qos: 1 });
  assert.equal((await newer.next()).text, "hello");
});

testOnStages(
  "MQTT.js is refused what is not open: told in 5.0, and in 3.1.1 by SUBACK alone",
  BOTH,
  async (stage) => {
    const client = await stage.connect();
    const [open, closed] = [`open/${stage.own("a")}`, `closed/${stage.own("a")}`];
    await client.mqtt.subscribeAsync(open, { qos: 2 });
    for (const topicFilter of [closed, "#", "im/x", "me/inbox", "$SYS/#", `$share/g/${closed}`]) {
      const code = stage.level === 5 ? 0x87 : 0x80;
      await assert.rejects(client.mqtt.subscribeAsync(topicFilter, { qos: 1 }), (refusal) => {
        assert.deepEqual((refusal as ErrorWithSubackPacket).packet.granted, [code], topicFilter);
        return true;
      });
    }
    for (const topic of [closed, "im/x", "me/inbox", "$SYS/a"]) {
      for (const qos of [1, 2] as const) {
        const sending = client.mqtt.publishAsync(topic, "x", { qos });
        if (stage.level === 5) await assert.rejects(sending, { code: 0x87 }, topic);
        else await sending;
      }
    }
    const will = { topic: closed, payload: "x" };
    await assert.rejects(stage.connect({ will }), { code: stage.level === 5 ? 0x87 : 5 });
    await client.mqtt.publishAsync(open, "the connection goes on", { qos: 2 });
    assert.equal((await client.next()).text, "the connection goes on");
  },
  { OPEN_TOPICS: "open/#" },
);
