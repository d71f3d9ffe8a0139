/** What the server writes is what a client reads: MQTT.js's own parser, which was written apart from it. */
import assert from "node:assert/strict";
import type { IConnackPacket, IPublishPacket } from "mqtt-packet";
import { generateConnack, generateOldConnack } from "../broker/codec.ts";
import {
  acceptedConnack,
  keepAliveOf,
  malformedConnack,
  refuseConnect,
  refusedConnack,
} from "../broker/connect.ts";
import type { ConnectRefusal } from "../broker/connect.ts";
import {
  ACKNOWLEDGEMENTS,
  publishBytes,
  setPacketId,
  writeAcknowledgement,
  writeDisconnect,
  writePingresp,
  writePublish,
} from "../broker/encode.ts";
import { OpenTopics } from "../broker/open_topics.ts";
import { inboxEvent, replyOutgoing } from "../broker/outgoing.ts";
import type { ConnectPacket } from "../broker/packet.ts";
import { giveWriter, PacketWriter, takeWriter } from "../broker/packet_writer.ts";
import { TopicAccess } from "../broker/topic_access.ts";
import { readConfig } from "../config.ts";
import {
  connect,
  type ConnectParts,
  counted,
  join,
  type Part,
  properties,
  readAsClient,
  readFirst,
  uint16,
  uint32,
} from "./mqtt_bytes.ts";

const utf8 = new TextEncoder();
const LEVELS = [4, 5] as const;

Deno.test("PUBLISH is read as it was written, at every QoS and size, in both versions", () => {
  for (const level of LEVELS) {
    for (const qos of [0, 1, 2]) {
      // Around the lengths at which the remaining length takes another byte.
      for (const size of [0, 1, 100, 115, 116, 117, 118, 16_360, 16_370, 16_380, 2_097_140, 2_097_152]) {
        const writer = new PacketWriter(8);
        const event = inboxEvent('{"seq":"7",', utf8.encode("ä".repeat(size >> 1)), null);
        writePublish(writer, event, qos, qos === 0 ? 0 : 65_535, level);
        assert.equal(writer.length, publishBytes(event, qos, level));
        const [read] = readAsClient(writer.written(), level) as IPublishPacket[];
        assert.equal(read!.topic, "me/inbox");
        assert.equal(String(read!.payload), `{"seq":"7",${"ä".repeat(size >> 1)}`);
        assert.equal(read!.qos, qos);
        assert.equal(read!.messageId, qos === 0 ? undefined : 65_535);
        assert.equal(read!.dup, false); // [MQTT-3.3.1-3]
        assert.equal(read!.retain, false);
      }
    }
  }
});

Deno.test("A reply carries its topic and its correlation data to a client of 5.0 [MQTT-3.3.2-16]", () => {
  const writer = new PacketWriter(8);
  const correlationData = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
  writePublish(writer, replyOutgoing("me/reply/tab-1", correlationData, '{"code":0}'), 1, 3, 5);
  const [read] = readAsClient(writer.written(), 5) as IPublishPacket[];
  assert.equal(read!.topic, "me/reply/tab-1");
  assert.deepEqual(Uint8Array.from(read!.properties!.correlationData!), correlationData);
  assert.equal(String(read!.payload), '{"code":0}');
});

Deno.test("Replies of any length and script are encoded whole, one after the other", () => {
  const texts = [
    "",
    "short",
    "字".repeat(3_000),
    "é".repeat(65_536),
    "🔥".repeat(40_000),
    "x".repeat(200_000),
    "y",
  ];
  for (const text of texts) {
    assert.equal(new TextDecoder().decode(replyOutgoing("me/reply", null, text).tail), text);
  }
});

Deno.test("A packet encoded before it had an identifier gets it later", () => {
  for (const level of LEVELS) {
    for (const size of [0, 200, 20_000]) {
      const writer = new PacketWriter(8);
      writePublish(writer, inboxEvent("x".repeat(size), utf8.encode("}"), null), 2, 0, level);
      const bytes = writer.written().slice();
      setPacketId(bytes, 0xabcd);
      const [read] = readAsClient(bytes, level) as IPublishPacket[];
      assert.equal(read!.messageId, 0xabcd);
      assert.equal(String(read!.payload), `${"x".repeat(size)}}`);
    }
  }
});

