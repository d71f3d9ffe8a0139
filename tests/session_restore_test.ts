/** Sessions over the end of a process: everything that was told is there again, and what has ended is not. */
import assert from "node:assert/strict";
import { SharedPublication } from "../broker/encode_publication.ts";
import { type Client, Node } from "./node_rig.ts";
import { counted, packet, properties, subscribe, uint16, variable } from "./mqtt_bytes.ts";
import { connectOf, messageOf, VERSIONS } from "./session_rig.ts";

const LASTING = { clean: false, expirySeconds: 100 } as const;
/** More than one value of the store holds. */
const LARGE = "x".repeat(200_000);

/** The node dies behind what is stored, and begins again. */
async function crash(node: Node): Promise<void> {
  await node.settle();
  await node.crash();
}

for (const [level, version] of VERSIONS) {
  const hello = { level, ...LASTING };

  Deno.test(`A QoS 2 message to a client goes on where it stood, whenever the process ends, in ${version} [MQTT-4.3.3-4] [MQTT-4.4.0-1]`, async () => {
    await using node = await Node.open();
    let client = await node.connect("c", hello);
    await client.subscribe("t", 2);
    node.router.publish(messageOf("m", { qos: 2 }), null);
    assert.deepEqual(await client.heard(), ["publish t m qos 2 id 1"]);
    for (let i = 0; i < 2; i++) {
      await crash(node);
      client = await node.connect("c", hello, true);
      assert.deepEqual(await client.heard(), ["publish t m qos 2 id 1 dup"]);
    }
    client.acknowledge("pubrec", 1);
    assert.deepEqual(await client.heard(), ["pubrel 1"]);
    for (let i = 0; i < 2; i++) {
      await crash(node);
      client = await node.connect("c", hello, true);
      assert.deepEqual(await client.heard(), ["pubrel 1"]);
    }
    client.acknowledge("pubcomp", 1);
    await crash(node);
    client = await node.connect("c", hello, true);
    assert.deepEqual(await client.heard(), []);
    assert.equal((await node.keys()).length, 2, "the session and its subscription");
  });

  Deno.test(`A QoS 2 message of a client is routed once, whenever the process ends, in ${version} [MQTT-4.3.3-10]`, async () => {
    await using node = await Node.open();
    let witness = await node.connect("witness", hello);
    await witness.subscribe("t", 1);
    witness.leave();
    let client = await node.connect("c", hello);
    client.publish("t", "m", { qos: 2, packetId: 7 });
    assert.equal(await client.next(), "pubrec 7");
    for (let i = 0; i < 2; i++) {
      await crash(node);
      client = await node.connect("c", hello, true);
      client.publish("t", "m", { qos: 2, packetId: 7, isDup: true });
      assert.deepEqual(await client.heard(), ["pubrec 7"]);
    }
    client.acknowledge("pubrel", 7);
    assert.deepEqual(await client.heard(), ["pubcomp 7"]);
    await crash(node);
    client = await node.connect("c", hello, true);
    client.acknowledge("pubrel", 7);
    assert.deepEqual(await client.heard(), [level === 5 ? "pubcomp 7 0x92" : "pubcomp 7"]);
    client.publish("t", "n", { qos: 2, packetId: 7 });
    assert.equal(await client.next(), "pubrec 7");
    witness = await node.connect("witness", hello, true);
    // Whether the first was sent before the crash is not known.
    assert.deepEqual(await witness.heard(), ["publish t m qos 1 id 1 dup", "publish t n qos 1 id 2"]);
  });

  Deno.test(`Messages wait for their client over a crash, large ones too, in their order, in ${version} [MQTT-4.6.0-6]`, async () => {
    await using node = await Node.open();
    const client = await node.connect("c", hello);
    await client.subscribe("t", 2);
    node.router.publish(messageOf("sent", { qos: 1 }), null);
    assert.deepEqual(await client.heard(), ["publish t sent qos 1 id 1"]);
    client.vanish();
    for (const qos of [0, 1, 2]) node.router.publish(messageOf(qos === 1 ? LARGE : `q${qos}`, { qos }), null);
    await crash(node);
    node.router.publish(messageOf("after", { qos: 1 }), null);
    const again = await node.connect("c", hello, true);
    // Which of them were sent is not known any more: the window is.
    assert.deepEqual(await again.heard(), [
      "publish t sent qos 1 id 1 dup",
      "publish t q0 qos 0",
      `publish t ${LARGE} qos 1 id 2 dup`,
      "publish t q2 qos 2 id 3 dup",
      "publish t after qos 1 id 4",
    ]);
    again.acknowledge("pubrec", 3);
    again.acknowledge("pubcomp", 3);
    for (const packetId of [1, 2, 4]) again.acknowledge("puback", packetId);
    await again.heard();
    assert.equal((await node.keys()).length, 2);
  });
}

