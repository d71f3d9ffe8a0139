/** Sessions that outlive their connections: what is kept, what is sent again, when they end. */
import assert from "node:assert/strict";
import { Conformance, type Stage } from "./conformance.ts";
import { type ConformanceClient, type Hello, text } from "./conformance_client.ts";
import { acknowledgement, join, packet, uint16, uint32 } from "./mqtt_bytes.ts";

const cases = new Conformance();
const QOS = [0, 1, 2] as const;

/** The CONNECT of a client that means to come back. */
function lasting(stage: Stage, expirySeconds = 1000): Hello & { readonly clientId: string } {
  return { clientId: `${stage.name}lasting`, clean: false, expirySeconds };
}

/** Whether the server knows of a session; the client that asked is connected to it then. */
async function resume(stage: Stage, hello: Hello): Promise<ConformanceClient> {
  const client = await stage.connect(hello);
  assert.equal(client.connack.sessionPresent, true);
  return client;
}

cases.both(
  "Messages for an absent client wait for it [MQTT-4.5.0-1] [MQTT-3.1.2-23] [MQTT-3.1.2-5] [MQTT-3.2.2-3] 3.1.1 [MQTT-4.5.0-1] 3.1.1 [MQTT-3.1.2-4] 3.1.1 [MQTT-3.1.2-5] 3.1.1 [MQTT-3.2.2-2]",
  async (stage) => {
    const hello = lasting(stage);
    const away = await stage.subscriber(stage.topic("+"), 2, hello);
    await away.disconnect();
    const publisher = await stage.connect();
    for (const qos of QOS) await publisher.publish(stage.topic(String(qos)), `QoS ${qos}`, { qos });
    const again = await resume(stage, hello);
    await again.publish(stage.topic("last"), "end", { qos: 2 });
    const messages = await again.messagesBefore("end");
    // Whether QoS 0 waits too is the server's choice: here it does.
    assert.deepEqual(messages.map(text).toSorted(), ["QoS 0", "QoS 1", "QoS 2"]);
    for (const message of messages) assert.equal(text(message), `QoS ${message.qos}`);
    for (const message of messages) assert.equal(message.dup, false);
  },
);

cases.both(
  "Waiting messages come in their order [MQTT-4.6.0-5] 3.1.1 [MQTT-4.6.0-6]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const away = await stage.subscriber(topic, 2, hello);
    await away.disconnect();
    const publisher = await stage.connect();
    const numbers = Array.from({ length: 40 }, (_, i) => String(i));
    for (const number of numbers) await publisher.publish(topic, number, { qos: 1 + Number(number) % 2 });
    const again = await resume(stage, hello);
    const heard = await again.messages(40);
    for (const qos of [1, 2]) {
      assert.deepEqual(
        heard.filter((message) => message.qos === qos).map(text),
        numbers.filter((_, i) => 1 + i % 2 === qos),
      );
    }
    await again.expectSilence();
  },
);

cases.both(
  "A session without subscriptions is a session, and without Clean Start a new one begins [MQTT-3.2.2-3] [MQTT-3.1.2-6] 3.1.1 [MQTT-3.2.2-2] 3.1.1 [MQTT-3.2.2-3]",
  async (stage) => {
    const hello = lasting(stage);
    const first = await stage.connect(hello);
    assert.equal(first.connack.sessionPresent, false);
    await first.disconnect();
    const second = await resume(stage, hello);
    await second.drop();
    await resume(stage, hello);
  },
);

cases.both(
  "Clean Start discards the session with all that it holds [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.1.4-4] 3.1.1 [MQTT-3.1.2-6] 3.1.1 [MQTT-3.2.2-1] 3.1.1 [MQTT-3.1.4-3]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const old = await stage.subscriber(topic, 1, hello);
    await old.disconnect();
    const publisher = await stage.connect();
    await publisher.publish(topic, "waiting", { qos: 1 });
    const clean = await stage.connect({ clientId: hello.clientId });
    assert.equal(clean.connack.sessionPresent, false);
    await publisher.publish(topic, "live", { qos: 1 });
    await clean.subscribe([[stage.topic("last"), 1]]);
    await publisher.publish(stage.topic("last"), "end", { qos: 1 });
    assert.deepEqual((await clean.messagesBefore("end")).map(text), []);
    await clean.disconnect();
    // Nor is the clean session kept.
    const again = await stage.connect(hello);
    assert.equal(again.connack.sessionPresent, false);
  },
);