Deno.test("Acknowledgements are read with identifier, reason and IM code [MQTT-2.2.1-5]", () => {
  for (const level of LEVELS) {
    const writer = new PacketWriter(1);
    for (const first of Object.values(ACKNOWLEDGEMENTS)) writeAcknowledgement(writer, first, 0x0102);
    assert.deepEqual(readAsClient(writer.written(), level).map(({ cmd, messageId }) => [cmd, messageId]), [
      ["puback", 0x0102],
      ["pubrec", 0x0102],
      ["pubrel", 0x0102],
      ["pubcomp", 0x0102],
    ]);
  }
  const writer = new PacketWriter(1);
  writeAcknowledgement(writer, ACKNOWLEDGEMENTS.puback, 1, 0x87);
  writeAcknowledgement(writer, ACKNOWLEDGEMENTS.puback, 2, 0x97, 250);
  writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubrec, 3, 0x83, 4);
  writeAcknowledgement(writer, ACKNOWLEDGEMENTS.pubcomp, 4, 0x92);
  const read = readAsClient(writer.written(), 5) as {
    reasonCode?: number;
    properties?: IPublishPacket["properties"];
  }[];
  assert.deepEqual(
    read.map(({ reasonCode, properties }) => [reasonCode, properties?.userProperties?.code]),
    [[0x87, undefined], [0x97, "250"], [0x83, "4"], [0x92, undefined]],
  );
});

Deno.test("PINGRESP and DISCONNECT are read", () => {
  const writer = new PacketWriter(1);
  writePingresp(writer);
  writeDisconnect(writer, 0x8e);
  const [pingresp, disconnect] = readAsClient(writer.written(), 5);
  assert.equal(pingresp!.cmd, "pingresp");
  assert.ok(disconnect!.cmd === "disconnect" && disconnect.reasonCode === 0x8e);
});

// CONNACK

const { limits } = readConfig({});
const NEW_SESSION = { isSessionPresent: false, expirySeconds: 0, clientId: "client-1", hasOpenTopics: true };
const RULES = {
  limits,
  allowsAnonymous: false,
  accessFor: (isAnonymous: boolean) => new TopicAccess(new OpenTopics(["open/#"]), limits, isAnonymous),
};

function connectOf(parts: ConnectParts = {}): ConnectPacket {
  const read = readFirst(connect(parts));
  assert.ok(read !== "unsupported");
  return read;
}

Deno.test("CONNACK says whether there is a session, and to 5.0 what may be counted on [MQTT-3.2.2-2] [MQTT-3.2.2-3]", () => {
  for (const isSessionPresent of [false, true]) {
    const accepted = { ...NEW_SESSION, isSessionPresent };
    const [old] = readAsClient(
      acceptedConnack(connectOf({ level: 4 }), limits, accepted),
      4,
    ) as IConnackPacket[];
    assert.deepEqual([old!.returnCode, old!.sessionPresent], [0, isSessionPresent]);
    const [read] = readAsClient(acceptedConnack(connectOf(), limits, accepted), 5) as IConnackPacket[];
    assert.deepEqual([read!.reasonCode, read!.sessionPresent], [0, isSessionPresent]);
    assert.deepEqual({ ...read!.properties }, {
      receiveMaximum: limits.maxInflightIn,
      maximumPacketSize: limits.maxPacketBytes,
      topicAliasMaximum: limits.maxTopicAliases,
    });
  }
});

Deno.test("CONNACK says what is not to be had where no topic is open", () => {
  const accepted = { ...NEW_SESSION, hasOpenTopics: false };
  const [read] = readAsClient(acceptedConnack(connectOf(), limits, accepted), 5) as IConnackPacket[];
  assert.equal(read!.properties?.retainAvailable, false);
  assert.equal(read!.properties?.sharedSubscriptionAvailable, false);
});