/** A SUBSCRIBE with an identifier. */
function identified(topicFilter: string, options: number, subscriptionId: number): Uint8Array {
  return packet(0x82, uint16(1), properties(0x0b, variable(subscriptionId)), counted(topicFilter), options);
}

Deno.test("Subscriptions are there again with all they asked for, shared ones too", async () => {
  await using node = await Node.open();
  const first = await node.lasting("1");
  first.say(identified("a/+", 0x0e, 300)); // QoS 2, no-local, retain as published
  await first.next();
  await first.subscribe("$share/g/shared", 1);
  const second = await node.lasting("2");
  await second.subscribe("$share/g/shared", 1);
  await second.subscribe("gone");
  second.say(packet(0xa2, uint16(2), properties(), counted("gone")));
  await second.next();
  await crash(node);
  assert.equal(node.stats.subscriptions, 3);
  const [one, two] = [await node.lasting("1", {}, true), await node.lasting("2", {}, true)];
  node.router.publish(messageOf("m", { topic: "a/b", qos: 2, retain: true }), null);
  one.publish("a/b", "own", { qos: 1, packetId: 1 });
  assert.deepEqual(await one.heard(), ["publish a/b m qos 2 id 1 retain for 300", "puback 1 0x10"]);
  for (let i = 0; i < 4; i++) node.router.publish(messageOf(`${i}`, { topic: "shared" }), null);
  assert.deepEqual([(await one.heard()).length, (await two.heard()).length], [2, 2]);
});

Deno.test("Retained messages are there again, and cleared ones are not", async () => {
  await using node = await Node.open();
  const client = await node.connect("c");
  for (const topic of ["a", "b", "c"]) {
    client.publish(topic, topic === "b" ? LARGE : topic, { qos: 1, packetId: 1, isRetain: true });
    await client.next();
  }
  client.publish("a", "", { qos: 1, packetId: 1, isRetain: true });
  await client.next();
  client.publish("c", "newer", { qos: 1, packetId: 1, isRetain: true });
  await client.next();
  await crash(node);
  assert.equal(node.stats.retained, 2);
  const again = await node.connect("c");
  await again.subscribe("+", 0);
  assert.deepEqual(await again.heard(), [`publish b ${LARGE} qos 0 retain`, "publish c newer qos 0 retain"]);
});

Deno.test("A retained message that was sent to a lasting session is sent again over a crash, once", async () => {
  await using node = await Node.open();
  node.router.publish(messageOf("r", { retain: true, qos: 2 }), null);
  let client = await node.lasting("c");
  await client.subscribe("t", 2);
  assert.deepEqual(await client.heard(), ["publish t r qos 2 id 1 retain"]);
  for (let i = 0; i < 2; i++) {
    await crash(node);
    client = await node.lasting("c", {}, true);
    assert.deepEqual(await client.heard(), ["publish t r qos 2 id 1 dup retain"]);
  }
});

Deno.test("A client hears of nothing that a crash could undo", async () => {
  await using node = await Node.open();
  const client = node.call("c", LASTING);
  const steps: readonly [send: () => void, heard: RegExp, isStored: (keys: readonly string[]) => boolean][] =
    [
      [() => {}, /^connack/, (keys) => keys.length === 1],
      [
        () => client.say(subscribe(5, 1, ["t", 2])),
        /^suback/,
        (keys) => keys.some((key) => key.includes("subscriptions")),
      ],
      [
        () => client.publish("t", "m", { qos: 2, packetId: 9 }),
        /^publish|^pubrec/,
        (keys) => keys.some((key) => key.includes("received")) && keys.some((key) => key.includes("queue")),
      ],
      [() => client.acknowledge("pubrec", 1), /^pubrel/, (keys) => keys.some((key) => key.includes("queue"))],
      [
        () => client.acknowledge("pubrel", 9),
        /^pubcomp/,
        (keys) => !keys.some((key) => key.includes("received")),
      ],
    ];
  for (const [send, heard, isStored] of steps) {
    send();
    const [words, keys] = [await client.next(), await node.storedKeys()];
    assert.match(words, heard);
    assert.ok(isStored(keys), `${words}: ${keys}`);
    await client.heard();
  }
});

Deno.test("A publisher hears of nothing that a crash could undo, whoever it is of", async () => {
  await using node = await Node.open();
  const away = await node.lasting("away");
  await away.subscribe("t", 1);
  away.leave();
  const there = await node.lasting("there");
  await there.subscribe("t", 1);
  const publisher = await node.connect("p");
  const packetIds = [1, 2, 3];
  for (const packetId of packetIds) {
    publisher.publish("t", "m", { qos: 1, packetId, isRetain: packetId > 1 });
    assert.equal(await publisher.next(), `puback ${packetId}`);
    const keys = await node.storedKeys();
    assert.equal(keys.filter((key) => key.includes("queue")).length, 2 * packetId);
    assert.equal(keys.some((key) => key.includes("retained")), packetId > 1);
    assert.equal(await there.next(), `publish t m qos 1 id ${packetId}`);
  }
  // What nobody keeps waits for nothing.
  publisher.publish("u", "m", { qos: 1, packetId: 4 });
  assert.equal(await publisher.next(), "puback 4 0x10");
});

