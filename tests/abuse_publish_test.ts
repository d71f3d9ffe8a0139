/** Publishers that never finish, never stop, or say too much: the limits hold, and nobody else notices. */
import assert from "node:assert/strict";
import type { ProtocolLevel } from "../broker/packet.ts";
import { acknowledgement, properties, publish, subscribe, uint16, uint32, will } from "./mqtt_bytes.ts";
import { DOORS, RawClient } from "./mqtt_client.ts";
import {
  besiege,
  connectGuest,
  countMqttKeys,
  expectQuotaExceeded,
  reasonOfClose,
  repeated,
  takeMessage,
  untilAnswered,
} from "./siege.ts";

const RECEIVE_MAXIMUM_EXCEEDED = 0x93;
const TOPIC_NAME_INVALID = 0x90;
const TOPIC_FILTER_INVALID = 0x8f;
const QUOTA_EXCEEDED = 0x97;
const LASTING = properties(0x11, uint32(3_600));
/** MAX_INFLIGHT_IN. */
const WINDOW = 1_024;

/** PUBLISHes of QoS 2 with the identifiers 1, 2, 3 and so on. */
function beginExchanges(level: ProtocolLevel, count: number): Uint8Array {
  const one = publish("exchange", { level, qos: 2, payload: "x" });
  const all = repeated(one, count);
  // Behind the two bytes of the fixed header, the length of the topic and the topic itself.
  const idAt = 2 + 2 + "exchange".length;
  for (let i = 0; i < count; i++) all.set(uint16(i + 1), i * one.length + idAt);
  return all;
}

for (const level of [4, 5] as const) {
  const version = level === 5 ? "5.0 is told 0x93" : "3.1.1 is closed";
  Deno.test(`100,000 messages of QoS 2 without a PUBREL: ${version} at the limit, and nothing of it is kept`, () =>
    besiege({ mostMb: 150 }, async (server) => {
      await using reader = await connectGuest(server, "TCP", 5, { clientId: "reader" });
      await reader.subscribe("exchange", 0);
      const bytes = beginExchanges(level, 10_000);
      for (let round = 1; round <= 10; round++) {
        const door = DOORS[round % 2]!;
        await using client = await connectGuest(server, door, level, { clientId: "never-done" });
        await client.send(bytes);
        const heard = await client.rest();
        const last = level === 5 ? heard.pop() : undefined;
        assert.ok(
          level === 4 || (last?.cmd === "disconnect" && last.reasonCode === RECEIVE_MAXIMUM_EXCEEDED),
        );
        assert.deepEqual(heard.map(({ cmd }) => cmd), Array(WINDOW).fill("pubrec"));
        for (let i = 0; i < WINDOW; i++) await takeMessage(reader);
      }
      assert.equal(await server.figure("hearth_mqtt_sessions"), 3, "the reader's and the bystanders'");
    }, async (kv) => assert.deepEqual(await countMqttKeys(kv), {})));
}

Deno.test("100,000 messages of QoS 2 without a PUBREL in a session that lasts: it keeps as many as it may, and ends them", () =>
  besiege({ mostMb: 150 }, async (server) => {
    const hello = { clientId: "never-done", properties: LASTING, flags: 0 };
    await using reader = await connectGuest(server, "TCP", 5, { clientId: "reader" });
    await reader.subscribe("exchange", 0);
    const bytes = beginExchanges(5, 10_000);
    for (let round = 1; round <= 10; round++) {
      await using client = await connectGuest(server, DOORS[round % 2]!, 5, hello);
      await client.send(bytes);
      assert.equal(await reasonOfClose(client), RECEIVE_MAXIMUM_EXCEEDED);
    }
    await reader.send(publish("exchange", { payload: "end" }));
    let heard = 0;
    while ((await takeMessage(reader)).text !== "end") heard++;
    assert.equal(heard, WINDOW, "each once, however often it was sent");
    await using client = await connectGuest(server, "TCP", 5, hello);
    await client.send(...Array.from({ length: WINDOW }, (_, i) => acknowledgement(0x62, i + 1)));
    for (let i = 0; i < WINDOW; i++) {
      const pubcomp = await client.next();
      assert.ok(pubcomp.cmd === "pubcomp" && (pubcomp.reasonCode ?? 0) === 0);
    }
    await client.send(beginExchanges(5, 1));
    assert.equal((await client.next()).cmd, "pubrec");
  }, async (kv) => assert.deepEqual(await countMqttKeys(kv), { mqtt_sessions: 1, mqtt_received: 1 })));

