/** Sessions and their clients: who finds what again, who ends what, and how long a session lasts. */
import assert from "node:assert/strict";
import { type Client, type Hello, Node } from "./node_rig.ts";
import { connectOf, messageOf, VERSIONS } from "./session_rig.ts";

const FOR_EVER_SECONDS = 0xffff_ffff;

/** Publishes by a client that is there only for it, and what the publisher is told. */
async function tell(node: Node, topic: string, text: string, qos = 1): Promise<string> {
  const publisher = await node.connect(`publisher ${crypto.randomUUID()}`);
  publisher.publish(topic, text, { qos, packetId: 1 });
  const heard = await publisher.next();
  publisher.leave();
  return heard;
}

for (const [level, version] of VERSIONS) {
  const lasting: Hello = { level, clean: false, expirySeconds: 100 };

  Deno.test(`A session is found again with its subscriptions and messages, as often as the client comes, in ${version} [MQTT-3.1.2-5]`, async () => {
    await using node = await Node.open();
    let client = await node.connect("c", lasting);
    await client.subscribe("t", 1);
    for (let i = 0; i < 3; i++) {
      client.leave();
      assert.equal(await tell(node, "t", `m${i}`), "puback 1");
      client = await node.connect("c", lasting, true);
      assert.deepEqual(await client.heard(), [`publish t m${i} qos 1 id ${i + 1}`]);
      client.acknowledge("puback", i + 1);
    }
    client.vanish();
    assert.deepEqual([node.stats.sessions, node.stats.persistentSessions], [1, 1]);
    // Without an interval of its own, the session of 5.0 ends with this connection; 3.1.1 has none.
    client = await node.connect("c", { level, clean: false }, true);
    client.leave();
    assert.equal(node.stats.sessions, level === 5 ? 0 : 1);
  });

  Deno.test(`A clean start ends the older session, what is stored of it too, in ${version} [MQTT-3.1.2-4] [MQTT-3.1.2-6]`, async () => {
    await using node = await Node.open();
    const older = await node.connect("c", lasting);
    await older.subscribe("t");
    older.leave();
    await tell(node, "t", "kept");
    assert.equal((await node.keys()).length, 3);
    const client = await node.connect("c", { level });
    assert.deepEqual(await node.keys(), [], "before the client hears that it is let in");
    assert.deepEqual(await client.heard(), []);
    assert.equal(await tell(node, "t", "for nobody"), "puback 1 0x10");
    assert.deepEqual([node.stats.subscriptions, node.stats.persistentSessions], [0, 0]);
    client.leave();
    assert.equal(node.stats.sessions, 0);
    (await node.connect("c", { level, clean: false, expirySeconds: 0 })).vanish();
  });

  Deno.test(`A session ends with its connection when it was to, in ${version} [MQTT-3.1.2-23]`, async () => {
    await using node = await Node.open();
    const client = await node.connect("c", { level });
    await client.subscribe("t");
    client.vanish();
    assert.deepEqual([node.stats.sessions, node.stats.subscriptions], [0, 0]);
    assert.deepEqual(await node.keys(), []);
  });
}

Deno.test("A session lasts as long as it was to, counted from the end of its connection", async () => {
  await using node = await Node.open();
  const client = await node.lasting("c");
  node.sweep(1_000);
  assert.equal(node.stats.sessions, 1, "while its client is there it does not end");
  client.vanish();
  node.sweep(98);
  assert.equal(node.stats.sessions, 1);
  node.sweep(101);
  assert.deepEqual([node.stats.sessions, node.stats.persistentSessions], [0, 0]);
  await node.connect("c");
});

Deno.test("A session that is over is not found, also when nobody has noticed yet [MQTT-4.1.0-2]", async () => {
  await using node = await Node.open();
  const owner = { userId: "", clientId: "c" };
  const disconnectedAtMs = Date.now() - 100_000;
  const options = {
    qos: 2,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: null,
  };
  await node.state.write([[
    { kind: "session", owner, record: { expirySeconds: 100, disconnectedAtMs, will: null } },
    { kind: "subscription", owner, topicFilter: "t", record: options },
  ]]);
  node.sessions.restore((await node.state.load()).sessions, disconnectedAtMs);
  assert.equal(node.stats.sessions, 1);
  const client = await node.connect("c", { clean: false });
  assert.equal(node.stats.subscriptions, 0);
  assert.deepEqual(await node.keys(), []);
  client.leave();
});

