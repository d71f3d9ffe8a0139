/** Wills: when they are sent, when they are not, and that they are sent once. */
import assert from "node:assert/strict";
import { type Client, type Hello, Node } from "./node_rig.ts";
import { messageOf, VERSIONS } from "./session_rig.ts";

const WILL = { topic: "last", text: "gone" } as const;
const HEARD = "publish last gone qos 0";

/** A node, and a client that hears every will. */
async function open(): Promise<{ node: Node; watcher: Client }> {
  const node = await Node.open();
  const watcher = await node.connect("watcher");
  await watcher.subscribe("last", 0);
  return { node, watcher };
}

function lasting(delaySeconds: number, expirySeconds = 100): Hello {
  return { clean: false, expirySeconds, will: { ...WILL, delaySeconds } };
}

for (const [level, version] of VERSIONS) {
  for (const clean of [true, false]) {
    const session = clean ? "an ordinary" : "a lasting";
    const hello: Hello = { level, clean, expirySeconds: clean ? 0 : 100, will: WILL };

    Deno.test(`A lost connection of ${session} session sends its will at once in ${version} [MQTT-3.1.2-8]`, async () => {
      const { node, watcher } = await open();
      await using _ = node;
      (await node.connect("c", hello)).vanish();
      assert.deepEqual(await watcher.heard(), [HEARD]);
      node.sweep(1_000);
      assert.deepEqual(await watcher.heard(), []);
    });

    Deno.test(`A good-bye of ${session} session takes its will back in ${version} [MQTT-3.1.2-10] [MQTT-3.14.4-3]`, async () => {
      const { node, watcher } = await open();
      await using _ = node;
      (await node.connect("c", hello)).leave();
      node.sweep(1_000_000);
      assert.deepEqual(await watcher.heard(), []);
      assert.deepEqual(await node.keys(), []);
    });
  }
}

Deno.test("A good-bye that asks for the will has it sent [MQTT-3.14.4-3]", async () => {
  for (const hello of [{ will: WILL }, lasting(0)]) {
    const { node, watcher } = await open();
    await using _ = node;
    (await node.connect("c", hello)).leave(0x04);
    assert.deepEqual(await watcher.heard(), [HEARD]);
  }
  const { node, watcher } = await open();
  await using _ = node;
  (await node.connect("c", lasting(10))).leave(0x04);
  assert.deepEqual(await watcher.heard(), [], "when its delay is over");
  node.sweep(11);
  assert.deepEqual(await watcher.heard(), [HEARD]);
});

/** Delay and expiry; when the will is not yet sent, and when it has been. */
const delays: readonly [delaySeconds: number, expirySeconds: number, notAt: number, at: number][] = [
  [10, 100, 8, 11],
  [100, 10, 8, 11],
  [0xffff_ffff, 10, 8, 11],
  [10, 0xffff_ffff, 8, 11],
];

for (const [delaySeconds, expirySeconds, notAt, at] of delays) {
  Deno.test(`A will with ${delaySeconds} s of delay of a session of ${expirySeconds} s is sent once, after the shorter of both [MQTT-3.1.3-9]`, async () => {
    const { node, watcher } = await open();
    await using _ = node;
    (await node.connect("c", lasting(delaySeconds, expirySeconds))).vanish();
    node.sweep(notAt);
    assert.deepEqual(await watcher.heard(), []);
    node.sweep(at);
    assert.deepEqual(await watcher.heard(), [HEARD]);
    node.sweep(at);
    node.sweep(1_000);
    assert.deepEqual(await watcher.heard(), []);
    await node.settle();
    await node.crash();
    assert.ok(!(await node.state.load()).sessions.some(({ record }) => record.will !== null));
  });
}

Deno.test("A will that waits does not keep others from being sent", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  (await node.connect("first", lasting(0xffff_ffff, 0xffff_ffff))).vanish();
  (await node.connect("second", lasting(5))).vanish();
  node.sweep(6);
  assert.deepEqual(await watcher.heard(), [HEARD]);
});

Deno.test("The end of a session sends a will at once, whatever its delay [MQTT-3.1.3-9]", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  (await node.connect("c", { will: { ...WILL, delaySeconds: 1_000 } })).vanish();
  assert.deepEqual(await watcher.heard(), [HEARD]);
  (await node.connect("c", lasting(1_000))).leave(0x04, 0);
  assert.deepEqual(await watcher.heard(), [HEARD], "an interval of nothing ends it too");
});

