/** What the strict check reads of well-formed packets, in both versions. */
import assert from "node:assert/strict";
import type { ProtocolLevel, PublishPacket } from "../broker/packet.ts";
import {
  acknowledgement,
  counted,
  filters,
  join,
  packet,
  type Part,
  properties,
  publish,
  readPackets,
  subscribe,
  uint16,
  uint32,
  userProperty,
  variable,
} from "./mqtt_bytes.ts";

const PLAIN = {
  responseTopic: null,
  correlationData: null,
  topicAlias: null,
  expirySeconds: null,
  forwarded: new Uint8Array(0),
} as const;

Deno.test("PUBLISH is read at every QoS in both versions, DUP aside", () => {
  for (const level of [4, 5] as const) {
    for (const qos of [0, 1, 2]) {
      for (const retain of [false, true]) {
        const topic = `im/ü${"x".repeat(100)}`;
        const bytes = publish(topic, {
          level,
          qos,
          packetId: 65_535,
          isDup: qos > 0,
          isRetain: retain,
          payload: "ä",
        });
        assert.deepEqual(readPackets(bytes, level), [{
          type: "publish",
          topic,
          qos,
          retain,
          packetId: qos === 0 ? 0 : 65_535,
          payload: new TextEncoder().encode("ä"),
          ...PLAIN,
        }]);
      }
    }
  }
});

/** The PUBLISH of 5.0 with these properties. */
function readPublishWith(
  parts: readonly Part[],
  rest: { topic?: string; payload?: string | number[] } = {},
): PublishPacket {
  const { topic = "im/x", payload = "{}" } = rest;
  const [read] = readPackets(publish(topic, { properties: properties(...parts), payload }), 5);
  assert.ok(read?.type === "publish");
  return read;
}

const TEXT = join(0x01, 1);
const EXPIRY = join(0x02, uint32(0xffff_ffff));
const CONTENT_TYPE = join(0x03, counted("application/json"));
const RESPONSE_TOPIC = join(0x08, counted("me/reply/tab-1"));
const CORRELATION_DATA = join(0x09, counted([0, 255]));
const ALIAS = join(0x23, uint16(65_535));

Deno.test("PUBLISH is read with the properties that requests use, among all others", () => {
  const read = readPublishWith(
    [TEXT, EXPIRY, CONTENT_TYPE, userProperty("a", "1"), RESPONSE_TOPIC, CORRELATION_DATA, ALIAS],
    { payload: "" },
  );
  assert.equal(read.responseTopic, "me/reply/tab-1");
  assert.deepEqual(read.correlationData, Uint8Array.of(0, 255));
  assert.equal(read.expirySeconds, 0xffff_ffff);
  assert.equal(read.topicAlias, 65_535);
  assert.equal(read.payload.length, 0);
  assert.equal(readPublishWith([0x02, uint32(0)]).expirySeconds, 0);
});

Deno.test("A topic alias may stand for the topic or be given one", () => {
  const alias = join(0x23, uint16(1));
  assert.deepEqual(
    [readPublishWith([alias], { topic: "" }), readPublishWith([alias], { topic: "a" })]
      .map(({ topic, topicAlias }) => [topic, topicAlias]),
    [["", 1], ["a", 1]],
  );
});

Deno.test("Properties that go on to receivers are kept byte for byte and in their order [MQTT-3.3.2-18]", () => {
  // What the codec would make an object of: names that repeat, names that are no names, numbers out of order.
  const users = [
    userProperty("b", "1"),
    userProperty("a", "2"),
    userProperty("b", "1"),
    userProperty("__proto__", ""),
    userProperty("", "ü"),
    userProperty("2", "3"),
    userProperty("1", "4"),
  ];
  const kept = [TEXT, users[0]!, CONTENT_TYPE, ...users.slice(1, 4), RESPONSE_TOPIC, CORRELATION_DATA];
  const all = [...kept, ...users.slice(4)];
  // [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20]
  for (const order of [all, all.toReversed()]) {
    assert.deepEqual(readPublishWith(order).forwarded, join(...order));
    // The two that do not go on, at every place among those that do.
    for (let i = 0; i <= order.length; i++) {
      for (let j = i; j <= order.length; j++) {
        const mixed = [...order.slice(0, i), EXPIRY, ...order.slice(i, j), ALIAS, ...order.slice(j)];
        const read = readPublishWith(mixed);
        assert.deepEqual(read.forwarded, join(...order));
        assert.deepEqual([read.expirySeconds, read.topicAlias], [0xffff_ffff, 65_535]);
      }
    }
  }
  assert.equal(readPublishWith([ALIAS, EXPIRY]).forwarded.length, 0);
});

Deno.test("Properties that go on to receivers are copied only where something stands between them", () => {
  const isView = ({ forwarded, payload }: PublishPacket) => forwarded.buffer === payload.buffer;
  assert.ok(isView(readPublishWith([TEXT, CONTENT_TYPE])));
  assert.ok(isView(readPublishWith([EXPIRY, TEXT, CONTENT_TYPE, ALIAS])));
  assert.ok(!isView(readPublishWith([TEXT, EXPIRY, CONTENT_TYPE])));
});