Deno.test("A flood for sessions whose clients are away: the oldest go and are counted, the newest come, and the store holds no more", () =>
  besiege(
    { settings: { MAX_QUEUED_MESSAGES: "100" }, mostMb: 400 },
    async (server) => {
      const hello = (i: number) => ({ clientId: `away-${i}`, properties: LASTING, flags: 0 });
      for (let i = 0; i < 3; i++) {
        await using client = await connectGuest(server, "TCP", 5, hello(i));
        await client.subscribe("flood/#", 1);
      }
      const bytes = repeated(publish("flood/x", { payload: "x".repeat(100) }), 500);
      let served = 0;
      for (let round = 0; round < 40; round++) {
        await using client = await connectGuest(server, DOORS[round % 2]!, 5, { clientId: "flood" });
        for (let i = 0; i < 100 && !client.isClosed; i++) await client.send(bytes);
        if (await untilAnswered(client).then(() => true, () => false)) served++;
        else await expectQuotaExceeded(client, "flood");
      }
      // Whoever asks for little is served, also behind all that.
      await using client = await connectGuest(server, "TCP", 5, { clientId: "quiet" });
      for (let i = 1; i <= 10; i++) {
        await client.send(publish("flood/last", { qos: 1, packetId: i, payload: `${i}` }));
        const puback = await client.next();
        assert.ok(puback.cmd === "puback" && (puback.reasonCode ?? 0) < 0x80);
      }
      assert.ok(await server.figure("hearth_dropped_total") > 0);
      for (let i = 0; i < 2; i++) {
        await using client = await RawClient.open(server, "TCP", 5);
        assert.equal((await client.connect(hello(i))).sessionPresent, true);
        const heard: string[] = [];
        while (heard.at(-1) !== "10") heard.push((await takeMessage(client)).text);
        assert.equal(heard.length, 100);
        assert.deepEqual(heard.slice(-10), Array.from({ length: 10 }, (_, i) => `${i + 1}`));
        await untilAnswered(client);
      }
      assert.ok(served < 40, "a flood that is always served is none");
    },
    async (kv) =>
      assert.deepEqual(await countMqttKeys(kv), { mqtt_sessions: 3, mqtt_subscriptions: 3, mqtt_queue: 100 }),
  ));

Deno.test("Retained messages over a limit are refused with 0x97, and nothing else is", () =>
  besiege({
    settings: { MAX_RETAINED_PER_FILTER: "1000", MAX_RETAINED_BYTES: "2000000" },
    mostMb: 150,
  }, async (server) => {
    const clients = [
      await connectGuest(server, "TCP", 5, { clientId: "filler-5" }),
      await connectGuest(server, "WebSocket", 4, { clientId: "filler-4" }),
    ] as const;
    await using _clients = disposeAll(clients);
    await using reader = await connectGuest(server, "TCP", 4, { clientId: "reader" });
    await reader.subscribe("kept/#", 0);
    /** The reason of the PUBACK. */
    const retain = async (client: RawClient, topic: string, payloadBytes: number): Promise<number> => {
      const { level } = client;
      await client.send(
        publish(topic, { level, qos: 1, isRetain: true, payload: new Uint8Array(payloadBytes) }),
      );
      const puback = await client.next();
      assert.ok(puback.cmd === "puback");
      return puback.reasonCode ?? 0;
    };
    for (let i = 0; i < 1_000; i++) assert.equal(await retain(clients[0], `kept/${i}`, 10), 0);
    for (let i = 0; i < 500; i++) {
      assert.equal(await retain(clients[0], `more/${i}`, 10), QUOTA_EXCEEDED);
      assert.equal(await retain(clients[1], `more/${i}`, 10), 0, "3.1.1 cannot be told");
    }
    // In bytes: what is there may be replaced as long as it fits.
    for (let i = 0; i < 40; i++) {
      const reason = await retain(clients[0], `kept/${i}`, 100_000);
      if (i < 18) assert.equal(reason, 0);
      if (i > 20) assert.equal(reason, QUOTA_EXCEEDED);
    }
    assert.equal(await server.figure("hearth_retained"), 1_000);
    assert.ok(await server.figure("hearth_retained_bytes") <= 2_000_000);
    // A retained will is not sent either; of all of them the log has a few lines.
    const last = { clientId: "gone", flags: 0x26, will: will(5, "kept/last", "gone") };
    for (let i = 0; i < 100; i++) await (await connectGuest(server, "TCP", 5, last))[Symbol.asyncDispose]();
    // Others go on.
    await clients[0].send(publish("kept/0", { qos: 1, packetId: 2, payload: "now" }));
    assert.equal((await clients[0].next()).cmd, "puback");
    for (;;) {
      const { topic, text } = await takeMessage(reader);
      assert.notEqual(topic, "kept/last");
      if (text === "now") break;
    }
    const told = server.lines.filter(({ event }) => event.startsWith("will not published"));
    assert.ok(told.length > 0 && told.length < 30, `${told.length} lines`);
  }));