Deno.test("CONNACK tells of a session that lasts less than was asked for, of the identifier it gave, and names the reply topic to who asks [MQTT-3.1.2-28] [MQTT-3.2.2-16]", () => {
  const asking = connectOf({ clientId: "", properties: properties(0x11, uint32(3_600), 0x19, 1) });
  const accepted = { ...NEW_SESSION, expirySeconds: 60 };
  const [read] = readAsClient(acceptedConnack(asking, limits, accepted), 5) as IConnackPacket[];
  assert.equal(read!.properties?.sessionExpiryInterval, 60);
  assert.equal(read!.properties?.responseInformation, "me/reply");
  assert.equal(read!.properties?.assignedClientIdentifier, "client-1");
  const granted = acceptedConnack(asking, limits, { ...NEW_SESSION, expirySeconds: 3_600 });
  const [whole] = readAsClient(granted, 5) as IConnackPacket[];
  assert.equal(whole!.properties?.sessionExpiryInterval, undefined);
});

const refusals: readonly [refusal: ConnectRefusal, returnCode: number, reason: number][] = [
  ["unsupported-version", 1, 0x84],
  ["client-id-invalid", 2, 0x85],
  ["server-unavailable", 3, 0x88],
  ["quota-exceeded", 3, 0x97],
  ["bad-credentials", 4, 0x86],
  ["banned", 5, 0x8a],
  ["not-authorized", 5, 0x87],
  ["bad-authentication-method", 5, 0x8c],
  ["packet-too-large", 3, 0x95],
  ["shutting-down", 3, 0x8b],
];

Deno.test("A refused CONNECT gets its code in both versions, and no session [MQTT-3.2.2-6] [MQTT-3.2.2-8]", () => {
  for (const [refusal, returnCode, reason] of refusals) {
    const [old] = readAsClient(refusedConnack(refusal, 4), 4) as IConnackPacket[];
    const [read] = readAsClient(refusedConnack(refusal, 5), 5) as IConnackPacket[];
    assert.deepEqual([refusal, old!.returnCode, read!.reasonCode], [refusal, returnCode, reason]);
    assert.deepEqual([old!.sessionPresent, read!.sessionPresent], [false, false]);
  }
  const [malformed] = readAsClient(malformedConnack(0x81), 5) as IConnackPacket[];
  assert.equal(malformed!.reasonCode, 0x81);
});

Deno.test("A CONNECT that no credentials make good is refused before anybody asks", () => {
  const will = (level: number, topic: string) =>
    join(level === 5 ? properties() : new Uint8Array(0), counted(topic), counted("gone"));
  for (const level of LEVELS) {
    const refuse = (parts: ConnectParts) => refuseConnect(connectOf({ level, ...parts }), RULES);
    assert.equal(refuse({ userName: "alice" }), null);
    assert.equal(refuse({}), "bad-credentials");
    assert.equal(refuse({ userName: "alice", clientId: "" }), "client-id-invalid"); // [MQTT-3.1.3-8]
    // 3.1.1: an empty identifier without Clean Session is refused with 2. [MQTT-3.1.3-8]
    assert.equal(refuse({ userName: "alice", clientId: "", flags: 0x80 }), "client-id-invalid");
    const longest = "c".repeat(limits.maxClientIdBytes);
    assert.equal(refuse({ userName: "alice", clientId: longest }), null); // [MQTT-3.1.3-5]
    assert.equal(refuse({ userName: "alice", clientId: `${longest}c` }), "client-id-invalid");
    for (const topic of ["im/x", "me/inbox", "closed", "$SYS/x"]) {
      assert.equal(refuse({ userName: "alice", will: will(level, topic) }), "not-authorized", topic);
    }
    assert.equal(refuse({ userName: "alice", will: will(level, "open/a") }), null);
  }
  const asks = (...parts: readonly Part[]) =>
    refuseConnect(connectOf({ userName: "alice", properties: properties(...parts) }), RULES);
  assert.equal(asks(0x15, counted("SCRAM")), "bad-authentication-method"); // [MQTT-4.12.0-1]
  assert.equal(asks(0x27, uint32(63)), "packet-too-large"); // [MQTT-3.1.2-24]
  assert.equal(asks(0x27, uint32(64)), null);
  assert.equal(asks(0x21, uint16(1)), null);
});

Deno.test("A client without credentials is let in where that is allowed, and without an identifier unless its session is to last in 3.1.1 [MQTT-3.1.3-6], 3.1.1 [MQTT-3.1.3-6] [MQTT-3.1.3-8] [MQTT-3.1.3-9]", () => {
  const refuse = (parts: ConnectParts) =>
    refuseConnect(connectOf(parts), { ...RULES, allowsAnonymous: true });
  for (const level of LEVELS) {
    assert.equal(refuse({ level }), null);
    assert.equal(refuse({ level, clientId: "" }), null);
    assert.equal(refuse({ level, userName: "alice", clientId: "" }), "client-id-invalid");
  }
  assert.equal(refuse({ level: 4, clientId: "", flags: 0 }), "client-id-invalid");
  assert.equal(refuse({ level: 5, clientId: "", flags: 0 }), null);
});