Deno.test("A payload that claims to be text may be any UTF-8, and one that does not any bytes", () => {
  for (const payload of ["", "x", "\u0000", "\ufeffä", `${"x".repeat(300)}🔥`]) {
    const bytes = [...new TextEncoder().encode(payload)];
    assert.deepEqual([...readPublishWith([TEXT], { payload }).payload], bytes);
  }
  const bytes = [0x61, 0xff];
  assert.deepEqual([...readPublishWith([], { payload: bytes }).payload], bytes);
  assert.deepEqual([...readPublishWith([0x01, 0], { payload: bytes }).payload], bytes);
});

Deno.test("Acknowledgements are read with and without reason code and properties", () => {
  for (
    const [type, first] of [["puback", 0x40], ["pubrec", 0x50], ["pubrel", 0x62], ["pubcomp", 0x70]] as const
  ) {
    for (const level of [4, 5] as const) {
      assert.deepEqual(readPackets(acknowledgement(first, 258), level), [{ type, packetId: 258, reason: 0 }]);
    }
    const reason = type === "puback" || type === "pubrec" ? 0x97 : 0x92;
    for (
      const rest of [
        [],
        properties(),
        properties(0x1f, counted("why"), userProperty("k", "v"), userProperty("k", "v")),
      ]
    ) {
      assert.deepEqual(readPackets(packet(first, uint16(1), reason, rest), 5), [{
        type,
        packetId: 1,
        reason,
      }]);
    }
  }
});

/** What 3.1.1 says of a subscription is its QoS. */
const ofQos = (qos: number) => ({
  qos,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: null,
});

Deno.test("SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and AUTH are read", () => {
  for (const level of [4, 5] as const) {
    const bytes = subscribe(level, 3, ["me/#", 2], ["+/a/\ufeff", 0], ["me/#", 1]);
    assert.deepEqual(readPackets(bytes, level), [{
      type: "subscribe",
      packetId: 3,
      subscriptions: [
        { topicFilter: "me/#", options: ofQos(2) },
        { topicFilter: "+/a/\ufeff", options: ofQos(0) },
        { topicFilter: "me/#", options: ofQos(1) },
      ],
    }]);
    assert.deepEqual(readPackets(filters(level, 0xa2, counted("me/#"), counted("ü")), level), [
      { type: "unsubscribe", packetId: 1, topicFilters: ["me/#", "ü"] },
    ]);
    assert.deepEqual(readPackets(join(packet(0xc0), packet(0xe0)), level), [
      { type: "pingreq" },
      { type: "disconnect", reason: 0, sessionExpirySeconds: null },
    ]);
  }
  const goodbye = packet(0xe0, 0x04, properties(0x11, uint32(10), 0x1f, counted("later")));
  assert.deepEqual(readPackets(goodbye, 5), [{ type: "disconnect", reason: 4, sessionExpirySeconds: 10 }]);
  for (const reason of [0x18, 0x19]) {
    const auth = packet(0xf0, reason, properties(0x15, counted("SCRAM"), 0x16, counted([1])));
    assert.deepEqual(readPackets(auth, 5), [{ type: "auth" }]);
  }
});

Deno.test("A subscription of 5.0 is read with every combination of its options", () => {
  for (const subscriptionId of [null, 1, 127, 128, 268_435_455]) {
    const ids = subscriptionId === null ? properties() : properties(0x0b, variable(subscriptionId));
    const expected: unknown[] = [];
    const parts: Part[] = [];
    for (const qos of [0, 1, 2]) {
      for (const noLocal of [false, true]) {
        for (const retainAsPublished of [false, true]) {
          for (const retainHandling of [0, 1, 2]) {
            const options = qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4);
            parts.push(counted("a/#"), options);
            expected.push({
              topicFilter: "a/#",
              options: { qos, noLocal, retainAsPublished, retainHandling, subscriptionId },
            });
          }
        }
      }
    }
    const bytes = packet(0x82, uint16(3), ids, ...parts);
    assert.deepEqual(readPackets(bytes, 5), [{ type: "subscribe", packetId: 3, subscriptions: expected }]);
  }
});

Deno.test("Shared subscriptions are read in both versions, and in 3.1.1 bad ones too", () => {
  const filtersOf = (level: ProtocolLevel, ...topicFilters: string[]) => {
    const named = topicFilters.map((topicFilter) => [topicFilter, 1] as const);
    const [read] = readPackets(subscribe(level, 1, ...named), level);
    return read?.type === "subscribe" ? read.subscriptions.map(({ topicFilter }) => topicFilter) : null;
  };
  const good = ["$share/name/a/#", "$share/name//", "$share/n/$share/n/+", "$share", "$sharex/"];
  assert.deepEqual(filtersOf(5, ...good), good);
  const all = [...good, "$share/", "$share/name", "$share/name/", "$share//a"];
  assert.deepEqual(filtersOf(4, ...all), all);
});