Deno.test("Topics of 65,535 bytes, or of as many levels, are refused by name, and nothing of them is kept", () =>
  besiege({ mostMb: 200 }, async (server) => {
    const long = "x".repeat(65_535);
    const deep = "/".repeat(65_535);
    for (const door of DOORS) {
      for (const level of [4, 5] as const) {
        const told = (reason: number, old: number) => level === 5 ? reason : old;
        await using client = await connectGuest(server, door, level, { clientId: "long-winded" });
        for (const topic of [long, deep, "a/".repeat(40)]) {
          await client.send(
            publish(topic, { level }),
            publish(topic, { level, qos: 1, packetId: 1, isRetain: true }),
            publish(topic, { level, qos: 2, packetId: 2 }),
            subscribe(level, 3, [topic, 1], [`${topic.slice(0, 65_530)}/#`, 1]),
          );
          for (const cmd of ["puback", "pubrec"]) {
            const answer = await client.next();
            assert.equal(answer.cmd, cmd);
            const reason = "reasonCode" in answer ? answer.reasonCode ?? 0 : 0;
            assert.equal(reason, told(TOPIC_NAME_INVALID, 0));
          }
          const suback = await client.next();
          assert.ok(suback.cmd === "suback");
          assert.deepEqual(suback.granted, Array(2).fill(told(TOPIC_FILTER_INVALID, 0x80)));
          await using other = await RawClient.open(server, door, level);
          const connack = await other.connect({ clientId: "with-will", will: will(level, topic, "gone") });
          assert.equal(level === 5 ? connack.reasonCode : connack.returnCode, told(TOPIC_NAME_INVALID, 5));
        }
      }
    }
    assert.equal(await server.figure("hearth_retained"), 0);
    assert.equal(await server.figure("hearth_subscriptions"), 2, "the bystanders'");
    // Each client may name 64 topics by an alias; those that are too long are not kept for that.
    await using clients = new AsyncDisposableStack();
    for (let i = 0; i < 60; i++) {
      const client = clients.use(await connectGuest(server, DOORS[i % 2]!, 5, { clientId: `alias-${i}` }));
      for (let alias = 1; alias <= 64; alias++) {
        const named = publish("", { qos: 1, packetId: alias, properties: properties(0x23, uint16(alias)) });
        await client.send(longPublish(i * 64 + alias, alias), named);
        const puback = await client.next();
        assert.ok(puback.cmd === "puback" && puback.reasonCode === TOPIC_NAME_INVALID);
      }
    }
  }));

/** A PUBLISH to a topic of 65,535 bytes that nobody else has, which gives it an alias. */
function longPublish(number: number, alias: number): Uint8Array {
  const bytes = new Uint8Array(4 + 2 + 65_535 + 4).fill(0x78);
  const remaining = bytes.length - 4;
  bytes.set([0x30, (remaining & 0x7f) | 0x80, ((remaining >> 7) & 0x7f) | 0x80, remaining >> 14, 0xff, 0xff]);
  bytes.set(new TextEncoder().encode(`${number}/`), 6);
  bytes.set([3, 0x23, ...uint16(alias)], bytes.length - 4);
  return bytes;
}

function disposeAll(clients: readonly RawClient[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
    },
  };
}
