/** Messages of open topics on their way to one connection: the window, identifiers, what waits, sizes and expiry. */
import assert from "node:assert/strict";
import { counted, packet, uint16 } from "./mqtt_bytes.ts";
import { Receiver } from "./receiver.ts";
import { deliveryOf, LIMITS, OWN_PROPERTIES, VERSIONS } from "./session_rig.ts";

const EITHER = [false, true] as const;

for (const [level, version] of VERSIONS) {
  for (const isLasting of EITHER) {
    const kind = `${isLasting ? "a lasting" : "an ordinary"} session of ${version}`;

    Deno.test(`Messages go out up to the window, and the rest in order behind acknowledgements, to ${kind} [MQTT-4.9.0-2]`, () => {
      const receiver = new Receiver({ level, isLasting });
      const outcomes = [1, 2, 0, 1, 2, 0, 1].map((qos, i) => receiver.publish(`m${i}`, { qos }));
      assert.deepEqual(outcomes, [
        "written",
        "written",
        "written",
        "written",
        "waiting",
        "waiting",
        "waiting",
      ]);
      receiver.release();
      assert.deepEqual(receiver.heard(), [
        "publish t m0 qos 1 id 1",
        "publish t m1 qos 2 id 2",
        "publish t m2 qos 0",
        "publish t m3 qos 1 id 3",
      ]);
      assert.equal(receiver.acknowledge("puback", 3), true);
      receiver.release();
      assert.deepEqual(receiver.heard(), ["publish t m4 qos 2 id 4", "publish t m5 qos 0"]);
      // Of QoS 2 the PUBCOMP ends it: until then it takes its place. [MQTT-3.3.4-9]
      assert.equal(receiver.acknowledge("pubrec", 2), true);
      receiver.release();
      assert.deepEqual(receiver.heard(), ["pubrel 2"]);
      assert.equal(receiver.acknowledge("pubcomp", 2), true);
      receiver.release();
      assert.deepEqual(receiver.heard(), ["publish t m6 qos 1 id 5"]);
      assert.equal(receiver.outbound.hasWaiting, false);
      assert.equal(receiver.outbound.waitingBytes, 0);
      assert.equal(receiver.outbound.inflightCount, 3);
    });

    Deno.test(`The window is the smaller of ours and the client's for ${kind} [MQTT-3.3.4-9]`, () => {
      for (const [receiveMaximum, window] of [[1, 1], [2, 2], [65_535, LIMITS.maxInflightOut]] as const) {
        const receiver = new Receiver({ level, isLasting, connect: { receiveMaximum } });
        for (let i = 0; i < 4; i++) receiver.publish("m");
        assert.equal(receiver.outbound.inflightCount, window);
        assert.equal(receiver.heard().length, window);
      }
    });

    Deno.test(`What a socket has no room for waits, and nothing overtakes it, in ${kind}`, () => {
      const receiver = new Receiver({ level, isLasting });
      assert.equal(receiver.publish("a", { qos: 0 }, false), "waiting");
      assert.equal(receiver.publish("b", { qos: 1 }), "waiting");
      assert.equal(receiver.deliver("event", 0), "waiting");
      assert.deepEqual(receiver.heard(), []);
      receiver.release(1);
      assert.deepEqual(receiver.heard(), ["publish t a qos 0"], "one packet may go beyond the room");
      receiver.release();
      assert.deepEqual(receiver.heard(), ["publish t b qos 1 id 1", "publish me/inbox event qos 0"]);
    });
  }
}

Deno.test("Thousands that wait come in order, however few leave at a time", () => {
  const receiver = new Receiver({ limits: { maxInflightOut: 5_000 } });
  const texts = Array.from({ length: 1_000 }, (_, i) => `m${i}`);
  for (const text of texts) receiver.publish(text, { qos: Number(text.slice(1)) % 2 }, false);
  const heard: string[] = [];
  while (receiver.outbound.hasWaiting) {
    receiver.release(100);
    heard.push(...receiver.heard());
    // What is added meanwhile goes to the end.
    if (heard.length < 900 && texts.length < 1_100) {
      texts.push(`m${texts.length}`);
      receiver.publish(texts.at(-1)!, { qos: 0 });
    }
  }
  assert.deepEqual(heard.map((words) => words.split(" ")[2]), texts);
  assert.equal(receiver.outbound.waitingBytes, 0);
});

