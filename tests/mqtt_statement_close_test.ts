/** Statements about DISCONNECT, errors, time and the transport, packet by packet. */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import type { ProtocolLevel } from "../broker/packet.ts";
import { createLog } from "../log.ts";
import { openSql } from "../store/sql.ts";
import { createLogin } from "./admin.ts";
import { Conformance } from "./conformance.ts";
import { connectOf, PINGREQ, text } from "./conformance_client.ts";
import {
  connect,
  counted,
  join,
  NUL,
  packet,
  type Part,
  properties,
  publish,
  subscribe,
  uint16,
  variable,
} from "./mqtt_bytes.ts";
import { DOORS, RawClient, within } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

const cases = new Conformance();

/** Packets that break the protocol, each with the reason code of 5.0; `topic` is an open one. */
function violations(level: ProtocolLevel, topic: string): readonly (readonly [Uint8Array, number])[] {
  const ours = (first: number, ...parts: readonly Part[]) =>
    packet(first, uint16(1), level === 5 ? properties() : [], ...parts);
  return [
    [packet(0x00), 0x81],
    [packet(0xc1), 0x81],
    [packet(0xe1), 0x81],
    [packet(0x60, uint16(1)), 0x81],
    [ours(0x80, counted(topic), 0), 0x81],
    [ours(0xa0, counted(topic)), 0x81],
    [packet(0x42, uint16(1)), 0x81],
    [publish(topic, { level, qos: 3 }), 0x81],
    [publish(topic, { level, isDup: true }), 0x81],
    [publish(`${topic}/#`, { level }), 0x81],
    [publish(NUL, { level }), 0x81],
    [publish([0xff], { level }), 0x81],
    [subscribe(level, 1, [`${topic}#`, 0]), 0x81],
    [packet(0xc0, 0), 0x81],
    [join(0x30, 0xff, 0xff, 0xff, 0xff, 0x01), 0x81],
    [publish(topic, { level, qos: 1, packetId: 0 }), 0x82],
    [publish("", { level }), 0x82],
    [subscribe(level, 1), 0x82],
    [subscribe(level, 1, [topic, 3]), 0x82],
    [ours(0xa2), 0x82],
    [packet(0x20, 0, 0), 0x82],
    [packet(0x90, uint16(1), level === 5 ? properties() : [], 0), 0x82],
    [packet(0xd0), 0x82],
    [connect({ level }), 0x82],
    [join(0x30, variable(300_000)), 0x95],
  ];
}

cases.both(
  "Who breaks the protocol is closed, hears a DISCONNECT in 5.0 and nothing behind it, and nobody else notices [MQTT-2.1.3-1] [MQTT-3.14.1-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1] 3.1.1 [MQTT-2.2.2-2] 3.1.1 [MQTT-3.14.1-1] 3.1.1 [MQTT-4.8.0-1]",
  async (stage) => {
    const { level } = stage;
    const topic = stage.topic("a");
    const bystander = await stage.subscriber(topic, 0);
    for (const [bytes, reason] of violations(level, topic)) {
      const client = await stage.subscriber(topic, 0);
      await client.raw.send(bytes, PINGREQ, publish(topic, { level, payload: "behind" }));
      const rest = await client.raw.rest();
      const what = `0x${bytes[0]!.toString(16)} ${bytes.length}`;
      if (level === 4) {
        assert.deepEqual(rest.map(({ cmd }) => cmd), [], what);
        continue;
      }
      assert.equal(rest.length, 1, what);
      const [last] = rest;
      assert.ok(last?.cmd === "disconnect", what);
      assert.equal(last.reasonCode, reason, what);
      // A reason code, and not even a length of properties.
      assert.equal(last.length, 1, what);
    }
    await bystander.publish(topic, "end");
    assert.deepEqual((await bystander.messagesBefore("end")).map(text), []);
  },
);

cases.both(
  "While its connection is open a session lasts, however short its expiry [MQTT-4.1.0-1] 3.1.1 [MQTT-4.1.0-2] 3.1.1 [MQTT-4.1.0-1]",
  async (stage) => {
    const topic = stage.topic("a");
    const publisher = await stage.connect();
    const clients = [
      await stage.subscriber(topic, 2),
      ...stage.level === 4 ? [] : [await stage.subscriber(topic, 2, { expirySeconds: 1, clean: false })],
    ];
    await publisher.publish(topic, "begun", { qos: 2 });
    const begun = await Promise.all(clients.map((client) => client.take("publish")));
    for (const client of clients) {
      await client.raw.send(client.publishBytes(stage.topic("b"), "once", { qos: 2, packetId: 9 }));
      await client.take("pubrec");
    }
    await stage.pass(2);
    // Both exchanges go on where they stood, and the subscription holds.
    for (const [i, client] of clients.entries()) {
      await client.acknowledge(begun[i]!);
      assert.equal(await client.release(9), 0);
    }
    await publisher.publish(topic, "later", { qos: 2 });
    for (const client of clients) assert.equal(text(await client.message()), "later");
  },
);