Deno.test("An interval is cut to the longest there is, and one for ever is for ever", async () => {
  for (const [maxSessionExpirySeconds, lasts] of [[50, false], [FOR_EVER_SECONDS, true]] as const) {
    await using node = await Node.open({ maxSessionExpirySeconds });
    (await node.lasting("c", { expirySeconds: FOR_EVER_SECONDS })).leave();
    node.sweep(49);
    assert.equal(node.stats.sessions, 1);
    node.sweep(10 * FOR_EVER_SECONDS);
    assert.equal(node.stats.sessions, lasts ? 1 : 0);
  }
});

Deno.test("A client may say at its end how long its session lasts", async () => {
  for (const [asked, lastsSeconds] of [[0, 0], [5, 5], [1_000, 200], [null, 100]] as const) {
    await using node = await Node.open({ maxSessionExpirySeconds: 200 });
    const client = await node.lasting("c");
    client.leave(0, asked);
    node.sweep(lastsSeconds - 1);
    assert.equal(node.stats.sessions, lastsSeconds === 0 ? 0 : 1, `${asked}`);
    node.sweep(lastsSeconds + 1);
    assert.equal(node.stats.sessions, 0, `${asked}`);
    assert.deepEqual(await node.keys(), []);
  }
});

Deno.test("Only so many sessions last; one that does keeps its place", async () => {
  await using node = await Node.open({ maxPersistentSessions: 1 });
  const first = await node.lasting("1");
  const second = await node.lasting("2");
  assert.deepEqual([node.stats.sessions, node.stats.persistentSessions], [2, 1]);
  second.leave(0, 100);
  assert.equal(node.stats.sessions, 1, "it has ended with its connection");
  first.leave();
  (await node.lasting("1", {}, true)).vanish();
  assert.equal(node.stats.persistentSessions, 1);
  (await node.lasting("1", {}, true)).leave(0, 0);
  const third = await node.lasting("2");
  assert.equal(node.stats.persistentSessions, 1, "there is room again");
  third.leave();
  assert.equal(node.stats.sessions, 1);
});

Deno.test("The older connection of a client is closed, and its end is not that of the session [MQTT-3.1.4-3]", async () => {
  await using node = await Node.open();
  const older = await node.lasting("c");
  await older.subscribe("t");
  const newer = await node.lasting("c", {}, true);
  assert.equal(await older.next(), "disconnect 0x8e");
  assert.ok(older.isClosed);
  older.vanish();
  await tell(node, "t", "m");
  assert.deepEqual(await newer.heard(), ["publish t m qos 1 id 1"]);
  assert.deepEqual([node.stats.sessions, node.stats.subscriptions], [1, 1]);
  newer.leave();
});

/** A node with a session that is away, for which messages are kept. */
async function withMessages(...texts: readonly string[]): Promise<Node> {
  const node = await Node.open();
  const client = await node.lasting("c");
  await client.subscribe("t", 1);
  client.leave();
  for (const text of texts) await tell(node, "t", text);
  await node.settle();
  return node;
}

/** Every text the client hears, each acknowledged. */
async function texts(client: Client): Promise<string[]> {
  const heard: string[] = [];
  for (const words of await client.heard()) {
    const [, text, packetId] = /^publish t (\S+) qos 1 id (\d+)$/.exec(words) ?? assert.fail(words);
    heard.push(text!);
    client.acknowledge("puback", Number(packetId));
  }
  return heard;
}

/** Publishes at once, from within something else. */
function publishNow(node: Node, text: string, topic = "t"): void {
  node.router.publish(messageOf(text, { topic }), null);
}

Deno.test("What is published while messages are read back is not lost, and comes in its order", async () => {
  await using node = await withMessages("1", "2");
  node.state.beforeReading = () => publishNow(node, "4");
  node.state.afterReading = () => publishNow(node, "5");
  publishNow(node, "3"); // It is not stored yet when the client asks.
  const client = await node.lasting("c", {}, true);
  publishNow(node, "6");
  assert.deepEqual(await texts(client), ["1", "2", "3", "4", "5", "6"]);
  client.leave();
  assert.equal((await node.keys()).length, 2, "the session and its subscription");
});