Deno.test("A crash before anything is stored leaves nothing half done", async () => {
  await using node = await Node.open();
  const client = await node.lasting("c");
  await client.subscribe("t", 2);
  client.leave();
  await node.settle();
  const publisher = await node.lasting("p");
  publisher.publish("t", "m", { qos: 2, packetId: 1 });
  await node.crash();
  // Either all of it was stored or nothing: the publisher asks again, and the message comes once.
  const again = await node.lasting("p", {}, true);
  again.publish("t", "m", { qos: 2, packetId: 1, isDup: true });
  assert.deepEqual(await again.heard(), ["pubrec 1"]);
  const subscriber = await node.lasting("c", {}, true);
  assert.deepEqual((await subscriber.heard()).map((words) => words.replace(" dup", "")), [
    "publish t m qos 2 id 1",
  ]);
});

/** A session with something of everything, away. */
async function full(node: Node): Promise<Client> {
  const will = { topic: "last", text: LARGE.slice(0, 60_000), delaySeconds: 1_000 };
  const client = await node.lasting("c", { will });
  await client.subscribe("t", 2);
  await client.subscribe("$share/g/t", 1);
  client.publish("u", "m", { qos: 2, packetId: 5 });
  await client.next();
  node.router.publish(messageOf(LARGE, { qos: 2 }), null);
  await client.heard();
  client.acknowledge("pubrec", 1);
  await client.heard();
  client.vanish();
  for (const qos of [0, 1, 2]) node.router.publish(messageOf(qos === 1 ? LARGE : "m", { qos }), null);
  return client;
}

Deno.test("A session that has ended leaves nothing behind, however it ends", async () => {
  const ends: readonly [string, (node: Node) => Promise<void> | void][] = [
    ["time", (node) => node.sweep(101)],
    ["time and a crash", async (node) => {
      await crash(node);
      node.sweep(101);
    }],
    ["a clean start", async (node) => (await node.connect("c")).leave()],
    ["a good-bye", async (node) => (await node.lasting("c", {}, true)).leave(0, 0)],
    [
      "a connection that it was to end with",
      async (node) => (await node.connect("c", { clean: false }, true)).vanish(),
    ],
  ];
  for (const [name, end] of ends) {
    await using node = await Node.open();
    await full(node);
    assert.ok((await node.keys()).length > 10, name);
    await end(node);
    assert.deepEqual(await node.keys(), [], name);
    assert.deepEqual([node.stats.sessions, node.stats.persistentSessions, node.stats.subscriptions], [
      0,
      0,
      0,
    ]);
    await crash(node);
    assert.equal(node.stats.sessions, 0, name);
  }
});

Deno.test("What comes of a session that has ended is not stored", async () => {
  await using node = await Node.open();
  const owner = { userId: "", clientId: "c" };
  const connection = { publish: () => {}, hold: () => {}, close: () => {} };
  const claimed = await node.sessions.claim(owner, connectOf(5), connection);
  assert.ok(typeof claimed !== "string");
  const { client } = claimed;
  node.sessions.attach(client, connectOf(5, { sessionExpirySeconds: 100 }), connection);
  node.sessions.disconnect(client, { type: "disconnect", reason: 0, sessionExpirySeconds: 0 });
  node.sessions.detach(owner, connection);
  assert.ok(client.isEnded);
  client.log!.received(7, true);
  client.log!.subscription("t", null);
  client.log!.session();
  const shared = new SharedPublication(messageOf("m"));
  client.publish({ shared, qos: 1, retain: false, subscriptionIds: [], isReplay: false });
  assert.deepEqual(await node.keys(), []);
});

Deno.test("A session whose client was there at the crash lasts from the first start behind it", async () => {
  await using node = await Node.open();
  await node.lasting("c");
  const ends: (number | null)[] = [];
  for (let i = 0; i < 2; i++) {
    await crash(node);
    await node.settle();
    ends.push((await node.state.load()).sessions[0]!.record.disconnectedAtMs);
  }
  assert.notEqual(ends[0], null);
  assert.equal(ends[1], ends[0]);
  node.sweep(101);
  assert.equal(node.stats.sessions, 0);
});

Deno.test("What ended while no process ran has ended at the start", async () => {
  await using node = await Node.open();
  const owner = { userId: "", clientId: "c" };
  const disconnectedAtMs = Date.now() - 101_000;
  await node.state.write([[{
    kind: "session",
    owner,
    record: { expirySeconds: 100, disconnectedAtMs, will: null },
  }]]);
  await node.crash();
  assert.equal(node.stats.sessions, 0);
  assert.deepEqual(await node.keys(), []);
});
