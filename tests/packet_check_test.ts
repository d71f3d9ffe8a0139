/** The strict check: what the codec would let pass, as bytes, in both versions. */
import assert from "node:assert/strict";
import type { ProtocolLevel } from "../broker/packet.ts";
import { REASONS } from "../broker/protocol_error.ts";
import {
  acknowledgement,
  connect,
  counted,
  filters,
  ILL_FORMED,
  join,
  NUL,
  packet,
  type Part,
  properties,
  publish,
  readPackets,
  reasonOf,
  subscribe,
  uint16,
  userProperty,
  variable,
} from "./mqtt_bytes.ts";
import { tagsOf } from "./mqtt_statement.ts";

const MALFORMED = REASONS.malformedPacket;
const VIOLATION = REASONS.protocolError;

/** Runs one test per version of a malformed packet in a running session; `tags` are as {@linkcode tagsOf} takes them. */
function refuses(
  name: string,
  tags: string,
  reason: number,
  bytes: Partial<Record<ProtocolLevel, Uint8Array>>,
): void {
  for (const [level, version] of [[4, "3.1.1"], [5, "5.0"]] as const) {
    const wrong = bytes[level];
    if (wrong === undefined) continue;
    Deno.test(`${name} is refused in ${version}${tagsOf(level, tags)}`, () => {
      assert.equal(reasonOf(() => readPackets(wrong, level)), reason);
    });
  }
}

const both = (make: (level: ProtocolLevel) => Uint8Array) => ({ 4: make(4), 5: make(5) });

// PUBLISH

refuses(
  "A PUBLISH with both QoS bits",
  "[MQTT-3.3.1-4] 3.1.1 [MQTT-3.3.1-4]",
  MALFORMED,
  both((level) => publish("im/x", { level, qos: 3 })),
);
refuses(
  "A PUBLISH of QoS 0 with DUP",
  "[MQTT-3.3.1-2] 3.1.1 [MQTT-3.3.1-2]",
  MALFORMED,
  both((level) => publish("im/x", { level, isDup: true })),
);
for (const qos of [1, 2]) {
  refuses(
    `A PUBLISH of QoS ${qos} with packet identifier 0`,
    "[MQTT-2.2.1-3] 3.1.1 [MQTT-2.3.1-1]",
    VIOLATION,
    both((level) => publish("im/x", { level, qos, packetId: 0 })),
  );
}
refuses(
  "A PUBLISH too short for its packet identifier",
  "",
  MALFORMED,
  both(() => packet(0x32, counted("im/x"), 0)),
);
refuses(
  "A PUBLISH without any content",
  "[MQTT-3.3.2-1] 3.1.1 [MQTT-3.3.2-1]",
  MALFORMED,
  both(() => packet(0x30)),
);
refuses(
  "A PUBLISH whose topic is longer than the packet",
  "",
  MALFORMED,
  both(() => packet(0x30, uint16(40), 0x69, 0x6d)),
);
refuses(
  "A PUBLISH without a topic name",
  "[MQTT-4.7.3-1] 3.1.1 [MQTT-4.7.3-1]",
  VIOLATION,
  both((level) => publish("", { level })),
);
for (const topic of ["im/#", "im/+", "#", "+", "a#b", "a+b"]) {
  refuses(
    `A PUBLISH to the wildcard topic ${topic}`,
    "[MQTT-3.3.2-2] [MQTT-4.7.0-1] 3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1]",
    MALFORMED,
    both((level) => publish(topic, { level })),
  );
}
refuses(
  "A PUBLISH to a topic with U+0000",
  "[MQTT-1.5.4-2] [MQTT-4.7.3-2] 3.1.1 [MQTT-1.5.3-2] [MQTT-4.7.3-2]",
  MALFORMED,
  both((level) => publish(NUL, { level })),
);
for (const [name, bytes] of ILL_FORMED) {
  refuses(
    `A PUBLISH to a topic with ${name}`,
    "[MQTT-1.5.4-1] [MQTT-3.3.2-1] 3.1.1 [MQTT-1.5.3-1] [MQTT-3.3.2-1]",
    MALFORMED,
    both((level) => publish(bytes, { level })),
  );
}

// Properties of 5.0

