/** Statements about CONNECT and CONNACK, packet by packet. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { Conformance, type Stage } from "./conformance.ts";
import { connectOf, PINGREQ, text } from "./conformance_client.ts";
import {
  connect,
  type ConnectParts,
  counted,
  ILL_FORMED,
  join,
  NUL,
  packet,
  properties,
  subscribe,
  uint16,
  uint32,
  will,
} from "./mqtt_bytes.ts";
import { DOORS, RawClient, within } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

const cases = new Conformance();

/** What the server says to a first packet until it closes, as words. */
async function answerTo(stage: Stage, parts: ConnectParts): Promise<string[]> {
  const client = await stage.open();
  await client.send(connect({ level: stage.level, clientId: stage.name, ...parts }), PINGREQ);
  return (await client.rest()).map((heard) => {
    if (heard.cmd !== "connack") return heard.cmd;
    assert.equal(heard.sessionPresent, false);
    return `connack 0x${(heard.reasonCode ?? heard.returnCode)!.toString(16)}`;
  });
}

/** CONNECTs that are not as the specification has them. */
const malformed = (level: number): readonly (readonly [name: string, parts: ConnectParts])[] => [
  ["the reserved flag", { flags: 0x03 }],
  ["will QoS without a will", { flags: 0x0a }],
  ["will retain without a will", { flags: 0x22 }],
  ["will QoS 3", { flags: 0x1e, will: will(level, "a", "gone") }],
  ["a will flag without a will", { flags: 0x06 }],
  ["a will without its flag", { flags: 0x02, will: will(level, "a", "gone") }],
  ["a user name without its flag", { flags: 0x02, userName: "alice" }],
  ["a user name flag without a user name", { flags: 0x82 }],
  ["a password flag without a password", { flags: 0xc2, userName: "alice" }],
  ["a surplus byte", { surplus: Uint8Array.of(0) }],
  ["U+0000 in its identifier", { clientId: NUL }],
  ...ILL_FORMED.map(([name, bytes]) => [`${name} in its identifier`, { clientId: bytes }] as const),
];

cases.both(
  "A CONNECT against its format ends the connection, and 3.1.1 hears nothing [MQTT-3.1.4-1] [MQTT-3.2.2-7] 3.1.1 [MQTT-3.1.4-1] 3.1.1 [MQTT-3.2.2-6]",
  async (stage) => {
    for (const [name, parts] of malformed(stage.level)) {
      assert.deepEqual(await answerTo(stage, parts), stage.level === 5 ? ["connack 0x81"] : [], name);
    }
  },
);

cases.v311(
  "No return code fits a password without a user name 3.1.1 [MQTT-3.1.2-22] 3.1.1 [MQTT-3.2.2-6]",
  async (stage) => {
    assert.deepEqual(await answerTo(stage, { password: "secret" }), []);
  },
);

cases.both(
  "A well-formed CONNECT that may not come in is told why, and the connection ends [MQTT-3.1.4-2] [MQTT-3.1.3-8] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.13.2-1] 3.1.1 [MQTT-3.1.3-9] 3.1.1 [MQTT-3.2.2-4] 3.1.1 [MQTT-3.2.2-5]",
  async (stage) => {
    const { level } = stage;
    const rows: readonly (readonly [parts: ConnectParts, old: number, reason: number])[] = [
      [{ clientId: "c".repeat(2_000) }, 2, 0x85],
      [{ userName: "alice", password: "wrong" }, 4, 0x86],
      [{ userName: "alice" }, 4, 0x86],
      ...["im/x", "me/inbox", "$SYS/a"].map((topic) =>
        [{ will: will(level, topic, "gone") }, 5, 0x87] as const
      ),
    ];
    for (const [parts, old, reason] of rows) {
      const code = level === 5 ? reason : old;
      assert.deepEqual(await answerTo(stage, parts), [`connack 0x${code.toString(16)}`]);
    }
  },
);

cases.v5(
  "Before it has let a client in, the server says no DISCONNECT [MQTT-3.14.0-1] [MQTT-3.2.0-1]",
  async (stage) => {
    const firsts: readonly Uint8Array[] = [
      PINGREQ,
      packet(0xe0, 0),
      packet(0xf0, 0x18, properties(0x15, counted("SCRAM"))),
      packet(0x00),
      join(0x10, 0xff, 0xff, 0xff, 0xff, 0x01),
      connect({ name: "AMQP" }),
      connect({ level: 6 }),
      connect({ flags: 0x03 }),
      connectOf(5, stage.name, { properties: [join(0x15, counted("SCRAM"))] }),
    ];
    for (const first of firsts) {
      const client = await stage.open();
      await client.send(first, PINGREQ);
      for (const heard of await client.rest()) {
        assert.ok(heard.cmd === "connack" && (heard.reasonCode ?? heard.returnCode) !== 0, heard.cmd);
      }
    }
  },
);