Deno.test("What waits counts by its bytes, unless it is kept anyway or a reply", () => {
  const ordinary = new Receiver();
  ordinary.publish("x".repeat(100), { qos: 1, properties: OWN_PROPERTIES }, false);
  // Each takes 128 bytes besides: many empty ones are not free.
  const first = 128 + 1 + 100 + OWN_PROPERTIES.length;
  assert.equal(ordinary.outbound.waitingBytes, first);
  ordinary.publish("y".repeat(50), { qos: 0 });
  assert.equal(ordinary.outbound.waitingBytes, first + 128 + 51);
  ordinary.release();
  assert.equal(ordinary.outbound.waitingBytes, 0);

  const lasting = new Receiver({ isLasting: true });
  lasting.publish("x".repeat(100), { qos: 1 }, false);
  assert.equal(lasting.outbound.waitingBytes, 0, "its limits are those of what is kept");
  lasting.publish("y".repeat(50), { qos: 0 });
  assert.equal(lasting.outbound.waitingBytes, 128 + 51, "QoS 0 is kept for nobody who is there");
  assert.equal(lasting.outbound.kept.size, 1);
  lasting.leave();
  assert.equal(lasting.outbound.waitingBytes, 0);
});

Deno.test("Who reads and acknowledges nothing makes nothing grow, and hears the newest when it goes on", () => {
  const receiver = new Receiver({ isLasting: true, connect: { receiveMaximum: 1 } });
  for (let i = 0; i < 20_000; i++) receiver.publish(`${i}`.padStart(100, "0"), { qos: 1 });
  assert.ok(receiver.outbound.waitingPlaces < 3_000, String(receiver.outbound.waitingPlaces));
  assert.equal(receiver.counts.dropped + receiver.outbound.kept.size, 20_000);
  const [sent, ...others] = receiver.heard();
  assert.match(sent!, /0{100}/);
  assert.deepEqual(others, []);
  receiver.acknowledge("puback", 1);
  receiver.release();
  assert.equal(receiver.heard().length, 1);
});

Deno.test("An identifier is not given out again while its message is kept, sent or not [MQTT-2.2.1-4]", () => {
  const receiver = new Receiver({ isLasting: true });
  for (const qos of [1, 2, 2]) receiver.publish("m", { qos });
  receiver.acknowledge("pubrec", 3);
  receiver.leave();
  // Those that are sent stay; the others make place for one another.
  const given: number[] = [];
  for (let i = 0; i < 65_535; i++) {
    receiver.miss("m");
    const [seq, state] = [...receiver.log.messages].at(-1)!;
    assert.equal(seq, 4 + i);
    given.push(state.packetId);
    receiver.log.told();
  }
  assert.equal(receiver.outbound.kept.size, LIMITS.maxQueuedMessages);
  assert.deepEqual(given.slice(0, 2), [4, 5]);
  assert.deepEqual(given.slice(-4), [65_535, 4, 5, 6]);
  assert.ok(given.every((packetId) => packetId > 3));
});

Deno.test("A lasting session keeps what is unacknowledged, and its log knows every step", () => {
  const receiver = new Receiver({ isLasting: true });
  for (const qos of [0, 1, 2]) receiver.publish(`m${qos}`, { qos, retain: qos === 2 });
  assert.deepEqual(receiver.log.told(), ["1 m1 qos 1 id 1", "2 m2 qos 2 id 2 retain"]);
  receiver.acknowledge("pubrec", 2);
  assert.deepEqual(receiver.log.told(), ["2 released qos 2 id 2 retain"]);
  receiver.acknowledge("pubrec", 2);
  assert.deepEqual(receiver.log.told(), [], "a second PUBREC changes nothing");
  receiver.acknowledge("puback", 1);
  receiver.acknowledge("pubcomp", 2);
  assert.deepEqual(receiver.log.told(), ["1 gone", "2 gone"]);
  assert.equal(receiver.outbound.kept.size, 0);

  const ordinary = new Receiver();
  for (const qos of [0, 1, 2]) ordinary.publish(`m${qos}`, { qos });
  assert.deepEqual([ordinary.log.told(), ordinary.outbound.kept.size], [[], 0]);
});

