/** The strict check of CONNECT: what the codec would let pass, as bytes, in both versions. */
import assert from "node:assert/strict";
import type { ConnectPacket } from "../broker/packet.ts";
import { REASONS } from "../broker/protocol_error.ts";
import {
  connect,
  type ConnectParts,
  counted,
  ILL_FORMED,
  join,
  NUL,
  packet,
  properties,
  publish,
  readFirst,
  reasonOf,
  uint16,
  uint32,
  userProperty,
  will,
} from "./mqtt_bytes.ts";
import { tagsOf } from "./mqtt_statement.ts";

const MALFORMED = REASONS.malformedPacket;
const VIOLATION = REASONS.protocolError;

/** Runs one test of a CONNECT. */
function refusesConnect(name: string, tag: string, reason: number, bytes: Uint8Array): void {
  Deno.test(`${name} is refused${tag && ` ${tag}`}`, () => {
    assert.equal(reasonOf(() => readFirst(bytes)), reason);
  });
}

refusesConnect(
  "A first packet that is no CONNECT",
  "[MQTT-3.1.0-1] 3.1.1 [MQTT-3.1.0-1]",
  VIOLATION,
  publish("im/x"),
);
refusesConnect(
  "A CONNECT with reserved flags in its fixed header",
  "[MQTT-2.1.3-1] 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]",
  MALFORMED,
  packet(0x11, counted("MQTT"), 4),
);
for (const name of ["HTTP", "mqtt", ""]) {
  refusesConnect(
    `A CONNECT of a protocol called "${name}"`,
    "[MQTT-3.1.2-1] 3.1.1 [MQTT-3.1.2-1]",
    VIOLATION,
    connect({ name }),
  );
}
refusesConnect(
  "A CONNECT that ends in its protocol name",
  "",
  MALFORMED,
  packet(0x10, uint16(4), 0x4d, 0x51),
);
for (const level of [4, 5] as const) {
  const version = level === 4 ? "3.1.1" : "5.0";
  const refusesHere = (name: string, tags: string, reason: number, parts: ConnectParts) =>
    Deno.test(`${name} is refused in ${version}${tagsOf(level, tags)}`, () => {
      assert.equal(reasonOf(() => readFirst(connect({ level, ...parts }))), reason);
    });
  refusesHere("A CONNECT with the reserved flag", "[MQTT-3.1.2-3] 3.1.1 [MQTT-3.1.2-3]", MALFORMED, {
    flags: 0x03,
  });
  refusesHere("A CONNECT with will QoS 3", "[MQTT-3.1.2-12] 3.1.1 [MQTT-3.1.2-14]", MALFORMED, {
    flags: 0x02 | 0x04 | 0x18,
    will: will(level, "a", "gone"),
  });
  refusesHere(
    "A CONNECT with will QoS and no will",
    "[MQTT-3.1.2-11] 3.1.1 [MQTT-3.1.2-11] [MQTT-3.1.2-13]",
    MALFORMED,
    { flags: 0x02 | 0x08 },
  );
  refusesHere(
    "A CONNECT with will retain and no will",
    "[MQTT-3.1.2-13] 3.1.1 [MQTT-3.1.2-11] [MQTT-3.1.2-15]",
    MALFORMED,
    { flags: 0x02 | 0x20 },
  );
  refusesHere(
    "A CONNECT with a will its flags do not announce",
    "[MQTT-3.1.4-1] 3.1.1 [MQTT-3.1.2-11]",
    MALFORMED,
    { flags: 0x02, will: will(level, "a", "gone") },
  );
  refusesHere("A CONNECT with a will flag and no will", "[MQTT-3.1.2-9] 3.1.1 [MQTT-3.1.2-9]", MALFORMED, {
    flags: 0x06,
  });
  for (const topic of ["", "a/#", "a/+"]) {
    refusesHere(
      `A CONNECT with a will to "${topic}"`,
      topic === "" ? "[MQTT-4.7.3-1] 3.1.1 [MQTT-4.7.3-1]" : "[MQTT-4.7.0-1] 3.1.1 [MQTT-4.7.1-1]",
      MALFORMED,
      { will: will(level, topic, "gone") },
    );
  }
  refusesHere(
    "A CONNECT with a user name flag and no user name",
    "[MQTT-3.1.2-17] 3.1.1 [MQTT-3.1.2-19]",
    MALFORMED,
    { flags: 0x82 },
  );
  refusesHere(
    "A CONNECT with a user name its flags do not announce",
    "[MQTT-3.1.2-16] 3.1.1 [MQTT-3.1.2-18]",
    MALFORMED,
    { flags: 0x02, userName: "alice" },
  );
  refusesHere(
    "A CONNECT with a password flag and no password",
    "[MQTT-3.1.2-19] 3.1.1 [MQTT-3.1.2-21]",
    MALFORMED,
    { flags: 0xc2, userName: "alice" },
  );
  refusesHere("A CONNECT with more bytes than content", "[MQTT-3.1.4-1] 3.1.1 [MQTT-3.1.4-1]", MALFORMED, {
    surplus: Uint8Array.of(0),
  });
  refusesHere(
    "A CONNECT with a password its flags do not announce",
    "[MQTT-3.1.2-18] 3.1.1 [MQTT-3.1.2-20]",
    MALFORMED,
    { flags: 0x82, userName: "alice", password: "secret" },
  );
  for (const [name, bytes] of [["U+0000", NUL] as const, ...ILL_FORMED]) {
    refusesHere(
      `A CONNECT with ${name} in its client identifier`,
      "[MQTT-3.1.3-4] 3.1.1 [MQTT-3.1.3-4]",
      MALFORMED,
      { clientId: bytes },
    );
    refusesHere(
      `A CONNECT with ${name} in its user name`,
      "[MQTT-3.1.3-12] 3.1.1 [MQTT-3.1.3-11]",
      MALFORMED,
      { userName: bytes },
    );
    refusesHere(
      `A CONNECT with ${name} in its will topic`,
      "[MQTT-3.1.3-11] 3.1.1 [MQTT-3.1.3-10]",
      MALFORMED,
      { will: will(level, bytes, "gone") },
    );
  }
  refusesConnect(
    `A CONNECT that ends before its client identifier, in ${version},`,
    level === 4 ? "3.1.1 [MQTT-3.1.3-3]" : "[MQTT-3.1.3-3]",
    MALFORMED,
    packet(0x10, counted("MQTT"), level, 2, uint16(0), level === 5 ? properties() : []),
  );
}
refusesConnect(
  "A CONNECT of 3.1.1 with a password and no user name",
  "3.1.1 [MQTT-3.1.2-22]",
  MALFORMED,
  connect({ level: 4, password: "secret" }),
);
for (
  const [name, reason, bytes] of [
    ["a receive maximum of 0", VIOLATION, join(0x21, uint16(0))],
    ["a maximum packet size of 0", VIOLATION, join(0x27, uint32(0))],
    ["a request for problem information of 2", VIOLATION, join(0x17, 2)],
    ["a request for response information of 2", VIOLATION, join(0x19, 2)],
    ["a session expiry twice", VIOLATION, join(0x11, uint32(1), 0x11, uint32(1))],
    ["authentication data and no method", VIOLATION, join(0x16, counted([1]))],
    ["a will delay outside its will", MALFORMED, join(0x18, uint32(1))],
    ["a server keep alive", MALFORMED, join(0x13, uint16(1))],
    ["a topic alias", MALFORMED, join(0x23, uint16(1))],
  ] as const
) {
  refusesConnect(
    `A CONNECT of 5.0 with ${name}`,
    "[MQTT-3.1.4-1]",
    reason,
    connect({ properties: properties(bytes) }),
  );
}
for (
  const [name, reason, bytes] of [
    ["a receive maximum", MALFORMED, join(0x21, uint16(1))],
    ["a topic alias", MALFORMED, join(0x23, uint16(1))],
    ["a subscription identifier", MALFORMED, join(0x0b, 1)],
    ["a session expiry", MALFORMED, join(0x11, uint32(1))],
    ["a will delay twice", VIOLATION, join(0x18, uint32(1), 0x18, uint32(1))],
    ["a message expiry twice", VIOLATION, join(0x02, uint32(1), 0x02, uint32(1))],
    ["a payload format indicator of 2", VIOLATION, join(0x01, 2)],
    ["a response topic with a wildcard", VIOLATION, join(0x08, counted("a/+"))],
    ["U+0000 in its content type", MALFORMED, join(0x03, counted(NUL))],
    ["U+0000 in a user property", MALFORMED, userProperty("k", NUL)],
  ] as const
) {
  refusesConnect(
    `A CONNECT of 5.0 whose will has ${name}`,
    "[MQTT-3.1.4-1]",
    reason,
    connect({ will: will(5, "a", "gone", properties(bytes)) }),
  );
}
for (const [name, bytes] of ILL_FORMED) {
  refusesConnect(
    `A will that is no UTF-8 as it claims, with ${name},`,
    "[MQTT-3.1.4-1]",
    REASONS.payloadFormatInvalid,
    connect({ will: will(5, "a", bytes, properties(0x01, 1)) }),
  );
}

