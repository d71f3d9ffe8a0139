/** Subscribers that do not read, ask for too much or for everything: they are stopped, and nobody else notices. */
import assert from "node:assert/strict";
import { counted, join, packet, properties, publish, subscribe, uint16, uint32 } from "./mqtt_bytes.ts";
import { DOORS, RawClient } from "./mqtt_client.ts";
import {
  besiege,
  connectGuest,
  eventually,
  expectQuotaExceeded,
  flood,
  largePublish,
  openDeaf,
  repeated,
  takeMessage,
  untilAnswered,
} from "./siege.ts";
import type { BrokerProcess } from "./broker_process.ts";

const QUOTA_EXCEEDED = 0x97;
const LASTING = properties(0x11, uint32(3_600));
const cutOff = (server: BrokerProcess) => server.figure("hearth_connections_cut_off_total");

/** A SUBSCRIBE to the same filter so many times; the options go round. */
function subscribeOften(topicFilter: string, times: number, ...options: readonly number[]): Uint8Array {
  const filters = options.map((option) => join(counted(topicFilter), option));
  return packet(0x82, uint16(1), 0, repeated(join(...filters), Math.floor(times / options.length)));
}

/** Retained messages on so many topics `t<i>/a/b`. */
async function retain(server: BrokerProcess, count: number): Promise<void> {
  await using client = await connectGuest(server, "TCP", 5, { clientId: "filler" });
  for (let i = 0; i < count; i += 500) {
    const messages = Array.from(
      { length: 500 },
      (_, k) => publish(`t${i + k}/a/b`, { isRetain: true, payload: "x" }),
    );
    await client.send(...messages);
    await untilAnswered(client);
  }
  assert.equal(await server.figure("hearth_retained"), count);
}

for (const door of DOORS) {
  Deno.test(`Who stops reading an open topic is cut off at the limit, others get every message, and the memory is used again, over ${door}`, () =>
    besiege({ settings: { STALLED_SECONDS: "600" }, mostMb: 250 }, async (server) => {
      const SIZE = 40_000;
      const DEAF = 20;
      await using reader = await connectGuest(server, door, 5, { clientId: "reader" });
      assert.equal(await reader.subscribe("news", 0), 0);
      await using publisher = await connectGuest(server, door, 5, { clientId: "publisher" });
      const message = largePublish("news", SIZE, 5);
      let sent = 0;
      // Each round 20 × 1 MiB waits before they are cut off, and more is in the sockets.
      for (let round = 1; round <= 5; round++) {
        const deaf: Deno.TcpConn[] = [];
        for (let i = 0; i < DEAF; i++) {
          deaf.push(await openDeaf(server, door, { clientId: `deaf-${i}` }, subscribe(5, 1, ["news", 0])));
        }
        while (await cutOff(server) < round * DEAF) {
          assert.ok(sent < round * 1_000, "40 MB went somewhere");
          for (let i = 0; i < 10; i++) await publisher.send(message);
          sent += 10;
          for (let i = 0; i < 10; i++) assert.equal((await takeMessage(reader)).text.length, SIZE);
        }
        assert.equal(await server.figure("hearth_subscriptions"), 3, "the reader's and the bystanders'");
        for (const conn of deaf) conn.close();
      }
    }));

  Deno.test(`Who stops reading and has a session that lasts gets everything when it comes again, over ${door}`, () =>
    besiege({ settings: { STALLED_SECONDS: "1" }, mostMb: 250 }, async (server) => {
      // What is kept for it is more than sockets take, and less than it may have waiting.
      const COUNT = 70;
      const hello = { clientId: "deaf", properties: LASTING, flags: 0 };
      using _deaf = await openDeaf(server, door, hello, subscribe(5, 1, ["news/#", 1]));
      await using reader = await connectGuest(server, door, 4, { clientId: "reader" });
      await reader.subscribe("news/#", 1);
      await using publisher = await connectGuest(server, door, 5, { clientId: "publisher" });
      const expected = Array.from({ length: COUNT }, (_, i) => `news/${i}`);
      for (const [i, topic] of expected.entries()) {
        await publisher.send(largePublish(topic, 200_000, 5, i + 1));
        assert.equal((await takeMessage(reader)).topic, topic);
      }
      await eventually("the cut-off", async () => await cutOff(server) === 1);
      await using again = await RawClient.open(server, door, 5);
      assert.equal((await again.connect(hello)).sessionPresent, true);
      for (const topic of expected) assert.equal((await takeMessage(again)).topic, topic);
    }));
}

Deno.test("A flood of filters gets as many subscriptions as there may be, and 0x97 for each further one", () =>
  besiege({ mostMb: 150 }, async (server) => {
    for (const level of [4, 5] as const) {
      await using client = await connectGuest(server, "TCP", level, { clientId: "flood" });
      const heard: number[] = [];
      for (let round = 0; round < 20; round++) {
        const filters = Array.from({ length: 5_000 }, (_, i) => [`f/${round}/${i}`, 1] as const);
        await client.send(subscribe(level, round + 1, ...filters));
        const suback = await client.next();
        assert.ok(suback.cmd === "suback");
        heard.push(...suback.granted as number[]);
      }
      assert.deepEqual(heard.slice(0, 100), Array(100).fill(1));
      assert.deepEqual(new Set(heard.slice(100)), new Set([level === 5 ? QUOTA_EXCEEDED : 0x80]));
      assert.equal(await server.figure("hearth_subscriptions"), 102);
      await client.send(packet(0xe0));
      await client.closed;
    }
  }));