const publishWith = (...parts: readonly Part[]) => ({
  5: publish("im/x", { properties: properties(...parts) }),
});
refuses("A PUBLISH without a property length", "[MQTT-2.2.2-1]", MALFORMED, {
  5: packet(0x30, counted("im/x")),
});
refuses("A property that does not exist", "", MALFORMED, publishWith(0x7e, 1));
refuses("A property of another packet", "", MALFORMED, publishWith(0x21, uint16(9)));
refuses("A property that only servers send", "", MALFORMED, publishWith(0x12, counted("x")));
refuses("A subscription identifier in a PUBLISH", "[MQTT-3.3.4-6]", MALFORMED, publishWith(0x0b, 1));
refuses("A property that stands there twice", "", VIOLATION, publishWith(0x01, 1, 0x01, 1));
refuses(
  "A response topic that stands there twice",
  "",
  VIOLATION,
  publishWith(0x08, counted("a"), 0x08, counted("b")),
);
refuses("A payload format indicator of 2", "", VIOLATION, publishWith(0x01, 2));
refuses("A property longer than its set", "", MALFORMED, {
  5: publish("im/x", { properties: join(2, 0x02, 0), payload: "{}" }),
});
refuses("A set of properties longer than the packet", "", MALFORMED, {
  5: publish("im/x", { properties: join(variable(100), 0x01, 1), payload: "" }),
});
refuses("A property length in more bytes than it needs", "[MQTT-1.5.5-1]", MALFORMED, {
  5: publish("im/x", { properties: join(0x82, 0x00, 0x01, 1) }),
});
refuses("A property length of five bytes", "[MQTT-1.5.5-1]", MALFORMED, {
  5: publish("im/x", { properties: join(0x80, 0x80, 0x80, 0x80, 0x01) }),
});
refuses(
  "A property identifier in more bytes than it needs",
  "[MQTT-1.5.5-1]",
  MALFORMED,
  publishWith(0x81, 0x00, 1),
);
refuses(
  "A user property with U+0000 in its name",
  "[MQTT-1.5.7-1]",
  MALFORMED,
  publishWith(userProperty(NUL, "v")),
);
refuses(
  "A user property with U+0000 in its value",
  "[MQTT-1.5.7-1]",
  MALFORMED,
  publishWith(userProperty("k", NUL)),
);
for (const [name, bytes] of ILL_FORMED) {
  refuses(`A content type with ${name}`, "[MQTT-3.3.2-19]", MALFORMED, publishWith(0x03, counted(bytes)));
}
refuses(
  "A response topic with a wildcard",
  "[MQTT-3.3.2-14]",
  VIOLATION,
  publishWith(0x08, counted("me/reply/#")),
);
refuses("A response topic with U+0000", "[MQTT-3.3.2-13]", MALFORMED, publishWith(0x08, counted(NUL)));
refuses("A topic alias of 0", "[MQTT-3.3.2-8]", REASONS.topicAliasInvalid, publishWith(0x23, uint16(0)));
for (const [name, bytes] of ILL_FORMED) {
  refuses(`A payload that is no UTF-8 as it claims, with ${name},`, "", REASONS.payloadFormatInvalid, {
    5: publish("im/x", { properties: properties(0x01, 1), payload: join(0x61, 0x62, bytes) }),
  });
}

// Acknowledgements

for (
  const [name, first, tag] of [
    ["PUBACK", 0x40, "[MQTT-3.4.2-1]"],
    ["PUBREC", 0x50, "[MQTT-3.5.2-1]"],
    ["PUBREL", 0x62, "[MQTT-3.6.2-1]"],
    ["PUBCOMP", 0x70, "[MQTT-3.7.2-1]"],
  ] as const
) {
  refuses(`A ${name} with packet identifier 0`, "", VIOLATION, both(() => acknowledgement(first, 0)));
  refuses(`A ${name} too short for its packet identifier`, "", MALFORMED, both(() => packet(first, 1)));
  refuses(`An empty ${name}`, "", MALFORMED, both(() => packet(first)));
  refuses(`A ${name} with a surplus byte`, "", MALFORMED, {
    4: packet(first, uint16(1), 0),
    5: packet(first, uint16(1), 0, 0, 0),
  });
  refuses(
    `A ${name} with wrong reserved flags`,
    first === 0x62
      ? "[MQTT-3.6.1-1] 3.1.1 [MQTT-3.6.1-1]"
      : "[MQTT-2.1.3-1] 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]",
    MALFORMED,
    both(() => acknowledgement(first ^ 0x02, 1)),
  );
  refuses(`A ${name} with a reason code of another packet`, tag, MALFORMED, {
    5: packet(first, uint16(1), 0x8e),
  });
  refuses(`A ${name} with a property of another packet`, "", MALFORMED, {
    5: packet(first, uint16(1), 0, properties(0x01, 1)),
  });
  refuses(`A ${name} with two reason strings`, "", VIOLATION, {
    5: packet(first, uint16(1), 0, properties(0x1f, counted("a"), 0x1f, counted("b"))),
  });
}