Deno.test("Who comes back in time takes the will back, and brings another [MQTT-3.1.3-9]", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  (await node.connect("c", lasting(10))).vanish();
  const again = await node.connect("c", {
    ...lasting(10),
    will: { ...WILL, text: "second", delaySeconds: 10 },
  }, true);
  node.sweep(1_000);
  assert.deepEqual(await watcher.heard(), []);
  again.vanish();
  node.sweep(11);
  assert.deepEqual(await watcher.heard(), ["publish last second qos 0"]);
  (await node.connect("c", { clean: false, expirySeconds: 100 }, true)).vanish();
  node.sweep(50);
  assert.deepEqual(await watcher.heard(), [], "without a will there is none");
});

Deno.test("Who comes back too late does not take the will back, also when nobody has noticed yet [MQTT-3.1.3-9]", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  const owner = { userId: "", clientId: "c" };
  const disconnectedAtMs = Date.now() - 50_000;
  const will = { publication: messageOf("gone", { topic: "last" }), expirySeconds: null, delaySeconds: 50 };
  const record = { expirySeconds: 100, disconnectedAtMs, will };
  await node.state.write([[{ kind: "session", owner, record }]]);
  node.sessions.restore((await node.state.load()).sessions, disconnectedAtMs);
  assert.deepEqual(await watcher.heard(), []);
  const client = await node.connect("c", { clean: false, expirySeconds: 100 }, true);
  assert.deepEqual(await watcher.heard(), [HEARD]);
  client.leave();
});

Deno.test("A clean start ends the session whose will waits, and sends it", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  (await node.connect("c", lasting(10))).vanish();
  const client = await node.connect("c", { clean: true });
  assert.deepEqual(await watcher.heard(), [HEARD]);
  client.leave();
  assert.deepEqual(await node.keys(), []);
});

Deno.test("A take-over sends a will without delay, and takes one with delay back", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  await node.connect("c", lasting(0));
  const second = await node.connect("c", lasting(10), true);
  assert.deepEqual(await watcher.heard(), [HEARD]);
  const third = await node.connect("c", { clean: false, expirySeconds: 100 }, true);
  node.sweep(1_000);
  assert.deepEqual(await watcher.heard(), []);
  assert.ok(second.isClosed);
  third.leave();
});

Deno.test("At a drain no will is sent, and none is found later", async () => {
  const { node, watcher } = await open();
  await using _ = node;
  const clients = [
    await node.connect("ordinary", { will: WILL }),
    await node.connect("lasting", lasting(0)),
    await node.connect("late", lasting(10)),
  ];
  node.sessions.isDraining = true;
  for (const client of clients) client.vanish();
  assert.deepEqual(await watcher.heard(), []);
  await node.settle();
  await node.crash();
  const after = await node.connect("watcher");
  await after.subscribe("last", 0);
  node.sweep(1_000);
  assert.deepEqual(await after.heard(), []);
});

/** A will of a node that was killed is heard by a client that was away. */
async function heardAfterCrash(node: Node): Promise<string[]> {
  await node.settle();
  await node.crash();
  const witness = await node.lasting("witness", {}, true);
  const heard = await witness.heard();
  witness.leave();
  return heard;
}

Deno.test("A connection that a crash ended has its will sent at the next start, once", async () => {
  const { node } = await open();
  await using _ = node;
  const witness = await node.lasting("witness");
  await witness.subscribe("last", 0);
  witness.leave();
  await node.connect("now", lasting(0));
  assert.deepEqual(await heardAfterCrash(node), [HEARD]);
  assert.deepEqual(await heardAfterCrash(node), []);
  // Its delay begins with the start: the connection has only ended now.
  await node.connect("c", lasting(50), false);
  assert.deepEqual(await heardAfterCrash(node), []);
  node.sweep(48);
  assert.deepEqual(await heardAfterCrash(node), []);
  node.sweep(51);
  assert.deepEqual(await heardAfterCrash(node), [HEARD]);
});

Deno.test("A delay that has begun goes on over a crash", async () => {
  const node = await Node.open();
  await using _ = node;
  const witness = await node.lasting("witness");
  await witness.subscribe("last", 0);
  witness.leave();
  const will = { publication: messageOf("gone", { topic: "last" }), expirySeconds: null, delaySeconds: 60 };
  const records = [["due", 61], ["not due", 50]] as const;
  await node.state.write(records.map(([clientId, agoSeconds]) => [{
    kind: "session" as const,
    owner: { userId: "", clientId },
    record: { expirySeconds: 1_000, disconnectedAtMs: Date.now() - agoSeconds * 1_000, will },
  }]));
  assert.deepEqual(await heardAfterCrash(node), [HEARD]);
  node.sweep(12);
  assert.deepEqual(await heardAfterCrash(node), [HEARD]);
});