Deno.test("A flood of SUBSCRIBEs to everything that is retained is told 0x97, in one packet and in many", () =>
  besiege({ mostMb: 300 }, async (server) => {
    await retain(server, 10_000);
    const floods: readonly (readonly [what: string, bytes: Uint8Array])[] = [
      // Each of these is held against all that is retained, and finds none of it.
      ["one packet", subscribeOften("+/z", 43_000, 0)],
      ["many packets", repeated(subscribe(5, 1, ["+/z", 0]), 20_000)],
      ["all of it", repeated(subscribe(5, 1, ["#", 0]), 20_000)],
      ["all of it at QoS 1", subscribeOften("#", 43_000, 1)],
    ];
    for (const [what, bytes] of floods) {
      const attackers = await Promise.all(
        Array.from(
          { length: 4 },
          (_, i) => connectGuest(server, DOORS[i % 2]!, 5, { clientId: `flood-${i}` }),
        ),
      );
      await Promise.all(attackers.map((client) => flood(client, bytes, 20)));
      for (const client of attackers) await expectQuotaExceeded(client, what);
    }
    const told = server.lines.filter(({ event }) => event === "peer broke MQTT");
    assert.equal(
      told.length + await cutOff(server),
      floods.length * 4,
      "one line for each that broke the rules",
    );
  }));

Deno.test("Whoever subscribes to much that is retained, and reads, gets all of it", () =>
  besiege({ mostMb: 150 }, async (server) => {
    await retain(server, 6_000);
    for (const door of DOORS) {
      await using client = await connectGuest(server, door, 5, { clientId: "reader" });
      // 18,000 messages, which is more than may wait at once, one filter after the other.
      await client.send(subscribe(5, 1, ["#", 0], ["+/a/#", 1], ["+/+/b", 1]));
      const counts = new Map<string, number>();
      for (let i = 0; i < 18_000; i++) {
        const { topic } = await takeMessage(client);
        if (topic.startsWith("bystander/")) i--;
        else counts.set(topic, (counts.get(topic) ?? 0) + 1);
      }
      assert.equal(counts.size, 6_000);
      assert.deepEqual(new Set(counts.values()), new Set([3]));
    }
  }));

/** Sends the same bytes in eight sessions that last; which of them were closed. */
async function floodLasting(server: BrokerProcess, bytes: Uint8Array, times: number): Promise<boolean[]> {
  return await Promise.all(Array.from({ length: 8 }, async (_, i) => {
    const hello = { clientId: `flood-${i}`, properties: LASTING };
    await using client = await connectGuest(server, "TCP", 5, hello);
    await flood(client, bytes, times);
    const isServed = await untilAnswered(client).then(() => true, () => false);
    if (!isServed) await expectQuotaExceeded(client, "closed");
    return !isServed;
  }));
}

Deno.test("Of filters that come again and again in a session that lasts, no more is stored than is held", () =>
  besiege({ mostMb: 300 }, async (server) => {
    const closed = await floodLasting(server, subscribeOften("a/b/c", 30_000, 0, 1, 2), 20);
    assert.deepEqual(closed, Array(8).fill(false));
  }));

Deno.test("Sessions that ask for more to be kept than can be stored are told 0x97, and those beside them are served", () =>
  besiege({ mostMb: 400 }, async (server) => {
    const filters = Array.from({ length: 100 }, (_, i) => `kept/${i}/${"x".repeat(20)}`);
    const packets = [0, 1].map((qos) => subscribe(5, 1, ...filters.map((filter) => [filter, qos] as const)));
    const closed = await floodLasting(server, repeated(join(...packets), 50), 40);
    assert.ok(closed.includes(true));
    const told = server.lines.filter(({ reason }) => String(reason).includes("than can be stored"));
    assert.ok(told.length > 0);
  }));

Deno.test("Thousands of filters with wildcards that all match cost one message each", () =>
  besiege({ mostMb: 150 }, async (server) => {
    // Every way to put + in place of twelve levels.
    const LEVELS = 12;
    const filters = Array.from(
      { length: 2 ** LEVELS },
      (_, bits) => Array.from({ length: LEVELS }, (_, i) => (bits >> i) & 1 ? "+" : `l${i}`).join("/"),
    );
    const topic = Array.from({ length: LEVELS }, (_, i) => `l${i}`).join("/");
    await using publisher = await connectGuest(server, "TCP", 5, { clientId: "publisher" });
    await using clients = new AsyncDisposableStack();
    const subscribers: RawClient[] = [];
    for (let i = 0; i < filters.length; i += 100) {
      const client = clients.use(await connectGuest(server, DOORS[i % 2]!, 5, { clientId: `wild-${i}` }));
      await client.send(subscribe(5, 1, ...filters.slice(i, i + 100).map((filter) => [filter, 0] as const)));
      assert.equal((await client.next()).cmd, "suback");
      subscribers.push(client);
    }
    for (let i = 0; i < 200; i++) await publisher.send(publish(topic, { payload: `m${i}` }));
    await untilAnswered(publisher);
    for (const client of subscribers) {
      for (let i = 0; i < 200; i++) assert.equal((await takeMessage(client)).text, `m${i}`);
    }
  }));