for (const [name, level] of [["MQIsdp", 3], ["MQTT", 3], ["MQTT", 6], ["MQTT", 0], ["MQTT", 0x84]] as const) {
  Deno.test(`${name} level ${level} is known as unsupported before the codec sees it [MQTT-3.1.2-2] 3.1.1 [MQTT-3.1.2-2]`, () => {
    assert.equal(readFirst(connect({ name, level, surplus: Uint8Array.of(1, 2, 3) })), "unsupported");
  });
}

Deno.test("CONNECT of 3.1.1 is read with everything it says, in its order 3.1.1 [MQTT-3.1.3-1] [MQTT-1.5.3-3]", () => {
  const bytes = connect({
    level: 4,
    flags: 0xf4,
    keepAliveSeconds: 77,
    clientId: "cli\ufeffent",
    will: will(4, "will/topic", [0, 1]),
    userName: "alice",
    password: [1, 0, 255],
  });
  assert.deepEqual(readFirst(bytes), {
    type: "connect",
    level: 4,
    clientId: "cli\ufeffent",
    userName: "alice",
    password: Uint8Array.of(1, 0, 255),
    clean: false,
    keepAliveSeconds: 77,
    will: {
      publication: {
        topic: "will/topic",
        payload: Uint8Array.of(0, 1),
        qos: 2,
        retain: true,
        properties: new Uint8Array(0),
        expiresAtMs: null,
      },
      expirySeconds: null,
      delaySeconds: 0,
    },
    sessionExpirySeconds: 0xffff_ffff,
    receiveMaximum: 65_535,
    maxPacketBytes: Infinity,
    topicAliasMaximum: 0,
    wantsResponseInformation: false,
    wantsProblemInformation: true,
    authenticationMethod: null,
  });
});

