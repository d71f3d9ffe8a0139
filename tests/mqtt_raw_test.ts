/** Raw bytes through both doors of the real server. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import {
  acknowledgement,
  connect,
  counted,
  join,
  packet,
  properties,
  publish,
  subscribe,
  uint16,
  uint32,
  variable,
} from "./mqtt_bytes.ts";
import { DOORS, RawClient } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const PINGREQ = packet(0xc0);
const hello = (clientMessageId: string) => ({
  requestId: clientMessageId,
  clientMessageId,
  conversation: { type: 0, target: "bob", line: 0 },
  content: { type: 1, searchableContent: "hello" },
});

/** A counter from `/metrics`. */
async function figure(server: TestServer, name: string): Promise<number> {
  const response = await fetch(`${server.url}/metrics`);
  const match = new RegExp(`^${name} (\\d+)$`, "m").exec(await response.text());
  assert.ok(match !== null, name);
  return Number(match[1]);
}

/** The last packet of a connection that the server closes. */
async function lastWord(client: RawClient): Promise<string> {
  const last = (await client.rest()).at(-1);
  if (last === undefined) return "closed";
  if (last.cmd === "disconnect") return `disconnect 0x${last.reasonCode!.toString(16)}`;
  if (last.cmd === "connack") return `connack 0x${(last.reasonCode ?? last.returnCode)!.toString(16)}`;
  return last.cmd;
}