// SUBSCRIBE and UNSUBSCRIBE

refuses(
  "A SUBSCRIBE without filters",
  "[MQTT-3.8.3-2] 3.1.1 [MQTT-3.8.3-3]",
  VIOLATION,
  both((level) => subscribe(level, 1)),
);
refuses(
  "A SUBSCRIBE with packet identifier 0",
  "[MQTT-2.2.1-3] 3.1.1 [MQTT-2.3.1-1]",
  VIOLATION,
  both((level) => subscribe(level, 0, ["me/#", 0])),
);
refuses(
  "A SUBSCRIBE whose last filter has no options",
  "[MQTT-3.8.3-2] 3.1.1 [MQTT-3.8.3-3]",
  MALFORMED,
  both((level) => filters(level, 0x82, counted("me/#"), 1, counted("me/+"))),
);
for (const first of [0x80, 0x81, 0x83, 0x8a]) {
  refuses(
    `A SUBSCRIBE with the flags ${first & 15}`,
    "[MQTT-3.8.1-1] 3.1.1 [MQTT-3.8.1-1]",
    MALFORMED,
    both((level) => filters(level, first, counted("me/#"), 0)),
  );
}
refuses(
  "A subscription of QoS 3",
  "3.1.1 [MQTT-3.8.3-4]",
  VIOLATION,
  both((level) => subscribe(level, 1, ["me/#", 3])),
);
refuses("A subscription with reserved bits", "[MQTT-3.8.3-5] 3.1.1 [MQTT-3.8.3-4]", MALFORMED, {
  4: subscribe(4, 1, ["me/#", 0x04]),
  5: subscribe(5, 1, ["me/#", 0x40]),
});
refuses("A retain handling of 3", "", VIOLATION, { 5: subscribe(5, 1, ["me/#", 0x30]) });
for (const topicFilter of ["", "a#", "#/a", "a/#/b", "a/b#", "a+", "+a/b", "a/++", "a/#b"]) {
  refuses(
    `The topic filter "${topicFilter}"`,
    topicFilter === ""
      ? "[MQTT-4.7.3-1] 3.1.1 [MQTT-4.7.3-1]"
      : topicFilter.includes("#")
      ? "[MQTT-4.7.1-1] 3.1.1 [MQTT-4.7.1-2]"
      : "[MQTT-4.7.1-2] 3.1.1 [MQTT-4.7.1-3]",
    MALFORMED,
    both((level) => subscribe(level, 1, [topicFilter, 0])),
  );
}
refuses(
  "A filter with U+0000",
  "[MQTT-4.7.3-2] 3.1.1 [MQTT-4.7.3-2]",
  MALFORMED,
  both((level) => subscribe(level, 1, [NUL, 0])),
);
for (const [name, bytes] of ILL_FORMED) {
  refuses(
    `A filter with ${name}`,
    "[MQTT-3.8.3-1] 3.1.1 [MQTT-3.8.3-1]",
    MALFORMED,
    both((level) => subscribe(level, 1, [bytes, 0])),
  );
  refuses(
    `An UNSUBSCRIBE from a filter with ${name}`,
    "[MQTT-3.10.3-1] 3.1.1 [MQTT-3.10.3-1]",
    MALFORMED,
    both((level) => filters(level, 0xa2, counted("a"), counted(bytes))),
  );
}
for (
  const topicFilter of ["$share/", "$share/name", "$share/name/", "$share//a", "$share/n+/a", "$share/n#/a"]
) {
  refuses(
    `The shared subscription "${topicFilter}"`,
    topicFilter.startsWith("$share/n") ? "[MQTT-4.8.2-2]" : "[MQTT-4.8.2-1]",
    MALFORMED,
    { 5: subscribe(5, 1, [topicFilter, 0]) },
  );
}
refuses("No Local on a shared subscription", "[MQTT-3.8.3-4]", VIOLATION, {
  5: subscribe(5, 1, ["$share/name/a", 0x04]),
});
refuses("A subscription identifier of five bytes", "[MQTT-1.5.5-1]", MALFORMED, {
  5: packet(0x82, uint16(1), properties(0x0b, 0x80, 0x80, 0x80, 0x80, 0x01), counted("me/#"), 0),
});
refuses("A subscription identifier that stands there twice", "", VIOLATION, {
  5: packet(0x82, uint16(1), properties(0x0b, 1, 0x0b, 1), counted("me/#"), 0),
});
refuses("A subscription identifier of 0", "", VIOLATION, {
  5: packet(0x82, uint16(1), properties(0x0b, 0), counted("me/#"), 0),
});
refuses(
  "An UNSUBSCRIBE without filters",
  "[MQTT-3.10.3-2] 3.1.1 [MQTT-3.10.3-2]",
  VIOLATION,
  both((level) => filters(level, 0xa2)),
);
refuses(
  "An UNSUBSCRIBE with wrong reserved flags",
  "[MQTT-3.10.1-1] 3.1.1 [MQTT-3.10.1-1]",
  MALFORMED,
  both((level) => filters(level, 0xa0, counted("me/#"))),
);
refuses(
  "An UNSUBSCRIBE with packet identifier 0",
  "[MQTT-2.2.1-3] 3.1.1 [MQTT-2.3.1-1]",
  VIOLATION,
  both((level) => packet(0xa2, uint16(0), level === 5 ? properties() : [], counted("me/#"))),
);
refuses(
  "An UNSUBSCRIBE with a filter that is cut short",
  "[MQTT-3.10.3-1] 3.1.1 [MQTT-3.10.3-1]",
  MALFORMED,
  both((level) => filters(level, 0xa2, uint16(9), 0x61)),
);
refuses(
  "An UNSUBSCRIBE from a#",
  "[MQTT-4.7.1-1] 3.1.1 [MQTT-4.7.1-2]",
  MALFORMED,
  both((level) => filters(level, 0xa2, counted("a#"))),
);