Deno.test("An acknowledgement that refuses ends the exchange too [MQTT-4.4.0-2]", () => {
  const receiver = new Receiver({ isLasting: true });
  for (const qos of [1, 2]) receiver.publish("m", { qos });
  receiver.heard();
  receiver.acknowledge("puback", 1, 0x80);
  receiver.acknowledge("pubrec", 2, 0x97);
  assert.deepEqual(receiver.heard(), [], "and asks for no PUBREL");
  assert.deepEqual([receiver.outbound.inflightCount, receiver.outbound.kept.size], [0, 0]);
});

Deno.test("A message for which there is no place is dropped and counted", () => {
  const receiver = new Receiver({ isLasting: true, limits: { maxQueuedBytes: 100 } });
  assert.equal(receiver.publish("x".repeat(90)), "written");
  assert.equal(receiver.publish("y".repeat(20)), "dropped");
  assert.equal(receiver.counts.dropped, 1);
  assert.deepEqual(receiver.heard(), [`publish t ${"x".repeat(90)} qos 1 id 1`]);
  assert.equal(receiver.outbound.hasWaiting, false);
});

Deno.test("A message that made place for a newer one while it waited is not sent", () => {
  const receiver = new Receiver({ isLasting: true, limits: { maxQueuedBytes: 100, maxInflightOut: 1 } });
  for (const letter of ["a", "b", "c", "d"]) receiver.publish(letter.repeat(30));
  assert.equal(receiver.counts.dropped, 1);
  receiver.heard();
  const heard: string[] = [];
  for (let packetId = 1; packetId <= 4; packetId++) {
    receiver.acknowledge("puback", packetId);
    receiver.release();
    heard.push(...receiver.heard());
  }
  const sent = (letter: string, packetId: number) => `publish t ${letter.repeat(30)} qos 1 id ${packetId}`;
  assert.deepEqual(heard, [sent("c", 3), sent("d", 4)]);
});

Deno.test("Subscription identifiers come with the message in 5.0 alone [MQTT-3.3.4-3] [MQTT-3.3.4-4]", () => {
  for (const [level] of VERSIONS) {
    const receiver = new Receiver({ level });
    receiver.publish("a", { subscriptionIds: [7] });
    receiver.publish("b", { subscriptionIds: [7, 268_435_455] });
    receiver.publish("c");
    assert.deepEqual(receiver.heard(), [
      `publish t a qos 1 id 1${level === 5 ? " for 7" : ""}`,
      `publish t b qos 1 id 2${level === 5 ? " for 7,268435455" : ""}`,
      "publish t c qos 1 id 3",
    ]);
  }
});

Deno.test("What is left of the expiry is told to 5.0, in seconds begun [MQTT-3.3.2-6]", () => {
  for (const [leftMs, seconds] of [[1, 1], [999, 1], [1_000, 1], [1_001, 2], [60_000, 60]] as const) {
    for (const [level] of VERSIONS) {
      const receiver = new Receiver({ level });
      receiver.publish("m", { qos: 0, expiresAtMs: receiver.nowMs + leftMs });
      assert.deepEqual(receiver.heard(), [`publish t m qos 0${level === 5 ? ` expires ${seconds}` : ""}`]);
    }
  }
});

Deno.test("What expires while it waits is dropped when its turn comes [MQTT-3.3.2-5]", () => {
  for (const [level] of VERSIONS) {
    for (const isLasting of EITHER) {
      const receiver = new Receiver({ level, isLasting });
      const { nowMs } = receiver;
      for (const [text, expiresAtMs] of [["a", nowMs + 10], ["b", nowMs + 11], ["c", nowMs + 12]] as const) {
        receiver.publish(text, { qos: 1, expiresAtMs }, false);
      }
      receiver.nowMs += 11;
      receiver.release();
      const id = isLasting ? 3 : 1; // what is kept has its identifier from the start
      assert.deepEqual(receiver.heard(), [`publish t c qos 1 id ${id}${level === 5 ? " expires 1" : ""}`]);
      assert.equal(receiver.counts.dropped, 2);
      assert.equal(receiver.outbound.kept.size, isLasting ? 1 : 0);
      assert.equal(receiver.outbound.inflightCount, 1);
    }
  }
});

