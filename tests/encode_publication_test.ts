/** Deliveries of open topics as MQTT.js's own parser reads them, which was written apart from the server. */
import assert from "node:assert/strict";
import type { IPublishPacket } from "mqtt-packet";
import {
  appendPublication,
  publicationBytes,
  type PublicationDelivery,
  type PublicationOptions,
  SharedPublication,
  writePublication,
} from "../broker/encode_publication.ts";
import { PacketWriter } from "../broker/packet_writer.ts";
import type { Publication } from "../broker/publication.ts";
import {
  counted,
  join,
  packet,
  properties,
  readAsClient,
  uint16,
  uint32,
  userProperty,
} from "./mqtt_bytes.ts";

const LEVELS = [4, 5] as const;
const EITHER = [false, true] as const;

const PLAIN: PublicationOptions = {
  level: 5,
  packetId: 1,
  dup: false,
  expirySeconds: null,
  topicAlias: null,
  isAliasKnown: false,
};

function publicationOf(parts: Partial<Publication> = {}): Publication {
  return {
    topic: "open/ü",
    payload: new TextEncoder().encode("ä body"),
    qos: 2,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: null,
    ...parts,
  };
}

/** Writes behind other bytes, checks where it stands and how long it is, and reads it. */
function written(delivery: PublicationDelivery, options: PublicationOptions) {
  const writer = new PacketWriter(8);
  writer.append(Uint8Array.of(0xd0, 0));
  const { level, expirySeconds, topicAlias, isAliasKnown } = options;
  assert.equal(writePublication(writer, delivery, options), 2);
  const bytes = writer.written().slice(2);
  assert.equal(bytes.length, publicationBytes(delivery, level, expirySeconds, topicAlias, isAliasKnown));
  const [read, ...more] = readAsClient(bytes, level) as IPublishPacket[];
  assert.equal(more.length, 0);
  return { bytes, read: read! };
}

Deno.test("A delivery is read as it was written, with every combination of what it may have", () => {
  const forwarded = join(
    join(0x01, 1),
    join(0x03, counted("text/plain")),
    join(0x08, counted("answers/ü")),
    join(0x09, counted([0, 255])),
    userProperty("b", "1"),
    userProperty("a", "2"),
  );
  const aliases = [
    { topicAlias: null, isAliasKnown: false },
    { topicAlias: null, isAliasKnown: true },
    { topicAlias: 1, isAliasKnown: false },
    { topicAlias: 65_535, isAliasKnown: true },
  ];
  let cases = 0;
  for (const level of LEVELS) {
    for (const qos of [0, 1, 2]) {
      for (const retain of EITHER) {
        for (const dup of EITHER) {
          for (const expirySeconds of [null, 0, 65_536, 0xffff_ffff]) {
            for (const { topicAlias, isAliasKnown } of aliases) {
              for (const subscriptionIds of [[], [1], [127, 128, 16_384, 268_435_455]]) {
                for (const own of [new Uint8Array(0), forwarded]) {
                  const publication = publicationOf({ properties: own });
                  const { read } = written({ publication, qos, retain, subscriptionIds }, {
                    ...{ level, packetId: 65_535, dup, expirySeconds, topicAlias, isAliasKnown },
                  });
                  const isLeftOut = level === 5 && topicAlias !== null && isAliasKnown;
                  assert.equal(read.topic, isLeftOut ? "" : "open/ü");
                  assert.deepEqual(new Uint8Array(read.payload as Uint8Array), publication.payload);
                  assert.equal(read.qos, qos);
                  assert.equal(read.retain, retain);
                  assert.equal(read.dup, dup && qos > 0); // [MQTT-3.3.1-1] [MQTT-3.3.1-2]
                  assert.equal(read.messageId, qos > 0 ? 65_535 : undefined); // [MQTT-2.2.1-2]
                  const { userProperties, correlationData, ...said } = { ...read.properties };
                  const isKept = level === 5 && own.length > 0;
                  assert.deepEqual({ ...userProperties }, isKept ? { a: "2", b: "1" } : {});
                  assert.deepEqual(correlationData && [...correlationData], isKept ? [0, 255] : undefined);
                  const ids = subscriptionIds.length === 1 ? subscriptionIds[0] : subscriptionIds;
                  assert.deepEqual(said, {
                    ...(level === 5 && expirySeconds !== null
                      ? { messageExpiryInterval: expirySeconds }
                      : {}), // [MQTT-3.3.2-6]
                    ...(level === 5 && topicAlias !== null ? { topicAlias } : {}),
                    ...(level === 5 && subscriptionIds.length > 0 ? { subscriptionIdentifier: ids } : {}),
                    ...(isKept
                      ? {
                        payloadFormatIndicator: true, // [MQTT-3.3.2-4]
                        contentType: "text/plain", // [MQTT-3.3.2-20]
                        responseTopic: "answers/ü", // [MQTT-3.3.2-15]
                      }
                      : {}),
                  });
                  cases++;
                }
              }
            }
          }
        }
      }
    }
  }
  assert.equal(cases, 2 * 3 * 2 * 2 * 4 * 4 * 3 * 2);
});