// PINGREQ, DISCONNECT, AUTH

refuses("A PINGREQ with a surplus byte", "", MALFORMED, both(() => packet(0xc0, 0)));
refuses(
  "A PINGREQ with flags",
  "[MQTT-2.1.3-1] 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]",
  MALFORMED,
  both(() => packet(0xc1)),
);
refuses(
  "A DISCONNECT with flags",
  "[MQTT-3.14.1-1] 3.1.1 [MQTT-3.14.1-1]",
  MALFORMED,
  both(() => packet(0xe2)),
);
refuses("A DISCONNECT with a surplus byte", "", MALFORMED, {
  4: packet(0xe0, 0),
  5: packet(0xe0, 0, 0, 0),
});
refuses("A DISCONNECT with a reason code of servers", "[MQTT-3.14.2-1]", MALFORMED, {
  5: packet(0xe0, 0x8e),
});
refuses("A DISCONNECT with a property of another packet", "", MALFORMED, {
  5: packet(0xe0, 0, properties(0x21, uint16(1))),
});
refuses("An AUTH", "", MALFORMED, { 4: packet(0xf0) });
refuses("An AUTH with flags", "[MQTT-3.15.1-1]", MALFORMED, { 5: packet(0xf1) });
for (const reason of [0x00, 0x17, 0x1a, 0x8c]) {
  refuses(`An AUTH with the reason code ${reason}`, "[MQTT-3.15.2-1]", MALFORMED, {
    5: packet(0xf0, reason, properties(0x15, counted("SCRAM"))),
  });
}
refuses("An AUTH with authentication data and no method", "", VIOLATION, {
  5: packet(0xf0, 0x18, properties(0x16, counted([1, 2]))),
});
refuses("A packet of type 0", "", MALFORMED, both(() => packet(0x00)));
for (
  const [name, first] of [["CONNACK", 0x20], ["SUBACK", 0x90], ["UNSUBACK", 0xb0], [
    "PINGRESP",
    0xd0,
  ]] as const
) {
  refuses(`A ${name} from a client`, "", VIOLATION, both(() => packet(first, 0, 0)));
}
refuses(
  "A second CONNECT",
  "[MQTT-3.1.0-2] 3.1.1 [MQTT-3.1.0-2]",
  VIOLATION,
  both((level) => connect({ level })),
);
