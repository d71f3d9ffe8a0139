/** Connections that come to nothing, end badly or want to stay for ever: the limits hold, and nobody else notices. */
import assert from "node:assert/strict";
import type { BrokerProcess } from "./broker_process.ts";
import { upgradeRequest } from "./fuzz/frames.ts";
import { connect, properties, publish, uint16, uint32, will } from "./mqtt_bytes.ts";
import { DOORS, RawClient, within } from "./mqtt_client.ts";
import {
  besiege,
  connectGuest,
  countMqttKeys,
  eventually,
  largePublish,
  reasonOfClose,
  takeMessage,
  untilAnswered,
} from "./siege.ts";

const unauthenticated = (server: BrokerProcess) => server.figure("hearth_connections_unauthenticated");

/** Opens so many TCP connections at a time and begins a CONNECT on each; those that were taken stay open. */
async function openHalf(
  server: BrokerProcess,
  count: number,
): Promise<Disposable & { readonly taken: number }> {
  const beginning = connect({ clientId: "half" }).subarray(0, 9);
  const open = new Set<Deno.TcpConn>();
  const dial = async () => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.tcpPort });
    open.add(conn);
    // Where the server does not take it, it closes at once.
    await conn.write(beginning).catch(() => 0);
    conn.read(new Uint8Array(1)).catch(() => null).then(() => {
      if (open.delete(conn)) conn.close();
    });
  };
  for (let i = 0; i < count; i += 100) await Promise.all(Array.from({ length: 100 }, dial));
  await eventually("the refusal of what is too much", async () => {
    const held = await unauthenticated(server);
    return open.size === held;
  });
  return {
    taken: open.size,
    [Symbol.dispose]() {
      for (const conn of open) {
        open.delete(conn);
        conn.close();
      }
    },
  };
}

/** Whether a WebSocket is taken that comes through a proxy from this address. */
async function isTakenFrom(server: BrokerProcess, address: string): Promise<boolean> {
  const port = Number(new URL(server.url).port);
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(upgradeRequest(port, address));
  const buffer = new Uint8Array(1_024);
  const count = await within("the answer", conn.read(buffer));
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0)).startsWith("HTTP/1.1 101 ");
}

