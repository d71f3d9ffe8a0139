/** MQTT.js, unmodified, on open topics: what 5.0 lets client and server agree on, and how the server says no. */
import assert from "node:assert/strict";
import type { ErrorWithSubackPacket } from "mqtt";
import { connect, packet, properties, publish, uint16 } from "./mqtt_bytes.ts";
import { type Door, DOORS } from "./mqtt_client.ts";
import { JsClient } from "./mqtt_js_client.ts";
import { testOnStages } from "./mqtt_js_stage.ts";
import { startServer } from "./server.ts";

const V5 = [5] as const;

testOnStages("MQTT.js gets no more QoS 2 messages at once than its receive maximum", V5, async (stage) => {
  const topic = stage.own("window");
  // It ends its connection over one too many.
  const subscriber = await stage.resume(stage.own("narrow"), { properties: { receiveMaximum: 2 } });
  await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
  const publisher = await stage.connect();
  const all = Array.from({ length: 50 }, (_, i) => String(i));
  await Promise.all(all.map((text) => publisher.mqtt.publishAsync(topic, text, { qos: 2 })));
  await publisher.mqtt.publishAsync(topic, "the end", { qos: 2 });
  assert.deepEqual((await subscriber.before("the end")).map(({ text }) => text), all);
  assert.deepEqual(subscriber.errors, []);
});

testOnStages(
  "MQTT.js is told the server's receive maximum, and sent away when it has more under way",
  V5,
  async (stage) => {
    const client = await stage.connect();
    assert.equal(client.connack.properties?.receiveMaximum, 4);
    // All in one turn, ahead of the first PUBREC.
    for (let i = 0; i < 5; i++) client.mqtt.publish(stage.own("many"), String(i), { qos: 2 });
    assert.equal(await client.told, 0x93);
  },
  { MAX_INFLIGHT_IN: "4" },
);

testOnStages("MQTT.js gets no packet larger than it takes, and all others", V5, async (stage) => {
  const topic = stage.own("size");
  const subscriber = await stage.resume(stage.own("small"), { properties: { maximumPacketSize: 200 } });
  await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
  const publisher = await stage.connect();
  for (const qos of [0, 1, 2] as const) {
    await publisher.mqtt.publishAsync(topic, "x".repeat(300), { qos });
    await publisher.mqtt.publishAsync(topic, `small at ${qos}`, { qos });
  }
  for (const qos of [0, 1, 2]) assert.equal((await subscriber.next()).text, `small at ${qos}`);
  assert.deepEqual(subscriber.errors, []);
});

testOnStages(
  "MQTT.js is told the largest packet the server takes, and sent away over it",
  V5,
  async (stage) => {
    const client = await stage.connect();
    assert.equal(client.connack.properties?.maximumPacketSize, 4_096);
    await client.mqtt.publishAsync(stage.own("size"), "x".repeat(4_000), { qos: 1 });
    client.mqtt.publish(stage.own("size"), "x".repeat(5_000), { qos: 1 });
    assert.equal(await client.told, 0x95);
  },
  { MAX_PACKET_BYTES: "4096" },
);

testOnStages(
  "MQTT.js says how long its session lasts, at CONNECT and at DISCONNECT",
  V5,
  async (stage) => {
    const resume = (name: string, sessionExpiryInterval: number) =>
      stage.resume(stage.own(name), { properties: { sessionExpiryInterval } });
    const asksTooMuch = await resume("long", 5_000);
    assert.equal(asksTooMuch.connack.properties?.sessionExpiryInterval, 1_000, "so long it lasts at most");
    const asksEnough = await resume("medium", 1_000);
    assert.equal(asksEnough.connack.properties?.sessionExpiryInterval, undefined, "as it asked");
    const ends = await resume("ended", 1_000);
    await ends.mqtt.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
    for (const name of ["none", "short"]) {
      const client = await resume(name, name === "none" ? 0 : 1);
      await client.mqtt.endAsync();
    }
    for (const client of [asksTooMuch, asksEnough]) await client.mqtt.endAsync();
    await stage.pass(2);
    for (const name of ["long", "medium", "ended", "none", "short"]) {
      const again = await resume(name, 1_000);
      assert.equal(again.connack.sessionPresent, name === "long" || name === "medium", name);
    }
  },
  { MAX_SESSION_EXPIRY_SECONDS: "1000" },
);

