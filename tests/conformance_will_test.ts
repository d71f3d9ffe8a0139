/** Wills and will delay. */
import assert from "node:assert/strict";
import { Conformance } from "./conformance.ts";
import { PINGREQ, text } from "./conformance_client.ts";
import { counted, join, publish, uint32, userProperty } from "./mqtt_bytes.ts";

const cases = new Conformance();

cases.both(
  "A will is sent when the connection breaks, at its QoS [MQTT-3.1.2-8] [MQTT-3.1.2-7] [MQTT-3.1.2-9] 3.1.1 [MQTT-3.1.2-8] 3.1.1 [MQTT-3.1.2-9]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic, 2);
    for (const qos of [0, 1, 2]) {
      const client = await stage.connect({ will: { topic, payload: `QoS ${qos}`, qos } });
      await client.drop();
      const message = await watch.message();
      assert.deepEqual([text(message), message.qos, message.retain], [`QoS ${qos}`, qos, false]);
    }
  },
);

cases.both(
  "A will is sent once [MQTT-3.1.2-10] 3.1.1 [MQTT-3.1.2-10]",
  async (stage) => {
    const topic = stage.topic("will");
    const clientId = `${stage.name}x`;
    const watch = await stage.subscriber(topic, 1);
    const client = await stage.connect({ clientId, will: { topic, payload: "gone", qos: 1 } });
    await client.drop();
    assert.equal(text(await watch.message()), "gone");
    // The same client without a will, and gone once more.
    const again = await stage.connect({ clientId });
    await again.drop();
    const other = await stage.connect({ will: { topic, payload: "end", qos: 1 } });
    await other.drop();
    assert.deepEqual((await watch.messagesBefore("end")).map(text), []);
  },
);

cases.both(
  "DISCONNECT takes the will along [MQTT-3.14.4-3] [MQTT-3.1.2-10] 3.1.1 [MQTT-3.14.4-3] 3.1.1 [MQTT-3.1.2-10]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic, 1);
    const client = await stage.connect({ will: { topic, payload: "gone", qos: 1 } });
    await client.disconnect();
    await watch.publish(topic, "end", { qos: 1 });
    assert.deepEqual((await watch.messagesBefore("end")).map(text), []);
  },
);

cases.both(
  "A client that breaks the protocol leaves its will [MQTT-3.1.2-8] 3.1.1 [MQTT-3.1.2-8]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic);
    const client = await stage.connect({ will: { topic, payload: "broke it" } });
    await client.raw.send(publish("a/#", { level: stage.level }));
    assert.equal(text(await watch.message()), "broke it");
  },
);

cases.both(
  "A retained will is kept for later subscribers, another is not [MQTT-3.1.2-15] [MQTT-3.1.2-14] 3.1.1 [MQTT-3.1.2-17] 3.1.1 [MQTT-3.1.2-16]",
  async (stage) => {
    const watch = await stage.subscriber(stage.topic("+"));
    for (const isRetain of [false, true]) {
      const topic = stage.topic(isRetain ? "kept" : "passing");
      const client = await stage.connect({ will: { topic, payload: topic, qos: 1, isRetain } });
      await client.drop();
      const message = await watch.message();
      assert.deepEqual([text(message), message.retain], [topic, false]);
    }
    const late = await stage.connect();
    await late.subscribe([[stage.topic("passing"), 1]]);
    await late.subscribe([[stage.topic("kept"), 1]]);
    const message = await late.message();
    assert.deepEqual([text(message), message.retain], [stage.topic("kept"), true]);
    await late.expectSilence();
  },
);

cases.both(
  "An empty retained will clears its topic [MQTT-3.3.1-6] 3.1.1 [MQTT-3.3.1-10]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.connect();
    await watch.publish(topic, "kept", { qos: 1, isRetain: true });
    await watch.subscribe([[topic, 1]]);
    assert.equal(text(await watch.message()), "kept");
    const client = await stage.connect({ will: { topic, payload: "", isRetain: true } });
    await client.drop();
    assert.equal(text(await watch.message()), "");
    await (await stage.subscriber(topic)).expectSilence();
  },
);

cases.both(
  "A take-over leaves the will of the older connection [MQTT-3.1.2-8] 3.1.1 [MQTT-3.1.2-8]",
  async (stage) => {
    const topic = stage.topic("will");
    const clientId = `${stage.name}x`;
    const watch = await stage.subscriber(topic);
    const hello = { clientId, clean: false, expirySeconds: 60 };
    await stage.connect({ ...hello, will: { topic, payload: "older" } });
    const newer = await stage.connect({ ...hello, will: { topic, payload: "newer" } });
    assert.equal(text(await watch.message()), "older");
    await newer.drop();
    assert.equal(text(await watch.message()), "newer");
  },
);

cases.v5("DISCONNECT with Will Message leaves the will [MQTT-3.1.2-8]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const client = await stage.connect({ will: { topic, payload: "on purpose" } });
  await client.disconnect(0x04);
  assert.equal(text(await watch.message()), "on purpose");
});

