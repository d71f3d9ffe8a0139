/** CONNECT and CONNACK, client identifiers, take-over and keep-alive. */
import assert from "node:assert/strict";
import { Conformance, type Stage } from "./conformance.ts";
import { connectOf, type Hello, PINGREQ, text } from "./conformance_client.ts";
import { connect, counted, join, packet, publish, subscribe, uint32 } from "./mqtt_bytes.ts";
import type { RawClient } from "./mqtt_client.ts";

const cases = new Conformance();

/** The return code of 3.1.1, or the reason code of 5.0. */
async function codeOf(client: RawClient): Promise<number> {
  const connack = await client.next();
  assert.ok(connack.cmd === "connack", `heard ${connack.cmd}`);
  assert.equal(connack.sessionPresent, false);
  return connack.reasonCode ?? connack.returnCode!;
}

/** A client that has sent a CONNECT and heard nothing yet. */
async function hail(stage: Stage, clientId: string, hello: Hello = {}): Promise<RawClient> {
  const client = await stage.open();
  await client.send(connectOf(stage.level, clientId, hello));
  return client;
}

cases.both(
  "A client is let in, again and again, and finds no session [MQTT-3.1.4-5] [MQTT-3.2.2-2] 3.1.1 [MQTT-3.1.4-4] 3.1.1 [MQTT-3.2.2-1]",
  async (stage) => {
    const clientId = stage.name;
    for (let i = 0; i < 3; i++) {
      const client = await stage.connect({ clientId });
      assert.equal(client.connack.sessionPresent, false);
      await client.disconnect();
    }
  },
);

cases.both(
  "The first answer is the one CONNACK, whatever stands behind CONNECT [MQTT-3.2.0-1] [MQTT-3.2.0-2] 3.1.1 [MQTT-3.2.0-1]",
  async (stage) => {
    const client = await stage.open();
    const { level } = stage;
    await client.send(
      connectOf(level, stage.name, {}),
      subscribe(level, 1, [stage.topic("a"), 0]),
      publish(stage.topic("a"), { level }),
      PINGREQ,
    );
    const heard: string[] = [];
    while (heard.length < 4) heard.push((await client.next()).cmd);
    assert.equal(heard[0], "connack");
    assert.deepEqual(heard.toSorted(), ["connack", "pingresp", "publish", "suback"]);
  },
);

cases.both(
  "A second CONNECT ends the connection [MQTT-3.1.0-2] 3.1.1 [MQTT-3.1.0-2]",
  async (stage) => {
    const client = await stage.connect();
    await client.raw.send(connectOf(stage.level, client.clientId, {}), PINGREQ);
    assert.equal(await client.closedWith(), stage.level === 5 ? 0x82 : null);
  },
);

cases.both(
  "A first packet that is no CONNECT ends the connection [MQTT-3.1.0-1] 3.1.1 [MQTT-3.1.0-1]",
  async (stage) => {
    const client = await stage.open();
    await client.send(PINGREQ, connectOf(stage.level, stage.name, {}));
    assert.deepEqual(await client.rest(), []);
  },
);

cases.both(
  "Another protocol name is not let in [MQTT-3.1.2-1] 3.1.1 [MQTT-3.1.2-1]",
  async (stage) => {
    const client = await stage.open();
    await client.send(connect({ level: stage.level, name: "hi", clientId: stage.name }), PINGREQ);
    for (const heard of await client.rest()) {
      assert.ok(heard.cmd === "connack" && heard.reasonCode === 0x84, `heard ${heard.cmd}`);
    }
  },
);

cases.v311(
  "A level nobody knows gets return code 1 3.1.1 [MQTT-3.1.2-2] 3.1.1 [MQTT-3.2.2-5]",
  async (stage) => {
    const client = await stage.open();
    await client.send(connect({ level: 9, clientId: stage.name }), PINGREQ);
    assert.equal(await codeOf(client), 1);
    assert.deepEqual(await client.rest(), []);
  },
);

cases.both(
  "The reserved flag of CONNECT ends the connection [MQTT-3.1.2-3] 3.1.1 [MQTT-3.1.2-3]",
  async (stage) => {
    const client = await stage.open();
    await client.send(connect({ level: stage.level, flags: 0x03, clientId: stage.name }), PINGREQ);
    const rest = await client.rest();
    if (stage.level === 4) assert.deepEqual(rest, []);
    for (const heard of rest) assert.ok(heard.cmd === "connack" && heard.reasonCode === 0x81);
  },
);

cases.both(
  "Identifiers of 1 and of 23 letters and digits are let in [MQTT-3.1.3-5] 3.1.1 [MQTT-3.1.3-5]",
  async (stage) => {
    const letter = stage.door === "TCP" ? "T" : "w";
    for (const clientId of [letter, letter + "0123456789abcdefUVWXYZ"]) {
      const client = await stage.connect({ clientId });
      await client.disconnect();
    }
  },
);

cases.v311(
  "Without an identifier a session cannot be kept: return code 2 3.1.1 [MQTT-3.1.3-8] 3.1.1 [MQTT-3.2.2-4] 3.1.1 [MQTT-3.2.2-5]",
  async (stage) => {
    const client = await hail(stage, "", { clean: false });
    assert.equal(await codeOf(client), 2);
    assert.deepEqual(await client.rest(), []);
  },
);