Deno.test("Messages are read back however busy the others are", async () => {
  await using node = await withMessages("1");
  const other = await node.lasting("other");
  await other.subscribe("busy", 1);
  other.leave();
  let isAsked = false;
  node.state.beforeReading = () => {
    isAsked = true;
  };
  const client = node.call("c", { clean: false, expirySeconds: 100 });
  // While something is stored, there is always more.
  const untilMs = performance.now() + 10_000;
  while (!isAsked && performance.now() < untilMs) {
    publishNow(node, "m", "busy");
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(isAsked);
  assert.equal(await client.next(), "connack 0 present");
  assert.deepEqual(await texts(client), ["1"]);
  client.leave();
});

Deno.test("Of two CONNECTs of one client the later one is let in, also while messages are read back", async () => {
  await using node = await withMessages("1", "2");
  const reading = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  node.state.beforeReading = () => {
    node.state.beforeReading = null;
    node.state.afterReading = () => {
      node.state.afterReading = null;
      reading.resolve();
      return goOn.promise;
    };
  };
  const first = node.call("c", { clean: false, expirySeconds: 100 });
  await reading.promise;
  const second = node.call("c", { clean: false, expirySeconds: 100 });
  publishNow(node, "3");
  assert.equal(await first.next(), "closed");
  goOn.resolve();
  assert.equal(await second.next(), "connack 0 present");
  publishNow(node, "4");
  assert.deepEqual(await texts(second), ["1", "2", "3", "4"]);
  assert.deepEqual([node.stats.sessions, node.stats.subscriptions], [1, 1]);
  second.leave();
  assert.equal((await node.keys()).length, 2);
});

Deno.test("CONNECTs that come in one breath leave one connection, and the session whole", async () => {
  await using node = await withMessages("1", "2");
  const clients = Array.from({ length: 5 }, () => node.call("c", { clean: false, expirySeconds: 100 }));
  const last = clients.pop()!;
  for (const client of clients) assert.equal(await client.next(), "closed");
  assert.equal(await last.next(), "connack 0 present");
  assert.deepEqual(await texts(last), ["1", "2"]);
  last.leave();
});

Deno.test("A clean start while messages are read back ends the session they are of", async () => {
  await using node = await withMessages("1", "2");
  const goOn = Promise.withResolvers<void>();
  const reading = Promise.withResolvers<void>();
  node.state.beforeReading = () => {
    reading.resolve();
    return goOn.promise;
  };
  const first = node.call("c", { clean: false, expirySeconds: 100 });
  await reading.promise;
  const second = await node.connect("c", { expirySeconds: 100 });
  assert.equal(await first.next(), "closed");
  goOn.resolve();
  await second.subscribe("u", 1);
  publishNow(node, "3");
  assert.deepEqual(await second.heard(), []);
  second.leave();
  assert.equal((await node.keys()).length, 2, "the new session and its subscription");
  assert.equal(node.stats.sessions, 1);
});

Deno.test("A client that gives up while its messages are read back finds them the next time", async () => {
  await using node = await withMessages("1", "2");
  node.state.afterReading = () => {
    node.state.afterReading = null;
    client.vanish();
    // The session is away again, and nobody waits for what is read.
    publishNow(node, "3");
    node.sweep(50);
  };
  const client = node.call("c", { clean: false, expirySeconds: 100 });
  assert.equal(await client.next(), "closed");
  const again = await node.lasting("c", {}, true);
  assert.deepEqual(await texts(again), ["1", "2", "3"]);
  again.leave();
});

Deno.test("Bodies that are read for nobody are let go", async () => {
  await using node = await withMessages("1");
  const owner = { userId: "", clientId: "c" };
  const connection = { publish: () => assert.fail("it is not open"), hold: () => {}, close: () => {} };
  const connect = connectOf(5, { sessionExpirySeconds: 100 });
  for (const leaves of ["before", "behind", null]) {
    const leave = () => node.sessions.detach(owner, connection);
    node.state.beforeReading = leaves === "before" ? leave : null;
    const claimed = await node.sessions.claim(owner, connect, connection);
    assert.ok(typeof claimed !== "string" && claimed.isPresent);
    if (leaves === "behind") leave();
    assert.equal(claimed.client.session.outbound.kept.lacksBodies, leaves !== null, `${leaves}`);
    assert.equal(node.sessions.connectionOf(owner), leaves === null ? connection : null);
  }
  node.sessions.detach(owner, { ...connection });
  assert.equal(node.sessions.connectionOf(owner), connection, "the end of another connection is not its end");
});

Deno.test("A session whose messages cannot be read is kept, and its client told to come later", async () => {
  await using node = await withMessages("1");
  node.state.beforeReading = () => {
    throw new Error("out of order");
  };
  const client = node.call("c", { clean: false, expirySeconds: 100 });
  assert.equal(await client.next(), "connack 0x88");
  assert.equal(await client.next(), "closed");
  assert.match(node.lines.join("\n"), /ERROR messages of a session not read .*clientId=c.*out of order/);
  node.sweep(101);
  assert.equal(node.stats.sessions, 0, "it goes on ending");
});

Deno.test("While its messages are read back a session does not end, and it may be away again later", async () => {
  await using node = await withMessages("1");
  node.state.beforeReading = () => node.sweep(1_000);
  const client = await node.lasting("c", {}, true);
  assert.deepEqual(await texts(client), ["1"]);
  client.vanish();
  node.sweep(101);
  assert.equal(node.stats.sessions, 0);
});