cases.both(
  "A session belongs to its client identifier, over every door [MQTT-3.1.3-2] 3.1.1 [MQTT-3.1.3-2]",
  async (stage) => {
    const lasting = { clean: false, expirySeconds: 600 };
    const names = ["A", "a", "aa"].map((name) => `${stage.name}${name}`);
    for (const clientId of names) {
      const client = await stage.connect({ ...lasting, clientId });
      assert.equal(client.connack.sessionPresent, false, clientId);
      await client.subscribe([[stage.topic(clientId), 1]]);
      await client.disconnect();
    }
    const publisher = await stage.connect();
    for (const clientId of names) await publisher.publish(stage.topic(clientId), clientId, { qos: 1 });
    for (const clientId of names) {
      const door = DOORS.find((other) => other !== stage.door)!;
      await using raw = await RawClient.open(stage.broker, door, stage.level);
      await raw.send(connectOf(stage.level, clientId, lasting));
      const connack = await raw.next();
      assert.ok(connack.cmd === "connack" && connack.sessionPresent, clientId);
      const message = await raw.next();
      assert.ok(message.cmd === "publish" && text(message) === clientId);
      await raw.send(PINGREQ);
      assert.equal((await raw.next()).cmd, "pingresp", "and nothing else");
    }
  },
);

cases.v5(
  "A keep-alive of the client's own holds where it is told no other [MQTT-3.2.2-22]",
  async (stage) => {
    const client = await stage.connect({ keepAliveSeconds: 1 });
    assert.equal(client.connack.properties?.serverKeepAlive, undefined);
    assert.equal(await client.closedWith(), 0x8d);
  },
);

cases.v5("A maximum packet size holds for the CONNACK too [MQTT-3.1.2-24]", async (stage) => {
  // With everything in it that a CONNACK may have to say.
  const wishes = [join(0x11, uint32(0xffff_ffff)), join(0x19, 1), join(0x27, uint32(100))];
  const client = await stage.open();
  await client.send(connectOf(5, "", { clean: false, keepAliveSeconds: 65_535, properties: wishes }));
  const connack = await client.next();
  assert.ok(connack.cmd === "connack" && connack.reasonCode === 0);
  assert.ok(2 + connack.length! <= 100);
  for (const most of [1, 4, 5, 63]) {
    const small = await stage.open();
    await small.send(connectOf(5, stage.name, { properties: [join(0x27, uint32(most))] }));
    for (const { length } of await small.rest()) assert.ok(2 + length! <= most, `${2 + length!} of ${most}`);
  }
});

cases.v5("A will may have all that a message has, and arrives with it [MQTT-3.1.3-1]", async (stage) => {
  const watch = await stage.subscriber(stage.topic("will"), 2);
  const client = await stage.open();
  const said = properties(0x18, uint32(0), 0x02, uint32(90), 0x03, counted("text/plain"));
  await client.send(packet(
    0x10,
    counted("MQTT"),
    5,
    0x02 | 0x04 | 0x08,
    uint16(0),
    properties(),
    counted(stage.name),
    said,
    counted(stage.topic("will")),
    counted("gone"),
  ));
  assert.equal((await client.next()).cmd, "connack");
  await client.send(packet(0xc1));
  const message = await watch.message();
  assert.deepEqual([text(message), message.qos, message.retain], ["gone", 1, false]);
  assert.equal(message.properties?.contentType, "text/plain");
});

cases.test("CONNECT and CONNACK keep to their statements");

for (const door of DOORS) {
  Deno.test(`Nothing is sent for a client that left no will, over ${door} 3.1.1 [MQTT-3.1.2-12]`, async () => {
    await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#" });
    await using watch = await RawClient.open(server, door, 4);
    await watch.send(connectOf(4, "watch", {}), subscribe(4, 1, ["#", 0]));
    assert.deepEqual([(await watch.next()).cmd, (await watch.next()).cmd], ["connack", "suback"]);
    await using client = await RawClient.open(server, door, 4);
    await client.send(connectOf(4, "client", {}), packet(0xc1));
    assert.deepEqual((await client.rest()).map(({ cmd }) => cmd), ["connack"]);
    await watch.send(PINGREQ);
    assert.equal((await watch.next()).cmd, "pingresp");
  });
}

Deno.test("The reserved flags of a CONNACK are 0 [MQTT-3.2.2-1]", async () => {
  await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: "#" });
  const lasting = connectOf(5, "lasting", { clean: false, expirySeconds: 600 });
  const rows = [[lasting, 0, 0], [lasting, 1, 0], [connect({ userName: "alice" }), 0, 0x86]] as const;
  for (const [bytes, flags, reason] of rows) {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: server.tcpPort });
    await conn.write(bytes);
    const heard = new Uint8Array(4);
    for (let at = 0; at < 4;) {
      const count = await within("the CONNACK", conn.read(heard.subarray(at)));
      assert.ok(count !== null);
      at += count;
    }
    // Its length has one byte, so that flags and reason code follow.
    assert.ok(heard[1]! < 128);
    assert.deepEqual([heard[0], heard[2], heard[3]], [0x20, flags, reason]);
  }
});

Deno.test("Where no topic is open, nothing is retained, and a retained will is refused [MQTT-3.2.2-13]", async () => {
  await using server = await startServer();
  await using alice = await RawClient.open(server, "TCP");
  const password = await createLogin(server, "alice");
  const login = { userName: "alice", clientId: "client-alice", password };
  const connack = await alice.connect(login);
  assert.deepEqual([connack.reasonCode, connack.properties?.retainAvailable], [0, false]);
  await using another = await RawClient.open(server, "TCP");
  await another.send(connect({ ...login, flags: 0xe6, will: will(5, "a", "gone") }), PINGREQ);
  const rest = await another.rest();
  assert.ok(rest.length === 1 && rest[0]!.cmd === "connack" && rest[0].reasonCode === 0x87);
});