cases.both(
  "Clients without an identifier are each a client of their own [MQTT-3.1.3-6] 3.1.1 [MQTT-3.1.3-6]",
  async (stage) => {
    const topic = stage.topic("a");
    const one = await stage.subscriber(topic, 0, { clientId: "" });
    const other = await stage.subscriber(topic, 0, { clientId: "" });
    await other.publish(topic, "hello");
    assert.equal(text(await one.message()), "hello");
    assert.equal(text(await other.message()), "hello");
  },
);

cases.v5(
  "An identifier that is assigned is new, is told, and is the client's from then on [MQTT-3.1.3-7] [MQTT-3.2.2-16]",
  async (stage) => {
    const assigned: string[] = [];
    for (const clean of [true, false]) {
      const client = await stage.connect({ clientId: "", clean, expirySeconds: 60 });
      assert.equal(client.connack.sessionPresent, false);
      const clientId = client.connack.properties?.assignedClientIdentifier ?? "";
      assert.notEqual(clientId, "");
      assigned.push(clientId);
      await client.disconnect();
    }
    assert.notEqual(assigned[0], assigned[1]);
    for (const clientId of assigned) {
      const client = await stage.connect({ clientId, clean: false });
      assert.equal(client.connack.sessionPresent, true);
      assert.equal(client.connack.properties?.assignedClientIdentifier, undefined);
    }
  },
);

cases.both(
  "A client that connects again takes over from its older connection [MQTT-3.1.4-3] 3.1.1 [MQTT-3.1.4-2]",
  async (stage) => {
    const older = await stage.connect({ clientId: stage.name });
    const newer = await stage.connect({ clientId: stage.name });
    assert.equal(await older.closedWith(), stage.level === 5 ? 0x8e : null);
    await newer.expectSilence();
  },
);

cases.both(
  "Nothing behind a CONNECT that is refused is carried out [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7] 3.1.1 [MQTT-3.1.4-5]",
  async (stage) => {
    const { level } = stage;
    const topic = stage.topic("a");
    const listener = await stage.subscriber(topic, 0);
    const client = await stage.open();
    const refused = level === 5
      ? connectOf(5, stage.name, { properties: [join(0x15, counted("none"))] })
      : connectOf(4, "", { clean: false });
    await client.send(refused, publish(topic, { level, payload: "from a stranger" }), PINGREQ);
    assert.ok(await codeOf(client) > 0);
    assert.deepEqual(await client.rest(), []);
    await listener.publish(topic, "end");
    assert.deepEqual((await listener.messagesBefore("end")).map(text), []);
  },
);

cases.v5("An authentication method nobody serves is refused [MQTT-4.12.0-1]", async (stage) => {
  const client = await hail(stage, stage.name, { properties: [join(0x15, counted("SCRAM-SHA-1"))] });
  assert.ok([0x8c, 0x87].includes(await codeOf(client)));
  assert.deepEqual(await client.rest(), []);
});

cases.v5(
  "Without a method CONNACK names none, and without a wish no response information [MQTT-4.12.0-6] [MQTT-3.1.2-28]",
  async (stage) => {
    for (const wish of [[], [0x19, 0]]) {
      const { connack } = await stage.connect({ properties: [wish] });
      assert.equal(connack.properties?.authenticationMethod, undefined);
      assert.equal(connack.properties?.responseInformation, undefined);
    }
  },
);

cases.v5("A property that stands twice is a protocol error [MQTT-3.1.4-1]", async (stage) => {
  const expiry = join(0x11, uint32(1));
  const client = await hail(stage, stage.name, { properties: [expiry, expiry] });
  const rest = await client.rest();
  for (const heard of rest) assert.ok(heard.cmd === "connack" && heard.reasonCode! >= 0x80);
});

cases.v5(
  "A keep-alive of two minutes is made one, and one of ten seconds is left alone [MQTT-3.2.2-21] [MQTT-3.2.2-22]",
  async (stage) => {
    const long = await stage.connect({ keepAliveSeconds: 120 });
    assert.equal(long.connack.properties?.serverKeepAlive, 60);
    const short = await stage.connect({ keepAliveSeconds: 10 });
    assert.equal(short.connack.properties?.serverKeepAlive, undefined);
  },
);

cases.both(
  "PINGREQ is answered by PINGRESP [MQTT-3.12.4-1] 3.1.1 [MQTT-3.12.4-1]",
  async (stage) => {
    const client = await stage.connect();
    await client.raw.send(PINGREQ, PINGREQ);
    assert.equal((await client.raw.next()).cmd, "pingresp");
    assert.equal((await client.raw.next()).cmd, "pingresp");
  },
);

cases.both(
  "A client that is silent beyond its keep-alive is cut off, and its will is sent [MQTT-3.1.2-22] 3.1.1 [MQTT-3.1.2-24]",
  async (stage) => {
    const topic = stage.topic("will");
    const watch = await stage.subscriber(topic);
    const silent = await stage.connect({ keepAliveSeconds: 1, will: { topic, payload: "silent" } });
    assert.equal(text(await watch.message()), "silent");
    assert.equal(await silent.closedWith(), stage.level === 5 ? 0x8d : null);
    // No keep-alive: the same silence is no reason.
    await watch.expectSilence();
  },
);

cases.both(
  "DISCONNECT ends the connection [MQTT-4.13.1-1] 3.1.1 [MQTT-3.14.1-1]",
  async (stage) => {
    const client = await stage.connect();
    await client.disconnect();
    const odd = await stage.connect();
    await odd.raw.send(packet(0xe1, stage.level === 5 ? [0, 0] : []), PINGREQ);
    assert.equal(await odd.closedWith(), stage.level === 5 ? 0x81 : null);
  },
);

cases.test("Clients connect as the specifications say");