cases.v5("A will waits for its delay, and its session goes on meanwhile [MQTT-3.1.2-8]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const clientId = `${stage.name}x`;
  const delayed = await stage.connect({
    clientId,
    expirySeconds: 60,
    will: { topic, payload: "delayed", delaySeconds: 1 },
  });
  const longer = await stage.connect({
    expirySeconds: 60,
    will: { topic, payload: "longer", delaySeconds: 2 },
  });
  const prompt = await stage.connect({ expirySeconds: 60, will: { topic, payload: "prompt" } });
  await longer.drop();
  await delayed.drop();
  await prompt.drop();
  assert.deepEqual((await watch.messages(3)).map(text), ["prompt", "delayed", "longer"]);
  const again = await stage.connect({ clientId, clean: false, expirySeconds: 60 });
  assert.equal(again.connack.sessionPresent, true);
});

cases.v5("A will does not outwait its session [MQTT-3.1.2-8] [MQTT-4.1.0-2]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const clientId = `${stage.name}x`;
  const last = { topic, delaySeconds: 1000 };
  const brief = await stage.connect({ clientId, expirySeconds: 1, will: { ...last, payload: "after 1" } });
  const none = await stage.connect({ expirySeconds: 0, will: { ...last, payload: "at once" } });
  await brief.drop();
  await none.drop();
  assert.deepEqual((await watch.messages(2)).map(text), ["at once", "after 1"]);
  const again = await stage.connect({ clientId, clean: false });
  assert.equal(again.connack.sessionPresent, false);
});

cases.v5("A client that returns in time keeps its will unsent [MQTT-3.1.3-9]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic, 1);
  const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 60 };
  const client = await stage.connect({ ...hello, will: { topic, payload: "gone", qos: 1, delaySeconds: 2 } });
  const clock = await stage.connect({
    expirySeconds: 60,
    will: { topic, payload: "end", qos: 1, delaySeconds: 2 },
  });
  await client.drop();
  const again = await stage.connect(hello);
  await clock.drop();
  assert.deepEqual((await watch.messagesBefore("end")).map(text), []);
  await again.expectSilence();
});

cases.v5(
  "A take-over that goes on with the session keeps a delayed will unsent [MQTT-3.1.3-9]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic, 1);
    const hello = { clientId: `${stage.name}x`, clean: false, expirySeconds: 60 };
    const older = await stage.connect({
      ...hello,
      will: { topic, payload: "older", qos: 1, delaySeconds: 1 },
    });
    await stage.connect(hello);
    assert.equal(await older.closedWith(), 0x8e);
    const clock = await stage.connect({
      expirySeconds: 60,
      will: { topic, payload: "end", qos: 1, delaySeconds: 1 },
    });
    await clock.drop();
    assert.deepEqual((await watch.messagesBefore("end")).map(text), []);
  },
);

cases.v5(
  "Clean Start ends the old session, and its delayed will is sent then [MQTT-3.1.2-8] [MQTT-3.1.2-4]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic);
    const clientId = `${stage.name}x`;
    for (const isAway of [false, true]) {
      const payload = isAway ? "of an absent client" : "of a client taken over";
      const client = await stage.connect({
        clientId,
        expirySeconds: 1000,
        will: { topic, payload, delaySeconds: 1000 },
      });
      if (isAway) await client.drop();
      await stage.connect({ clientId });
      assert.equal(text(await watch.message()), payload);
    }
  },
);

cases.v5("A will of a session that DISCONNECT ends does not wait [MQTT-3.1.2-8]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const client = await stage.connect({
    expirySeconds: 1000,
    will: { topic, payload: "ended", delaySeconds: 1000 },
  });
  await client.disconnect(0x04, join(0x11, uint32(0)));
  assert.equal(text(await watch.message()), "ended");
});

cases.v5("A will brings its properties, and not its delay [MQTT-3.1.3-10] [MQTT-3.1.2-9]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const client = await stage.connect({
    expirySeconds: 60,
    will: {
      topic,
      payload: "last words",
      delaySeconds: 1,
      properties: [
        [0x01, 1],
        join(0x02, uint32(500)),
        join(0x03, counted("text/plain")),
        join(0x08, counted("answers/here")),
        join(0x09, counted([0, 1, 255])),
        userProperty("z", "26"),
        userProperty("a", "1"),
        userProperty("m", "13"),
      ],
    },
  });
  await client.drop();
  const { properties } = await watch.message();
  assert.equal(properties?.payloadFormatIndicator, true);
  assert.equal(properties.contentType, "text/plain");
  assert.equal(properties.responseTopic, "answers/here");
  assert.deepEqual([...properties.correlationData!], [0, 1, 255]);
  assert.deepEqual(Object.entries(properties.userProperties!), [["z", "26"], ["a", "1"], ["m", "13"]]);
  // Its expiry counts from when it is sent.
  assert.ok([499, 500].includes(properties.messageExpiryInterval!), `${properties.messageExpiryInterval}`);
  assert.equal("willDelayInterval" in properties, false);
});

cases.both(
  "What precedes the break is delivered before the will [MQTT-4.6.0-5] 3.1.1 [MQTT-4.6.0-6]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic, 1);
    const client = await stage.connect({ will: { topic, payload: "will", qos: 1 } });
    await client.raw.send(
      client.publishBytes(topic, "words", { qos: 1 }),
      client.publishBytes(topic, "more words", { qos: 1, packetId: 2 }),
      PINGREQ,
    );
    await client.take("pingresp");
    await client.drop();
    assert.deepEqual((await watch.messages(3)).map(text), ["words", "more words", "will"]);
  },
);

cases.test("Wills are sent as the specifications say");