Deno.test("A will is retained when it asks for it, and expires from its sending on [MQTT-3.1.2-17]", async () => {
  const { node } = await open();
  await using _ = node;
  const will = { ...WILL, isRetain: true, delaySeconds: 10, expirySeconds: 30, qos: 2 };
  (await node.connect("c", { ...lasting(10), will })).vanish();
  node.sweep(11);
  const later = await node.connect("later");
  await later.subscribe("last", 1);
  assert.deepEqual(await later.heard(), ["publish last gone qos 1 id 1 retain expires 30"]);
});

Deno.test("A will that cannot be retained is not published, and an operator hears of it", async () => {
  await using node = await Node.open({ maxRetainedBytes: 5 });
  const watcher = await node.connect("watcher");
  await watcher.subscribe("last", 0);
  (await node.connect("c", { will: { ...WILL, isRetain: true } })).vanish();
  assert.deepEqual(await watcher.heard(), []);
  assert.match(
    node.lines.join("\n"),
    /WARN will not published: too much is retained .*clientId=c topic=last/,
  );
});

Deno.test("A will reaches its own session while that lasts, and not when it has ended", async () => {
  await using node = await Node.open();
  const client = await node.connect("c", lasting(0));
  await client.subscribe("last", 1);
  client.vanish();
  const again = await node.connect("c", { clean: false, expirySeconds: 100, will: WILL }, true);
  assert.deepEqual(await again.heard(), ["publish last gone qos 1 id 1"]);
  again.leave(0x04, 0);
  assert.deepEqual([node.stats.sessions, node.stats.delivered], [0, 1]);
  assert.deepEqual(await node.keys(), []);
});

Deno.test("A delivery that ends a session has its will sent at once, and disturbs no other", async () => {
  await using node = await Node.open({ maxWaitingBytes: 100 });
  const subscribers: Client[] = [];
  for (const clientId of ["1", "2", "3", "4"]) {
    const client = await node.connect(clientId, clientId === "2" ? { will: WILL } : {});
    await client.subscribe("#", 0);
    subscribers.push(client);
  }
  const [first, second, third, fourth] = subscribers;
  // The second takes no more, and is cut off when another message would have to wait for it.
  await second!.block();
  const publisher = await node.connect("p");
  publisher.publish("t", "x".repeat(200), { qos: 1, packetId: 1 });
  assert.equal(await publisher.next(), "puback 1");
  const message = `publish t ${"x".repeat(200)} qos 0`;
  assert.deepEqual(await first!.heard(), [message, HEARD]);
  assert.ok(second!.isClosed);
  for (const other of [third!, fourth!]) {
    assert.deepEqual((await other.heard()).toSorted(), [HEARD, message].toSorted());
  }
  assert.deepEqual([node.stats.sessions, node.stats.subscriptions], [4, 3]);
});

Deno.test("A packet that cuts somebody off is stored as one unit with all that follows from it", async () => {
  await using node = await Node.open({ maxWaitingBytes: 100 });
  const first = await node.lasting("first");
  await first.subscribe("t", 1);
  const second = await node.lasting("second", { will: { topic: "t", text: "gone" } });
  await second.subscribe("t", 0);
  const third = await node.lasting("third");
  await third.subscribe("t", 1);
  first.leave();
  third.leave();
  await second.block();
  await node.settle();
  node.state.units.length = 0;
  const publisher = await node.connect("p");
  publisher.publish("t", "x".repeat(200), { qos: 1, packetId: 1 });
  assert.equal(await publisher.next(), "puback 1");
  assert.ok(second.isClosed);
  // The message for the first and the third, the end of the second's connection, and its will for all three.
  assert.deepEqual(node.state.units.map((unit) => unit.toSorted()), [[
    ...Array(5).fill("queued"),
    "session",
  ]]);
});

Deno.test("Wills that follow from one another are sent one after the other", async () => {
  await using node = await Node.open({ maxWaitingBytes: 100 });
  const texts = ["a", "b", "c", "d"].map((letter) => letter.repeat(200));
  const clients: Client[] = [];
  for (const [i, text] of texts.entries()) {
    const client = await node.connect(`${i}`, { will: { topic: "last", text } });
    await client.subscribe("last", 0);
    clients.push(client);
  }
  const watcher = await node.connect("watcher");
  await watcher.subscribe("last", 0);
  // Each is cut off by the will of the one before it.
  for (const client of clients.slice(1)) await client.block();
  clients[0]!.vanish();
  assert.deepEqual(await watcher.heard(), texts.map((text) => `publish last ${text} qos 0`));
  assert.equal(node.stats.sessions, 1);
});