/** Whether a client can connect over TCP. */
async function mayConnect(server: BrokerProcess): Promise<boolean> {
  const client = await RawClient.open(server, "TCP", 5);
  try {
    return (await client.connect({ clientId: "good" })).reasonCode === 0;
  } catch {
    return false;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

Deno.test("2,000 half-open connections of one address: few are taken, other addresses come in, and it too after their time", () =>
  besiege({
    settings: { LIMIT_LOOPBACK: "true", TRUSTED_PROXIES: "127.0.0.1", CONNECT_TIMEOUT_SECONDS: "5" },
    mostMb: 100,
  }, async (server) => {
    using half = await openHalf(server, 2_000);
    assert.equal(half.taken, 100);
    assert.equal(await mayConnect(server), false);
    assert.equal(await isTakenFrom(server, "203.0.113.7"), true);
    await eventually("the end of the half-open ones", async () => await unauthenticated(server) === 0);
    assert.equal(await mayConnect(server), true);
  }));

Deno.test("2,000 half-open connections of everywhere: so many are taken and no more, and after their time others come in", () =>
  besiege({ settings: { CONNECT_TIMEOUT_SECONDS: "5" }, mostMb: 200 }, async (server) => {
    using half = await openHalf(server, 2_500);
    assert.equal(half.taken, 2_000);
    assert.equal(await mayConnect(server), false);
    assert.equal(await isTakenFrom(server, "203.0.113.7"), false);
    await eventually("the end of the half-open ones", async () => await unauthenticated(server) === 0);
    assert.equal(await mayConnect(server), true);
  }));

Deno.test("Sessions that would last, beyond as many as may, end with their connections, and their clients are told", () =>
  besiege({ settings: { MAX_PERSISTENT_SESSIONS: "50" }, mostMb: 100 }, async (server) => {
    const told: (number | undefined)[] = [];
    for (let i = 0; i < 300; i++) {
      await using client = await RawClient.open(server, DOORS[i % 2]!, 5);
      const hello = { clientId: `s${i}`, properties: properties(0x11, uint32(3_600)), flags: 0 };
      const connack = await client.connect(hello);
      assert.equal(connack.reasonCode, 0);
      told.push(connack.properties?.sessionExpiryInterval);
      await client.subscribe("a/b", 1);
    }
    assert.deepEqual(told, [...Array(50).fill(undefined), ...Array(250).fill(0)]);
    for (let i = 0; i < 100; i++) {
      await using client = await connectGuest(server, "TCP", 4, { clientId: `old-${i}`, flags: 0 });
      await client.subscribe("a/b", 1);
    }
    await eventually(
      "the end of their connections",
      async () => await server.figure("hearth_connections") === 2,
    );
    assert.equal(await server.figure("hearth_mqtt_sessions_persistent"), 50);
    assert.equal(await server.figure("hearth_mqtt_sessions"), 52);
    assert.equal(await server.figure("hearth_subscriptions"), 52);
    await using again = await RawClient.open(server, "TCP", 4);
    assert.equal((await again.connect({ level: 4, clientId: "old-7", flags: 0 })).sessionPresent, false);
  }, async (kv) => assert.deepEqual(await countMqttKeys(kv), { mqtt_sessions: 50, mqtt_subscriptions: 50 })));

Deno.test("A storm of wills reaches who is there, once each", () =>
  besiege({ mostMb: 250 }, async (server) => {
    const CLIENTS = 500;
    await using witness = await connectGuest(server, "TCP", 5, { clientId: "witness" });
    await witness.subscribe("gone/#", 0);
    for (let round = 0; round < 3; round++) {
      const clients: RawClient[] = [];
      for (let i = 0; i < CLIENTS; i++) {
        const last = will(5, `gone/${i}`, new Uint8Array(100));
        const client = await connectGuest(server, DOORS[i % 2]!, 5, { clientId: `frail-${i}`, will: last });
        await client.subscribe("gone/#", 0);
        clients.push(client);
      }
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
      const topics = new Set<string>();
      for (let i = 0; i < CLIENTS; i++) topics.add((await takeMessage(witness)).topic);
      assert.equal(topics.size, CLIENTS);
      await eventually("the end of them all", async () => await server.figure("hearth_connections") === 3);
    }
  }));

Deno.test("A will that cuts off a client whose will cuts off the next one, and so on, ends them all", () =>
  besiege(
    { settings: { MAX_WAITING_BYTES: "65536", STALLED_SECONDS: "600" }, mostMb: 400 },
    async (server) => {
      const CLIENTS = 900;
      const SIZE = 30_000;
      await using clients = new AsyncDisposableStack();
      for (let i = 0; i < CLIENTS; i++) {
        const client = clients.use(
          await connectGuest(server, "TCP", 5, {
            clientId: `link-${i}`,
            // One message at a time, and a will at QoS 1 for the next one.
            properties: properties(0x21, uint16(1)),
            flags: 0x02 | 0x04 | 0x08,
            will: will(5, `link/${i + 1}`, new Uint8Array(SIZE)),
          }),
        );
        await client.subscribe(`link/${i}`, 1);
      }
      await using publisher = await connectGuest(server, "TCP", 5, { clientId: "publisher" });
      // One is out and two wait: the next one is too much.
      for (let i = 0; i < CLIENTS; i++) {
        for (let k = 1; k <= 3; k++) await publisher.send(largePublish(`link/${i}`, SIZE, 5, k));
      }
      await untilAnswered(publisher);
      assert.equal(await server.figure("hearth_connections"), CLIENTS + 3);
      await publisher.send(largePublish("link/0", SIZE, 5, 1));
      await untilAnswered(publisher);
      assert.equal(await server.figure("hearth_connections_cut_off_total"), CLIENTS);
      assert.equal(await server.figure("hearth_mqtt_sessions"), 3);
      assert.equal(await server.figure("hearth_subscriptions"), 2);
    },
  ));

Deno.test("A client that takes itself over again and again leaves one session and its messages", () =>
  besiege({ mostMb: 250 }, async (server) => {
    const hello = { clientId: "twin", properties: properties(0x11, uint32(3_600)), flags: 0 };
    await using publisher = await connectGuest(server, "TCP", 5, { clientId: "publisher" });
    {
      await using first = await connectGuest(server, "TCP", 5, hello);
      await first.subscribe("news", 1);
    }
    let round = 0;
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      for (let k = 0; k < 20; k++) {
        await using client = await RawClient.open(server, DOORS[(i + k) % 2]!, 5);
        // Another one may have come before the CONNACK.
        const connack = await client.connect(hello).catch(() => null);
        if (connack !== null) assert.equal(connack.sessionPresent, true);
        await publisher.send(publish("news", { qos: 1, packetId: 1 + round, payload: `${round++}` }));
        if (k % 2 === 0) continue;
        const reason = client.isClosed ? await reasonOfClose(client) : null;
        assert.ok(reason === null || reason === 0x8e);
      }
    }));
    await untilAnswered(publisher);
    await using last = await connectGuest(server, "TCP", 5, hello);
    const heard = new Set<string>();
    while (heard.size < round) heard.add((await takeMessage(last)).text);
    assert.equal(heard.size, 400);
    assert.equal(await server.figure("hearth_mqtt_sessions"), 4);
    assert.equal(await server.figure("hearth_subscriptions"), 3);
  }));