cases.both(
  "Packets are understood however the stream is cut, and large ones arrive whole [MQTT-4.2.0-1] [MQTT-6.0.0-2] 3.1.1 [MQTT-7.1.1-1] 3.1.1 [MQTT-6.0.0-2]",
  async (stage) => {
    const { level } = stage;
    const topic = stage.topic("a");
    const large = Array.from({ length: 30_000 }, (_, i) => `${i},`).join("");
    const stream = join(
      connectOf(level, stage.name, {}),
      subscribe(level, 1, [topic, 1]),
      publish(topic, { level, payload: "small" }),
      publish(topic, { level, payload: large, qos: 1, packetId: 7 }),
      PINGREQ,
    );
    for (const sizes of [[1, 2, 3, 5, 8, 13, 100_000], [stream.length], [40_000]]) {
      const client = await stage.open();
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = sizes[Math.min(i, sizes.length - 1)]!;
        await client.send(stream.slice(at, at + size));
        at += size;
      }
      const heard: string[] = [];
      while (heard.length < 6) {
        const read = await client.next();
        heard.push(
          read.cmd === "publish" ? `publish ${text(read) === large ? "large" : text(read)}` : read.cmd,
        );
      }
      assert.equal(heard[0], "connack");
      assert.deepEqual(
        heard.toSorted(),
        ["connack", "pingresp", "puback", "publish large", "publish small", "suback"],
      );
    }
  },
);

cases.both(
  "A client of somebody else's works with this server as with any other [MQTT-3.3.4-1] 3.1.1 [MQTT-7.0.0-2]",
  async (stage) => {
    const { broker, door, level } = stage;
    const url = door === "TCP" ? `mqtt://127.0.0.1:${broker.tcpPort}` : broker.wsUrl;
    const client = await mqtt.connectAsync(url, { protocolVersion: level, reconnectPeriod: 0 });
    try {
      const heard: string[] = [];
      const all = Promise.withResolvers<void>();
      client.on("message", (topic, payload, { qos }) => {
        heard.push(`${topic} ${payload} ${qos}`);
        if (heard.length === 3) all.resolve();
      });
      await client.subscribeAsync(stage.topic("+"), { qos: 2 });
      for (const qos of [0, 1, 2] as const) await client.publishAsync(stage.topic("a"), `m${qos}`, { qos });
      await within("the messages", all.promise);
      assert.deepEqual(heard, [0, 1, 2].map((qos) => `${stage.topic("a")} m${qos} ${qos}`));
    } finally {
      await client.endAsync();
    }
  },
);

cases.test("Connections keep to the statements about their end, their time and their transport");

Deno.test("The sub-protocol that is answered is mqtt, wherever it stands among those that are offered [MQTT-6.0.0-4] 3.1.1 [MQTT-6.0.0-4]", async () => {
  await using server = await startServer({ MQTT_WS_PORT: "0" });
  const { origin } = new URL(server.wsUrl);
  const ownPort = `ws://127.0.0.1:${server.hearth.mqttWsPort}/mqtt`;
  for (const url of [`${origin}/mqtt`, `${origin}/`, ownPort]) {
    for (const offered of [["mqtt"], ["mqttv3.1", "mqtt"], ["chat", "mqtt", "mqttv3.1"]]) {
      const socket = new WebSocket(url, offered);
      await within("the WebSocket", new Promise((resolve) => socket.onopen = resolve));
      assert.equal(socket.protocol, "mqtt", `${url} ${offered}`);
      const closed = new Promise((resolve) => socket.onclose = resolve);
      socket.close();
      await within("the close", closed);
    }
  }
});

Deno.test("A text frame ends the connection, before CONNECT and behind it [MQTT-6.0.0-1] 3.1.1 [MQTT-6.0.0-1]", async () => {
  await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#" });
  for (const level of [4, 5] as const) {
    await using client = await RawClient.open(server, "WebSocket", level);
    await client.send(connectOf(level, `c${level}`, {}));
    assert.equal((await client.next()).cmd, "connack");
    client.sendText("\u0000");
    assert.equal(await client.closed, 1003);
    await using stranger = await RawClient.open(server, "WebSocket", level);
    stranger.sendText("\u0010");
    assert.equal(await stranger.closed, 1003);
  }
});

for (const door of DOORS) {
  Deno.test(`A CONNECT that cannot be checked for now is told so, and its connection ends alone, over ${door} [MQTT-3.2.2-7] 3.1.1 [MQTT-4.8.0-2] [MQTT-3.2.2-5]`, async () => {
    const log = createLog({ format: "text", level: "error", write: () => {} });
    await using server = await startServer({}, log);
    await using other = await RawClient.login(server, door, "bob");
    const password = await createLogin(server, "alice");
    const sql = openSql(server.config.databaseUrl!, {
      maxConnections: 1,
      log,
      applicationName: "hearth test",
    });
    await using _end = { [Symbol.asyncDispose]: () => sql.end() };
    const ask = async (level: ProtocolLevel) => {
      await using client = await RawClient.open(server, door, level);
      const connack = await client.connect({ userName: "alice", clientId: "client-alice", password });
      const code = connack.reasonCode ?? connack.returnCode;
      if (code !== 0) assert.deepEqual(await client.rest(), []);
      return code;
    };
    await sql.unsafe("ALTER TABLE t_user_session RENAME TO t_elsewhere");
    assert.deepEqual([await ask(4), await ask(5)], [3, 0x88]);
    await sql.unsafe("ALTER TABLE t_elsewhere RENAME TO t_user_session");
    assert.deepEqual([await ask(4), await ask(5)], [0, 0]);
    await other.send(PINGREQ);
    assert.equal((await other.next()).cmd, "pingresp");
  });
}