Deno.test("No CONNACK is larger than the least Maximum Packet Size that is let in [MQTT-3.1.2-24]", () => {
  const asking = connectOf({ properties: properties(0x11, uint32(2), 0x19, 1, 0x27, uint32(64)) });
  const longest = { ...asking, keepAliveSeconds: 65_535 };
  const accepted = { ...NEW_SESSION, expirySeconds: 1, hasOpenTopics: false };
  assert.ok(acceptedConnack(longest, limits, accepted).length <= 64);
  const guest = { ...longest, clientId: "" };
  const length = acceptedConnack(guest, limits, { ...accepted, clientId: "A".repeat(16) }).length;
  assert.ok(length <= 64, String(length));
});

Deno.test("5.0 is told a keep-alive shorter than the one it asks for, and only then [MQTT-3.2.2-21]", () => {
  const most = limits.maxKeepAliveSeconds;
  for (const [asked, held] of [[0, 0], [1, 1], [most, most], [most + 1, most], [65_535, most]] as const) {
    const packet = { ...connectOf({ level: 5 }), keepAliveSeconds: asked };
    const [read] = readAsClient(acceptedConnack(packet, limits, NEW_SESSION), 5) as IConnackPacket[];
    assert.equal(read!.properties?.serverKeepAlive, asked === held ? undefined : held);
    assert.equal(keepAliveOf(packet, limits), held);
    // 3.1.1 has no way to be told: what it asks for holds.
    assert.equal(keepAliveOf({ ...packet, level: 4 }, limits), asked);
  }
});

Deno.test("CONNACK says whether there is a session, in both versions", () => {
  for (const isPresent of [false, true]) {
    const [old] = readAsClient(generateOldConnack(0, isPresent), 4) as IConnackPacket[];
    const [read] = readAsClient(generateConnack(0, isPresent, {}), 5) as IConnackPacket[];
    assert.deepEqual([old!.sessionPresent, read!.sessionPresent], [isPresent, isPresent]);
    assert.deepEqual([old!.returnCode, read!.reasonCode], [0, 0]);
  }
});

Deno.test("CONNACK is read with everything it may say, at the edges of its values", () => {
  const least = {
    receiveMaximum: 1,
    maximumPacketSize: 1,
    topicAliasMaximum: 0,
    sessionExpiryInterval: 0,
    serverKeepAlive: 0,
    assignedClientIdentifier: "a",
    retainAvailable: false,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    responseInformation: "",
    reasonString: "",
  };
  const most = {
    receiveMaximum: 65_535,
    maximumPacketSize: 0xffff_ffff,
    topicAliasMaximum: 65_535,
    sessionExpiryInterval: 0xffff_ffff,
    serverKeepAlive: 65_535,
    assignedClientIdentifier: "ü".repeat(200),
    retainAvailable: true,
    subscriptionIdentifiersAvailable: true,
    sharedSubscriptionAvailable: true,
    responseInformation: "me/reply",
    reasonString: "字",
  };
  for (const properties of [least, most]) {
    const [read] = readAsClient(generateConnack(0, true, properties), 5) as IConnackPacket[];
    assert.deepEqual({ ...read!.properties }, properties);
  }
});

Deno.test("A writer grows by what is appended and keeps what it had", () => {
  const writer = new PacketWriter(4);
  const parts = [[1, 2, 3], [4, 5, 6, 7, 8, 9], Array(500).fill(7), []];
  for (const part of parts) writer.append(Uint8Array.from(part));
  assert.deepEqual([...writer.written()], parts.flat());
});

Deno.test("Writers are handed on empty, and large ones are not kept", () => {
  const writer = takeWriter();
  writer.append(new Uint8Array(10));
  giveWriter(writer);
  assert.equal(takeWriter(), writer);
  assert.equal(writer.length, 0);
  writer.append(new Uint8Array(100_000));
  giveWriter(writer);
  assert.notEqual(takeWriter(), writer);
});