Deno.test("CONNECT of 5.0 is read with its properties, also with a password and no user name", () => {
  const bytes = connect({
    flags: 0x42,
    password: "secret",
    properties: properties(
      join(0x11, uint32(3_600)),
      join(0x21, uint16(20)),
      join(0x27, uint32(1_000)),
      join(0x22, uint16(5)),
      join(0x19, 1),
      join(0x17, 0),
      userProperty("k", "v"),
      userProperty("k", "v"),
      join(0x15, counted("SCRAM")),
      join(0x16, counted([9])),
    ),
  });
  assert.deepEqual(readFirst(bytes), {
    type: "connect",
    level: 5,
    clientId: "client-1",
    userName: null,
    password: new TextEncoder().encode("secret"),
    clean: true,
    keepAliveSeconds: 0,
    will: null,
    sessionExpirySeconds: 3_600,
    receiveMaximum: 20,
    maxPacketBytes: 1_000,
    topicAliasMaximum: 5,
    wantsResponseInformation: true,
    wantsProblemInformation: false,
    authenticationMethod: "SCRAM",
  });
});

/** The CONNECT of parts that are well formed. */
function read(parts: ConnectParts): ConnectPacket {
  const packet = readFirst(connect(parts));
  assert.ok(packet !== "unsupported");
  return packet;
}