cases.both(
  "What was not acknowledged is sent again on return, with DUP and the same identifiers [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] 3.1.1 [MQTT-4.4.0-1] 3.1.1 [MQTT-3.3.1-1]",
  async (stage) => {
    const hello = lasting(stage);
    const client = await stage.subscriber(stage.topic("#"), 2, hello);
    const sent = [];
    for (const qos of [1, 2, 1, 2]) {
      await client.publish(stage.topic(String(qos)), `QoS ${qos}`, { qos });
      sent.push(await client.take("publish"));
    }
    assert.deepEqual(sent.map(({ dup }) => dup), [false, false, false, false]);
    await client.disconnect();
    // Twice, and in the order of the first sending; the second time some are acknowledged.
    const between = await resume(stage, hello);
    for (const message of sent) {
      const again = await between.take("publish");
      assert.deepEqual(
        [again.messageId, again.topic, text(again), again.qos, again.dup],
        [message.messageId, message.topic, text(message), message.qos, true],
      );
    }
    await between.expectSilence();
    await between.acknowledge(sent[0]!);
    await between.acknowledge(sent[1]!);
    await between.expectSilence();
    await between.drop();
    const last = await resume(stage, hello);
    const left = await last.messages(2);
    assert.deepEqual(left.map(({ messageId }) => messageId), [sent[2]!.messageId, sent[3]!.messageId]);
    await last.disconnect();
    await (await resume(stage, hello)).expectSilence();
  },
);

cases.both(
  "Behind a PUBREC only PUBREL is sent again [MQTT-4.3.3-6] [MQTT-4.3.3-5] [MQTT-4.4.0-1] 3.1.1 [MQTT-4.3.3-1] 3.1.1 [MQTT-4.4.0-1]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 2, hello);
    await client.publish(topic, "once", { qos: 2 });
    const { messageId } = await client.take("publish");
    await client.raw.send(acknowledgement(0x50, messageId!));
    await client.take("pubrel");
    await client.drop();
    const again = await resume(stage, hello);
    assert.equal((await again.take("pubrel")).messageId, messageId);
    await again.expectSilence();
    await again.raw.send(acknowledgement(0x70, messageId!));
    await again.expectSilence();
    await again.drop();
    const last = await resume(stage, hello);
    await last.publish(topic, "end", { qos: 2 });
    assert.deepEqual((await last.messagesBefore("end")).map(text), []);
  },
);

cases.both(
  "A QoS 2 message that is cut off before its PUBREL is taken over once [MQTT-4.3.3-10] [MQTT-4.3.3-11] 3.1.1 [MQTT-4.3.3-2] 3.1.1 [MQTT-4.1.0-1]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const listener = await stage.subscriber(topic, 2);
    const publisher = await stage.connect(hello);
    await publisher.raw.send(
      publisher.publishBytes(topic, "sent again", { qos: 2, packetId: 21 }),
      publisher.publishBytes(topic, "released", { qos: 2, packetId: 22 }),
    );
    for (const packetId of [21, 22]) assert.equal((await publisher.take("pubrec")).messageId, packetId);
    await publisher.drop();
    const again = await resume(stage, hello);
    await again.raw.send(again.publishBytes(topic, "sent again", { qos: 2, packetId: 21, isDup: true }));
    assert.equal((await again.take("pubrec")).messageId, 21);
    assert.equal(await again.release(21), 0);
    assert.equal(await again.release(22), 0);
    await again.publish(topic, "end", { qos: 2 });
    assert.deepEqual((await listener.messagesBefore("end")).map(text), ["sent again", "released"]);
  },
);

cases.both(
  "Without a session an identifier means nothing from before [MQTT-3.1.2-4] 3.1.1 [MQTT-3.1.2-6]",
  async (stage) => {
    const { clientId } = lasting(stage);
    const topic = stage.topic("a");
    const listener = await stage.subscriber(topic, 2);
    for (const payload of ["one", "two"]) {
      const publisher = await stage.connect({ clientId });
      await publisher.raw.send(publisher.publishBytes(topic, payload, { qos: 2, packetId: 5 }));
      await publisher.take("pubrec");
      if (payload === "two") await publisher.release(5);
      await publisher.drop();
    }
    await listener.publish(topic, "end", { qos: 2 });
    // The first ended with its session, before or after it was delivered; the second is no repetition of it.
    assert.equal((await listener.messagesBefore("end")).map(text).at(-1), "two");
  },
);

cases.both(
  "A take-over goes on with the session, and with what was under way [MQTT-3.1.4-3] [MQTT-3.1.2-5] 3.1.1 [MQTT-3.1.4-2] 3.1.1 [MQTT-3.1.2-4]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const older = await stage.subscriber(topic, 1, hello);
    await older.publish(topic, "under way", { qos: 1 });
    const { messageId } = await older.take("publish");
    const newer = await resume(stage, hello);
    assert.equal(await older.closedWith(), stage.level === 5 ? 0x8e : null);
    const again = await newer.message();
    assert.deepEqual([again.messageId, text(again), again.dup], [messageId, "under way", true]);
    await newer.publish(topic, "live", { qos: 1 });
    assert.equal(text(await newer.message()), "live");
    await newer.expectSilence();
  },
);