Deno.test("A delivery is these bytes: expiry, alias, identifiers, then what the publisher said [MQTT-3.3.2-18]", () => {
  const own = join(userProperty("b", "1"), userProperty("a", "2"), userProperty("b", "3"));
  const publication = publicationOf({ topic: "t", payload: Uint8Array.of(7), properties: own });
  const delivery = { publication, qos: 1, retain: true, subscriptionIds: [128, 5] };
  const said = properties(
    join(0x02, uint32(9)),
    join(0x23, uint16(3)),
    join(0x0b, 0x80, 0x01),
    join(0x0b, 5),
    own,
  );
  const options = { level: 5, packetId: 0x0102, dup: true, expirySeconds: 9, topicAlias: 3 } as const;
  const { bytes } = written(delivery, { ...options, isAliasKnown: false });
  assert.deepEqual(bytes, packet(0x3b, counted("t"), 1, 2, said, 7));
  const { bytes: short } = written(delivery, { ...options, isAliasKnown: true });
  assert.deepEqual(short, packet(0x3b, counted(""), 1, 2, said, 7));
  const { bytes: old } = written(delivery, { ...options, level: 4, isAliasKnown: true });
  assert.deepEqual(old, packet(0x3b, counted("t"), 1, 2, 7));
});

Deno.test("Lengths grow by a byte where they must, and not before [MQTT-1.5.5-1]", () => {
  for (const level of LEVELS) {
    for (const [last, lengthBytes] of [[127, 1], [16_383, 2], [2_097_151, 3]] as const) {
      for (const qos of [0, 1]) {
        const headBytes = 2 + 1 + (qos > 0 ? 2 : 0) + (level === 5 ? 1 : 0);
        for (const beyond of [-1, 0, 1]) {
          const payload = new Uint8Array(last + beyond - headBytes).fill(0x78);
          const publication = publicationOf({ topic: "t", payload });
          const { bytes, read } = written({ publication, qos, retain: false, subscriptionIds: [] }, {
            ...PLAIN,
            level,
          });
          const remaining = last + beyond;
          assert.equal(bytes.length, 1 + lengthBytes + (beyond > 0 ? 1 : 0) + remaining);
          assert.equal(read.payload.length, payload.length);
          assert.ok(payload.every((byte, i) => byte === bytes[bytes.length - payload.length + i]));
        }
      }
    }
  }
  for (const last of [127, 16_383]) {
    for (const beyond of [-1, 0, 1]) {
      const own = userProperty("k", new Uint8Array(last + beyond - 6).fill(0x76));
      const publication = publicationOf({ properties: own });
      const { bytes } = written({ publication, qos: 0, retain: false, subscriptionIds: [] }, PLAIN);
      assert.deepEqual(bytes, packet(0x30, counted("open/ü"), properties(own), publication.payload));
    }
  }
});

Deno.test("Topics that take turns are each written whole", () => {
  for (const topic of ["a", "b", "", "b", "ü".repeat(300), "a"]) {
    const delivery = { publication: publicationOf({ topic }), qos: 0, retain: false, subscriptionIds: [] };
    assert.equal(written(delivery, PLAIN).read.topic, topic);
  }
});

Deno.test("Receivers share the bytes of a publication, each with its own packet identifier", () => {
  for (const size of [0, 117, 118, 130, 20_000]) {
    const publication = publicationOf({
      payload: new Uint8Array(size).fill(0x78),
      properties: userProperty("k", "v"),
    });
    const shared = new SharedPublication(publication);
    assert.equal(shared.publication, publication);
    const seen = new Set<Uint8Array>();
    for (const level of LEVELS) {
      for (const qos of [0, 1, 2]) {
        for (const retain of EITHER) {
          const encoded = shared.encoded(level, qos, retain);
          assert.equal(shared.encoded(level, qos, retain), encoded);
          seen.add(encoded.bytes);
          assert.equal(encoded.packetIdAt < 0, qos === 0);
          const before = encoded.bytes.slice();
          const writer = new PacketWriter(1);
          const starts = [1, 0x1234, 65_535].map((packetId) => appendPublication(writer, encoded, packetId));
          assert.deepEqual(starts, [0, before.length, 2 * before.length]);
          assert.deepEqual(encoded.bytes, before);
          const delivery = { publication, qos, retain, subscriptionIds: [] };
          const alone = new PacketWriter(1);
          for (const packetId of [1, 0x1234, 65_535]) {
            writePublication(alone, delivery, { ...PLAIN, level, packetId });
          }
          assert.deepEqual(writer.written(), alone.written());
        }
      }
    }
    assert.equal(seen.size, 12);
  }
});