Deno.test("A session of 3.1.1 lasts for ever or ends with its connection", () => {
  const expiry = (level: number, flags: number) => read({ level, flags }).sessionExpirySeconds;
  assert.deepEqual([expiry(4, 0), expiry(4, 2)], [0xffff_ffff, 0]);
  // In 5.0 that is the Session Expiry Interval alone. [MQTT-3.1.2-23]
  assert.deepEqual([expiry(5, 0), expiry(5, 2)], [0, 0]);
  const forEver = read({ properties: properties(0x11, uint32(0xffff_ffff)) });
  assert.equal(forEver.sessionExpirySeconds, 0xffff_ffff);
});

Deno.test("A will is read with every QoS and RETAIN flag in both versions [MQTT-3.1.2-9] [MQTT-3.1.2-12] 3.1.1 [MQTT-3.1.2-9] [MQTT-3.1.2-14]", () => {
  for (const level of [4, 5]) {
    for (const qos of [0, 1, 2]) {
      for (const retain of [false, true]) {
        const flags = 0x06 | (qos << 3) | (retain ? 0x20 : 0);
        const bytes = read({ level, flags, will: will(level, "ü/\ufeff", []) }).will;
        assert.deepEqual(bytes, {
          publication: {
            topic: "ü/\ufeff",
            payload: new Uint8Array(0),
            qos,
            retain,
            properties: new Uint8Array(0),
            expiresAtMs: null,
          },
          expirySeconds: null,
          delaySeconds: 0,
        });
      }
    }
  }
});

Deno.test("A will keeps the properties that go on to receivers in their order [MQTT-3.1.3-10]", () => {
  const kept = [
    userProperty("b", "1"),
    userProperty("a", "2"),
    join(0x01, 1),
    userProperty("b", "1"),
    join(0x09, counted([0])),
    join(0x03, counted("text/plain")),
    join(0x08, counted("answers")),
  ];
  const delay = join(0x18, uint32(0xffff_ffff));
  const expiry = join(0x02, uint32(60));
  const orders = [[delay, expiry, ...kept], [...kept, expiry, delay], kept.toSpliced(2, 0, delay)];
  for (const order of orders) {
    const bytes = read({ will: will(5, "a", "gone", properties(...order)), userName: "alice" });
    assert.equal(bytes.userName, "alice");
    assert.deepEqual(bytes.will?.publication.properties, join(...kept));
    assert.equal(bytes.will.delaySeconds, 0xffff_ffff);
    assert.equal(bytes.will.expirySeconds, order.includes(expiry) ? 60 : null);
  }
});

Deno.test("A will outlives the bytes it came in", () => {
  const bytes = connect({ will: will(5, "a", "gone", properties(userProperty("k", "v"))) });
  const packet = readFirst(bytes);
  assert.ok(packet !== "unsupported" && packet.will !== null);
  const { payload, properties: kept } = packet.will.publication;
  for (const view of [payload, kept]) assert.equal(view.buffer.byteLength, view.length);
  bytes.fill(0);
  assert.equal(new TextDecoder().decode(payload), "gone");
  assert.deepEqual(kept, userProperty("k", "v"));
});