for (const door of DOORS) {
  Deno.test(`A malformed packet closes its own connection and no other, over ${door} [MQTT-4.13.1-1]`, async () => {
    await using server = await startServer();
    await using other = await RawClient.login(server, door, "bob");
    const malformed: readonly [bytes: Uint8Array, reason: string][] = [
      [publish("im/#"), "0x81"],
      [publish("im/x", { qos: 3 }), "0x81"],
      [packet(0xc0, 0), "0x81"],
      [packet(0x00), "0x81"],
      [join(0x30, 0xff, 0xff, 0xff, 0xff, 0x01), "0x81"],
      [subscribe(5, 1), "0x82"],
      [packet(0x20, 0, 0), "0x82"],
      [packet(0xf0), "0x82"],
      [acknowledgement(0x40, 0), "0x82"],
      [publish("", { properties: properties(0x23, uint16(1)) }), "0x82"],
    ];
    for (const [bytes, reason] of malformed) {
      await using client = await RawClient.login(server, door, "alice");
      await client.send(bytes, PINGREQ);
      assert.equal(await lastWord(client), `disconnect ${reason}`);
      assert.equal(await client.closed, door === "TCP" ? null : 1002);
      await using old = await RawClient.login(server, door, "alice", { level: 4 });
      await old.send(packet(0x00), PINGREQ);
      assert.equal(await lastWord(old), "closed", "3.1.1 has no words for it");
    }
    await other.send(PINGREQ);
    assert.equal((await other.next()).cmd, "pingresp");
    assert.equal(await figure(server, "hearth_protocol_errors_total"), 2 * malformed.length);
    assert.equal(await figure(server, "hearth_connections"), 1);
  });

  Deno.test(`Packets may be split and merged in any way, over ${door} [MQTT-6.0.0-2]`, async () => {
    await using server = await startServer();
    const password = await createLogin(server, "alice");
    await createLogin(server, "bob");
    const clientId = "client-alice";
    for (const size of [1, 2, 7, 100, 100_000]) {
      await using client = await RawClient.open(server, door);
      const stream = join(
        connect({ userName: "alice", clientId, password }),
        subscribe(5, 1, ["me/#", 0]),
        client.requestBytes("message.send", hello(`m${size}`)),
        PINGREQ,
      );
      for (let at = 0; at < stream.length; at += size) await client.send(stream.slice(at, at + size));
      const heard: string[] = [];
      while (heard.length < 5) heard.push((await client.next()).cmd);
      // PINGRESP waits for nothing; acknowledgement and reply wait for the commit.
      assert.deepEqual(heard.slice(0, 2), ["connack", "suback"]);
      assert.deepEqual(heard.slice(2).toSorted(), ["pingresp", "puback", "publish"]);
    }
  });

  Deno.test(`A packet over the limit is refused from its fixed header, over ${door}`, async () => {
    await using server = await startServer({ MAX_PACKET_BYTES: "4096" });
    await using client = await RawClient.login(server, door, "alice");
    await client.send(join(0x30, variable(4_096)));
    assert.equal(await lastWord(client), "disconnect 0x95");
    assert.equal(await client.closed, door === "TCP" ? null : 1009);
    await using stranger = await RawClient.open(server, door);
    await stranger.send(join(0x10, variable(100_000_000)));
    assert.equal(await lastWord(stranger), "closed");
  });

  Deno.test(`A second CONNECT closes the connection, before the CONNACK too, over ${door} [MQTT-3.1.0-2]`, async () => {
    await using server = await startServer();
    await using late = await RawClient.login(server, door, "bob");
    const password = await createLogin(server, "alice");
    const bytes = connect({ userName: "alice", clientId: "client-alice", password });
    await late.send(bytes);
    assert.equal(await lastWord(late), "disconnect 0x82");
    await using early = await RawClient.open(server, door);
    await early.send(bytes, bytes, PINGREQ);
    assert.deepEqual((await early.rest()).map(({ cmd }) => cmd), ["connack", "disconnect"]);
  });

  Deno.test(`Nothing behind a DISCONNECT is carried out, over ${door} [MQTT-3.14.4-1]`, async () => {
    await using server = await startServer();
    await using bob = await RawClient.login(server, door, "bob");
    await using alice = await RawClient.login(server, door, "alice");
    await alice.send(packet(0xe0), alice.requestBytes("message.send", hello("behind")), PINGREQ);
    assert.deepEqual(await alice.rest(), []);
    assert.equal(await alice.closed, door === "TCP" ? null : 1000);
    const { result } = await bob.request("message.pull", { cursor: "0" });
    assert.deepEqual(result.entries, []);
  });

  Deno.test(`What precedes a DISCONNECT in one frame is carried out, over ${door}`, async () => {
    await using server = await startServer();
    await using bob = await RawClient.login(server, door, "bob");
    await using alice = await RawClient.login(server, door, "alice");
    await alice.send(alice.requestBytes("message.send", hello("before")), packet(0xe0));
    await alice.closed;
    const { topic, payload } = await bob.nextPublish();
    assert.equal(topic, "me/inbox");
    assert.equal((payload as { message: { clientMessageId: string } }).message.clientMessageId, "before");
  });

  Deno.test(`CONNECT is answered by the rules, over ${door}`, async () => {
    await using server = await startServer();
    const password = await createLogin(server, "alice");
    const good = { userName: "alice", clientId: "client-alice", password };
    const will = (level: number) => join(level === 5 ? properties() : [], counted("im/x"), counted("gone"));
    const rows: readonly [name: string, bytes: Uint8Array, level: 4 | 5, answer: string][] = [
      ["an unknown level [MQTT-3.1.2-2]", connect({ level: 6 }), 4, "connack 0x1"],
      ["MQTT 3.1", connect({ name: "MQIsdp", level: 3 }), 4, "connack 0x1"],
      ["another protocol [MQTT-3.1.2-1]", connect({ name: "AMQP" }), 4, "closed"],
      ["the reserved flag [MQTT-3.1.2-3]", connect({ ...good, level: 4, flags: 0xc3 }), 4, "closed"],
      ["the reserved flag [MQTT-3.1.2-3]", connect({ ...good, flags: 0xc3 }), 5, "connack 0x81"],
      [
        "no identifier [MQTT-3.1.3-8]",
        connect({ ...good, level: 4, clientId: "", flags: 0xc0 }),
        4,
        "connack 0x2",
      ],
      ["no identifier [MQTT-3.1.3-8]", connect({ ...good, clientId: "" }), 5, "connack 0x85"],
      ["a wrong token", connect({ ...good, level: 4, password: "no" }), 4, "connack 0x4"],
      ["a wrong token", connect({ ...good, password: "no" }), 5, "connack 0x86"],
      ["another's user name", connect({ ...good, userName: "bob" }), 5, "connack 0x86"],
      ["another's client", connect({ ...good, clientId: "client-bob" }), 5, "connack 0x86"],
      ["a password of any bytes", connect({ ...good, password: [0xff, 0, 0xfe] }), 5, "connack 0x86"],
      ["no password", connect({ userName: "alice", clientId: "client-alice" }), 5, "connack 0x86"],
      ["no user name", connect({ level: 4, clientId: "client-alice" }), 4, "connack 0x4"],
      [
        "a password and no user name [MQTT-3.1.2-22]",
        connect({ level: 4, flags: 0x42, password }),
        4,
        "closed",
      ],
      ["a will", connect({ ...good, level: 4, will: will(4) }), 4, "connack 0x5"],
      ["a will", connect({ ...good, will: will(5) }), 5, "connack 0x87"],
      [
        "an authentication method [MQTT-4.12.0-1]",
        connect({ ...good, properties: properties(0x15, counted("SCRAM")) }),
        5,
        "connack 0x8c",
      ],
      [
        "a tiny maximum packet size",
        connect({ ...good, properties: properties(0x27, uint32(10)) }),
        5,
        "connack 0x95",
      ],
      ["no CONNECT [MQTT-3.1.0-1]", PINGREQ, 5, "closed"],
    ];
    for (const [name, bytes, level, answer] of rows) {
      await using client = await RawClient.open(server, door, level);
      await client.send(bytes, PINGREQ);
      assert.equal(await lastWord(client), answer, `${name} at level ${level}`);
    }
    assert.equal(await figure(server, "hearth_connects_failed_total"), rows.length);
    assert.equal(await figure(server, "hearth_connections_unauthenticated"), 0);
  });

  Deno.test(`Forbidden topics: 5.0 is told 0x87, 3.1.1 acknowledged, and nothing happens, over ${door}`, async () => {
    await using server = await startServer();
    await using bob = await RawClient.login(server, door, "bob");
    for (const level of [4, 5] as const) {
      await using alice = await RawClient.login(server, door, "alice", { level });
      for (const topic of ["me/inbox", "me/reply", "$SYS/broker", "somewhere/else"]) {
        const event = '{"type":"kicked","reason":"kicked"}';
        await alice.send(publish(topic, { level, qos: 1, packetId: 9, payload: event }));
        const puback = await alice.next();
        assert.ok(puback.cmd === "puback" && puback.messageId === 9);
        if (level === 5) assert.equal(puback.reasonCode, 0x87);
        await alice.send(publish(topic, { level, qos: 2, packetId: 10, payload: event }));
        const pubrec = await alice.next();
        assert.ok(pubrec.cmd === "pubrec" && pubrec.messageId === 10);
        if (level === 5) assert.equal(pubrec.reasonCode, 0x87);
        else await alice.send(acknowledgement(0x62, 10)).then(() => alice.next());
        await alice.send(publish(topic, { level, payload: event }));
      }
      for (const topicFilter of ["#", "+/inbox", "im/#", "me/inbox/bob", "$share/g/me/#", "$SYS/#"]) {
        const code = await alice.subscribe(topicFilter, 0);
        assert.equal(code, level === 4 ? 0x80 : topicFilter.startsWith("$share") ? 0x9e : 0x87, topicFilter);
      }
    }
    // Nothing reached anybody: the next thing Bob hears is the answer to his own ping.
    await bob.send(PINGREQ);
    assert.equal((await bob.next()).cmd, "pingresp");
  });

  Deno.test(`A duplicate QoS 2 request only gets its PUBREC again, over ${door} [MQTT-4.3.3-10]`, async () => {
    await using server = await startServer();
    await createLogin(server, "bob");
    await using alice = await RawClient.login(server, door, "alice");
    const transparent = { ...hello("once"), content: { type: 91 } };
    const first = alice.requestBytes("message.send", transparent, { qos: 2, packetId: 77 });
    const again = alice.requestBytes("message.send", transparent, { qos: 2, packetId: 77, isDup: true });
    await alice.send(first, again);
    const heard: string[] = [];
    while (!heard.includes("pubrec") || !heard.includes("publish")) heard.push((await alice.next()).cmd);
    await alice.send(again, again, acknowledgement(0x62, 77));
    const rest: string[] = [];
    while (rest.at(-1) !== "pubcomp") rest.push((await alice.next()).cmd);
    assert.deepEqual(heard, ["pubrec", "publish"]);
    assert.deepEqual(rest, ["pubrec", "pubrec", "pubcomp"]);
    assert.equal(await figure(server, "hearth_requests_total"), 1);
  });

  Deno.test(`More unacknowledged requests than announced are answered 0x93, over ${door} [MQTT-3.3.4-7]`, async () => {
    await using server = await startServer({ MAX_INFLIGHT_IN: "10", RATE_LIMITS: "off" });
    await createLogin(server, "bob");
    await using alice = await RawClient.login(server, door, "alice");
    const sends = Array.from({ length: 11 }, (_, i) => alice.requestBytes("message.send", hello(`m${i}`)));
    await alice.send(...sends);
    assert.equal(await lastWord(alice), "disconnect 0x93");
  });

  Deno.test(`QoS 0 requests beyond the queue are answered 250 and close nothing, over ${door}`, async () => {
    await using server = await startServer({ MAX_INFLIGHT_IN: "10", RATE_LIMITS: "off" });
    await createLogin(server, "bob");
    await using alice = await RawClient.login(server, door, "alice", { qos: 0 });
    await alice.send(
      ...Array.from({ length: 12 }, (_, i) => alice.requestBytes("message.send", hello(`m${i}`), { qos: 0 })),
    );
    const codes = new Map<string, number>();
    while (codes.size < 12) {
      const { payload } = await alice.nextPublish();
      const { requestId, code } = payload as { requestId: string; code: number };
      codes.set(requestId, code);
    }
    assert.deepEqual([...codes].filter(([, code]) => code === 250).map(([id]) => id), ["m10", "m11"]);
    assert.deepEqual(new Set(codes.values()), new Set([0, 250]));
  });

  Deno.test(`A client that is silent beyond its keep-alive is closed with 0x8D, over ${door} [MQTT-3.1.2-22]`, async () => {
    await using server = await startServer();
    const keepAlive = { connect: { keepAliveSeconds: 1 } };
    await using silent = await RawClient.login(server, door, "alice", keepAlive);
    await using trickling = await RawClient.login(server, door, "carol", keepAlive);
    await using lively = await RawClient.login(server, door, "dave", keepAlive);
    await using free = await RawClient.login(server, door, "bob");
    const startedAt = performance.now();
    // Bytes of a packet that does not end are no packet.
    await trickling.send(join(0x30, variable(1_000)));
    const talk = setInterval(() => {
      trickling.send(Uint8Array.of(0));
      lively.send(PINGREQ);
    }, 400);
    try {
      assert.equal(await lastWord(silent), "disconnect 0x8d");
      assert.equal(await lastWord(trickling), "disconnect 0x8d");
    } finally {
      clearInterval(talk);
    }
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs > 1_400 && tookMs < 4_000, `it took ${tookMs} ms`);
    assert.equal(await silent.closed, door === "TCP" ? null : 1008);
    assert.equal(lively.isClosed, false, "PINGREQ in time is enough");
    assert.equal(free.isClosed, false, "0 turns keep-alive off");
  });

  Deno.test(`A connection without a CONNECT is closed after its time, over ${door}`, async () => {
    await using server = await startServer({ CONNECT_TIMEOUT_SECONDS: "1" });
    await using silent = await RawClient.open(server, door);
    await using slow = await RawClient.open(server, door);
    await slow.send(connect().slice(0, 9));
    assert.equal(await lastWord(silent), "closed");
    assert.equal(await lastWord(slow), "closed");
    assert.equal(await silent.closed, door === "TCP" ? null : 1008);
  });

  Deno.test(`Half-open connections are few per address, over ${door}`, async () => {
    await using server = await startServer({ LIMIT_LOOPBACK: "true", MAX_UNAUTHENTICATED_PER_IP: "2" });
    const password = await createLogin(server, "alice");
    await using first = await RawClient.open(server, door);
    await using _second = await RawClient.open(server, door);
    await assert.rejects(async () => {
      await using third = await RawClient.open(server, door);
      await third.send(PINGREQ);
      await third.next();
    }, /refused|closed/);
    // A good CONNECT makes room for another.
    await first.connect({ userName: "alice", clientId: "client-alice", password });
    await using third = await RawClient.open(server, door);
    assert.equal((await third.connect({ userName: "alice", password: "no" })).reasonCode, 0x86);
  });

  Deno.test(`An address that fails too often is refused, over ${door}`, async () => {
    await using server = await startServer({ LIMIT_LOOPBACK: "true", MAX_FAILED_CONNECTS_PER_MINUTE: "3" });
    for (let i = 0; i < 4; i++) {
      await using client = await RawClient.open(server, door);
      assert.equal((await client.connect({ userName: "alice", password: "no" })).reasonCode, 0x86);
    }
    await assert.rejects(async () => {
      await using client = await RawClient.open(server, door);
      await client.connect({ userName: "alice", password: "no" });
    }, /refused|closed/);
  });

  Deno.test(`Rate limits are answered 250 with the time to wait, and close nothing, over ${door}`, async () => {
    await using server = await startServer({ RATE_LIMITS: "user.get=2/1" });
    await using alice = await RawClient.login(server, door, "alice");
    const ask = () => alice.request("user.get", { users: [] });
    assert.deepEqual([(await ask()).code, (await ask()).code], [0, 0]);
    const refused = await ask() as unknown as { code: number; retryAfterMs: number };
    assert.equal(refused.code, 250);
    assert.ok(refused.retryAfterMs > 0 && refused.retryAfterMs <= 1_000);
    assert.equal((await alice.request("sync", {})).code, 0);
    // What cannot be read counts as well, and so do commands nobody knows.
    await alice.send(...Array.from({ length: 130 }, (_, i) => alice.requestBytes(`made-up-${i}`, "{")));
    const codes: number[] = [];
    while (codes.length < 130) codes.push(((await alice.nextPublish()).payload as { code: number }).code);
    assert.deepEqual(new Set(codes.slice(0, 100)), new Set([251]));
    assert.equal(codes.at(-1), 250);
  });
}

Deno.test("A text frame closes the WebSocket with 1003 [MQTT-6.0.0-1]", async () => {
  await using server = await startServer();
  await using alice = await RawClient.login(server, "WebSocket", "alice");
  alice.sendText("hello");
  assert.equal(await alice.closed, 1003);
  await using stranger = await RawClient.open(server, "WebSocket");
  stranger.sendText("hello");
  assert.equal(await stranger.closed, 1003);
});