Deno.test("A packet larger than the client takes counts as delivered, to the byte [MQTT-3.1.2-24] [MQTT-3.1.2-25]", () => {
  const parts = [
    { qos: 0 },
    { qos: 1 },
    { qos: 1, isShared: false },
    { qos: 2, properties: OWN_PROPERTIES },
    { qos: 1, expiresAtMs: 5_000_000 },
    { qos: 1, subscriptionIds: [300] },
  ];
  for (const part of parts) {
    for (const isLasting of EITHER) {
      const measure = new Receiver();
      measure.publish("x".repeat(40), part);
      const maxPacketBytes = measure.bytes().length;
      const receiver = new Receiver({ isLasting, connect: { maxPacketBytes } });
      assert.equal(receiver.publish("x".repeat(41), part), "written");
      assert.deepEqual(receiver.heard(), []);
      assert.deepEqual([receiver.outbound.inflightCount, receiver.outbound.kept.size], [0, 0]);
      receiver.publish("x".repeat(40), part);
      assert.equal(receiver.heard().length, 1);
      assert.equal(receiver.counts.dropped, 0);
    }
  }
});

Deno.test("Events of the user's own end with the connection, and their identifiers are free again", () => {
  const receiver = new Receiver({ isLasting: true });
  for (const qos of [1, 2, 1, 1]) receiver.deliver("event", qos);
  receiver.acknowledge("pubrec", 2);
  assert.ok(receiver.outbound.waitingBytes > 0);
  receiver.leave();
  assert.deepEqual([receiver.outbound.inflightCount, receiver.outbound.hasWaiting], [0, false]);
  assert.deepEqual(receiver.comeBack(), []);
  for (const [type, packetId] of [["puback", 1], ["pubcomp", 2]] as const) {
    assert.equal(receiver.acknowledge(type, packetId), false);
  }
  assert.deepEqual(receiver.heard(), []);
  assert.deepEqual(receiver.log.told(), []);
});

Deno.test("The shared bytes of a message and those of its own say the same", () => {
  for (const [level] of VERSIONS) {
    for (const qos of [0, 1, 2]) {
      for (const retain of EITHER) {
        for (const properties of [new Uint8Array(0), OWN_PROPERTIES]) {
          for (const size of [0, 1, 117, 118, 119, 120, 121, 122, 16_370, 16_380]) {
            const parts = { topic: "open/ü", qos, retain, properties };
            const plain = new Receiver({ level });
            plain.publish("x".repeat(size), parts);
            const alone = new Receiver({ level });
            alone.publish("x".repeat(size), { ...parts, isShared: false });
            // With its aliases used up, the client gets what it would get without any.
            const own = new Receiver({ level, connect: { topicAliasMaximum: level === 5 ? 1 : 0 } });
            own.publish("", { topic: "other", qos: 0 });
            own.bytes();
            own.publish("x".repeat(size), parts);
            const bytes = plain.bytes();
            for (const receiver of [alone, own]) assert.deepEqual(receiver.bytes(), bytes);
            assert.deepEqual(
              bytes,
              packet(
                0x30 | (qos << 1) | (retain ? 1 : 0),
                counted("open/ü"),
                qos === 0 ? [] : uint16(1),
                level === 4 ? [] : [properties.length, ...properties],
                new Uint8Array(size).fill(0x78),
              ),
            );
          }
        }
      }
    }
  }
});

Deno.test("Receivers of one message each get their own identifier", () => {
  const delivery = deliveryOf("m", { qos: 1 });
  const receivers = [0, 1, 2].map((before) => {
    const receiver = new Receiver();
    for (let i = 0; i < before; i++) receiver.publish("before");
    receiver.bytes();
    return receiver;
  });
  for (const receiver of receivers) receiver.send(delivery);
  assert.deepEqual(
    receivers.map((receiver) => receiver.heard()),
    [1, 2, 3].map((packetId) => [`publish t m qos 1 id ${packetId}`]),
  );
});