cases.both(
  "What is under way comes before what has waited [MQTT-4.6.0-5] 3.1.1 [MQTT-4.6.0-6]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 1, hello);
    await client.publish(topic, "one", { qos: 1 });
    await client.take("publish");
    await client.disconnect();
    const publisher = await stage.connect();
    for (const payload of ["two", "three"]) await publisher.publish(topic, payload, { qos: 1 });
    const again = await resume(stage, hello);
    const messages = await again.messages(3);
    assert.deepEqual(messages.map(text), ["one", "two", "three"]);
    assert.deepEqual(messages.map(({ dup }) => dup), [true, false, false]);
  },
);

cases.both(
  "A subscription given up is given up for good, what it began is finished [MQTT-3.10.4-3] [MQTT-3.10.4-2] 3.1.1 [MQTT-3.10.4-3] 3.1.1 [MQTT-3.10.4-2]",
  async (stage) => {
    const hello = lasting(stage);
    const topic = stage.topic("a");
    const client = await stage.subscriber(topic, 2, hello);
    for (const qos of [1, 2]) await client.publish(topic, `QoS ${qos}`, { qos });
    const begun = [await client.take("publish"), await client.take("publish")];
    await client.unsubscribe(topic);
    await client.publish(topic, "too late", { qos: 1 });
    await client.disconnect();
    const again = await resume(stage, hello);
    const messages = await again.messages(2);
    assert.deepEqual(messages.map(text), ["QoS 1", "QoS 2"]);
    assert.deepEqual(messages.map(({ messageId }) => messageId), begun.map(({ messageId }) => messageId));
    await again.expectSilence();
  },
);

cases.v5("A message that the client refuses is not sent again [MQTT-4.4.0-2]", async (stage) => {
  const hello = lasting(stage);
  const topic = stage.topic("a");
  const client = await stage.subscriber(topic, 2, hello);
  for (const qos of [1, 2]) {
    await client.publish(topic, `QoS ${qos}`, { qos });
    const { messageId } = await client.take("publish");
    await client.raw.send(packet(qos === 1 ? 0x40 : 0x50, uint16(messageId!), 0x83));
  }
  await client.expectSilence();
  await client.disconnect();
  await (await resume(stage, hello)).expectSilence();
});

cases.v5(
  "Without an expiry, or with one of 0, a session ends with its connection [MQTT-4.1.0-2]",
  async (stage) => {
    for (const expiry of [{}, { expirySeconds: 0 }]) {
      const hello = { clientId: lasting(stage).clientId, clean: false, ...expiry };
      const client = await stage.subscriber(stage.topic("a"), 2, hello);
      await client.disconnect();
      const again = await stage.connect(hello);
      assert.equal(again.connack.sessionPresent, false);
      await again.disconnect();
    }
  },
);

cases.v5("A session ends when its expiry has passed, and not before [MQTT-4.1.0-2]", async (stage) => {
  const topic = stage.topic("ended");
  const watch = await stage.subscriber(topic);
  const hello = lasting(stage, 2);
  const away = await stage.connect(hello);
  await away.disconnect();
  // It has returned in time: the seconds count anew.
  const again = await resume(stage, { ...hello, will: { topic, payload: "ended", delaySeconds: 1000 } });
  await again.drop();
  assert.equal(text(await watch.message()), "ended");
  const late = await stage.connect(hello);
  assert.equal(late.connack.sessionPresent, false);
});

cases.v5("DISCONNECT may make the expiry longer [MQTT-3.1.2-23]", async (stage) => {
  for (const seconds of [1000, 999_999_999, 0xffff_ffff]) {
    const hello = { ...lasting(stage, 1), clientId: stage.topic(String(seconds)) };
    const client = await stage.connect(hello);
    await client.disconnect(0, join(0x11, uint32(seconds)));
  }
  await stage.pass(2);
  for (const seconds of [1000, 999_999_999, 0xffff_ffff]) {
    await resume(stage, { ...lasting(stage), clientId: stage.topic(String(seconds)) });
  }
});

cases.v5("DISCONNECT may end the session at once [MQTT-4.1.0-2]", async (stage) => {
  const hello = lasting(stage);
  const client = await stage.connect(hello);
  await client.disconnect(0, join(0x11, uint32(0)));
  const again = await stage.connect(hello);
  assert.equal(again.connack.sessionPresent, false);
});

cases.v5("DISCONNECT cannot make a session last that was to end [MQTT-4.13.1-1]", async (stage) => {
  const topic = stage.topic("will");
  const watch = await stage.subscriber(topic);
  const hello = { ...lasting(stage, 0), will: { topic, payload: "no good-bye" } };
  const client = await stage.connect(hello);
  await client.raw.send(packet(0xe0, 0, 5, 0x11, uint32(1000)));
  assert.equal(await client.closedWith(), 0x82);
  assert.equal(text(await watch.message()), "no good-bye");
  const again = await stage.connect(hello);
  assert.equal(again.connack.sessionPresent, false);
});

cases.test("Sessions are kept as the specifications say");