testOnStages(
  "MQTT.js leaves a will that waits: it is sent in its time, unless the client returns",
  V5,
  async (stage) => {
    const topic = stage.own("will");
    const watch = await stage.connect();
    await watch.mqtt.subscribeAsync(topic, { qos: 1 });
    const willOf = (payload: string, willDelayInterval: number) => ({
      will: { topic, payload, qos: 1 as const, properties: { willDelayInterval } },
    });
    const returning = await stage.resume(stage.own("returning"), willOf("of who returned", 1));
    const staying = await stage.resume(stage.own("staying"), willOf("of who stayed away", 1));
    const leaving = await stage.resume(stage.own("leaving"), willOf("left with its DISCONNECT", 0));
    const short = await stage.connect({
      properties: { sessionExpiryInterval: 0 },
      ...willOf("of an ended session", 600),
    });
    await leaving.mqtt.endAsync(false, { reasonCode: 0x04 });
    assert.equal((await watch.next()).text, "left with its DISCONNECT");
    await short.lose();
    assert.equal((await watch.next()).text, "of an ended session", "a will does not outwait its session");
    await returning.lose();
    const returned = await stage.resume(stage.own("returning"));
    assert.equal(returned.connack.sessionPresent, true);
    await staying.lose();
    await stage.pass(2);
    await returned.mqtt.publishAsync(topic, "the end", { qos: 1 });
    assert.deepEqual((await watch.before("the end")).map(({ text }) => text), ["of who stayed away"]);
  },
);

testOnStages("MQTT.js without an identifier is given one, each another", V5, async (stage) => {
  const [one, two] = [await stage.connect({ clientId: "" }), await stage.connect({ clientId: "" })];
  const ids = [one, two].map(({ connack }) => connack.properties?.assignedClientIdentifier);
  assert.ok(ids.every((id) => typeof id === "string" && id !== ""));
  assert.notEqual(ids[0], ids[1]);
  const named = await stage.connect();
  assert.equal(named.connack.properties?.assignedClientIdentifier, undefined);
});

testOnStages("MQTT.js is told a shorter keep-alive than it asks for", V5, async (stage) => {
  const long = await stage.connect({ keepalive: 300 });
  assert.equal(long.connack.properties?.serverKeepAlive, 60);
  const short = await stage.connect({ keepalive: 30 });
  assert.equal(short.connack.properties?.serverKeepAlive, undefined);
});

testOnStages(
  "MQTT.js is told by reason codes what became of its packets",
  V5,
  async (stage) => {
    const client = await stage.connect();
    const reasons: (number | undefined)[] = [];
    client.mqtt.on("packetreceive", (packet) => {
      if (packet.cmd === "puback" || packet.cmd === "pubrec") reasons.push(packet.reasonCode);
    });
    const topic = stage.own("told");
    for (const qos of [1, 2] as const) await client.mqtt.publishAsync(topic, "for nobody", { qos });
    await client.mqtt.subscribeAsync(topic, { qos: 0 });
    for (const qos of [1, 2] as const) await client.mqtt.publishAsync(topic, "for somebody", { qos });
    assert.deepEqual(reasons.map((reason) => reason ?? 0), [0x10, 0x10, 0, 0]);

    const retain = { qos: 1, retain: true } as const;
    await client.mqtt.publishAsync(stage.own("first"), "kept", retain);
    await assert.rejects(client.mqtt.publishAsync(stage.own("second"), "too many", retain), { code: 0x97 });
    await client.mqtt.publishAsync(stage.own("first"), "", retain);

    await client.mqtt.subscribeAsync(stage.own("other"), { qos: 0 });
    await assert.rejects(client.mqtt.subscribeAsync(stage.own("third"), { qos: 0 }), (refusal) => {
      assert.deepEqual((refusal as ErrorWithSubackPacket).packet.granted, [0x97]);
      return true;
    });
    const unsuback = await client.mqtt.unsubscribeAsync([topic, stage.own("never")]);
    assert.ok(unsuback?.cmd === "unsuback");
    assert.deepEqual(unsuback.granted, [0, 0x11]);
  },
  { MAX_RETAINED_PER_FILTER: "1", MAX_SUBSCRIPTIONS: "2" },
);

testOnStages("MQTT.js is told how it broke MQTT", V5, async (stage) => {
  const alias = properties(0x23, uint16(65_535));
  const broken: readonly (readonly [name: string, reason: number, bytes: Uint8Array])[] = [
    ["an alias over the server's maximum", 0x94, publish("a", { properties: alias })],
    ["a second CONNECT", 0x82, connect()],
    ["a packet of no type", 0x81, packet(0x00)],
  ];
  for (const [name, reason, bytes] of broken) {
    const client = await stage.connect();
    client.mqtt.stream.write(bytes);
    assert.equal(await client.told, reason, name);
  }
});

for (const door of DOORS) {
  Deno.test(`MQTT.js of 5.0 is told that the server shuts down, over ${door}`, () => shutDown(door));
}

async function shutDown(door: Door): Promise<void> {
  await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#" });
  await using client = await JsClient.connect(server, door, { protocolVersion: 5 });
  const drained = server.hearth.drain("the test says so");
  assert.equal(await client.told, 0x8b);
  await drained;
}
