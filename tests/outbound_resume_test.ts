/** What a client gets that comes again, and what of it is kept meanwhile. */
import assert from "node:assert/strict";
import type { RestoredMessage } from "../broker/kept_messages.ts";
import { counted, packet, uint16 } from "./mqtt_bytes.ts";
import { Receiver } from "./receiver.ts";
import { deliveryOf, messageOf, VERSIONS } from "./session_rig.ts";

for (const [level, version] of VERSIONS) {
  Deno.test(`Every exchange goes on in its order, with DUP for what was sent, in ${version} [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1]`, () => {
    const receiver = new Receiver({ level, isLasting: true, limits: { maxQueuedMessages: 10 } });
    for (const [i, qos] of [1, 2, 2, 1, 2].entries()) receiver.publish(`m${i + 1}`, { qos });
    receiver.acknowledge("pubrec", 2);
    receiver.heard();
    receiver.leave();
    assert.equal(receiver.outbound.hasWaiting, false);
    receiver.miss("m6", { qos: 1 });
    // Its window is three: the exchange that waits for its PUBCOMP counts.
    assert.deepEqual(receiver.comeBack(), [
      "pubrel 2",
      "publish t m1 qos 1 id 1 dup",
      "publish t m3 qos 2 id 3 dup",
    ]);
    receiver.acknowledge("pubcomp", 2);
    receiver.acknowledge("puback", 1);
    receiver.release();
    assert.deepEqual(receiver.heard(), ["publish t m4 qos 1 id 4", "publish t m5 qos 2 id 5"]);
    receiver.acknowledge("pubrec", 3);
    receiver.acknowledge("pubcomp", 3);
    receiver.release();
    assert.deepEqual(receiver.heard(), ["pubrel 3", "publish t m6 qos 1 id 6"]);
    receiver.leave();
    // What was sent on the second connection was sent too.
    assert.deepEqual(receiver.comeBack(), [
      "publish t m4 qos 1 id 4 dup",
      "publish t m5 qos 2 id 5 dup",
      "publish t m6 qos 1 id 6 dup",
    ]);
  });

  Deno.test(`A redelivery differs in its DUP flag alone in ${version}`, () => {
    for (const retain of [false, true]) {
      const receiver = new Receiver({ level, isLasting: true });
      receiver.publish("body", { topic: "open/ü", qos: 1, retain });
      const flags = 0x32 | (retain ? 1 : 0);
      const content = [
        counted("open/ü"),
        uint16(1),
        level === 5 ? [0] : [],
        new TextEncoder().encode("body"),
      ];
      assert.deepEqual(receiver.bytes(), packet(flags, ...content));
      receiver.leave();
      receiver.comeBack();
      receiver.leave();
      receiver.readBack();
      receiver.resume();
    }
  });

  Deno.test(`The receive maximum of the new connection counts in ${version} [MQTT-3.3.4-9]`, () => {
    const receiver = new Receiver({ level, isLasting: true });
    for (let i = 1; i <= 3; i++) receiver.publish(`m${i}`, { qos: 1 });
    receiver.leave();
    assert.deepEqual(receiver.comeBack({ receiveMaximum: 1 }), ["publish t m1 qos 1 id 1 dup"]);
    receiver.acknowledge("puback", 1);
    receiver.release();
    assert.deepEqual(receiver.heard(), ["publish t m2 qos 1 id 2 dup"]);
  });

  Deno.test(`Messages of every QoS wait for a client that is away, in their order, in ${version}`, () => {
    const receiver = new Receiver({ level, isLasting: true });
    receiver.leave();
    for (const qos of [0, 1, 0, 2]) receiver.miss(`q${qos}`, { qos });
    assert.deepEqual(receiver.log.told(), [
      "1 q0 qos 0",
      "2 q1 qos 1 id 1",
      "3 q0 qos 0",
      "4 q2 qos 2 id 2",
    ]);
    assert.deepEqual(receiver.comeBack(), [
      "publish t q0 qos 0",
      "publish t q1 qos 1 id 1",
      "publish t q0 qos 0",
      "publish t q2 qos 2 id 2",
    ]);
    assert.deepEqual(receiver.log.told(), ["1 gone", "3 gone"], "QoS 0 is over with its sending");
    // Their number is limited while the client is away, not from now on.
    for (let i = 0; i < 5; i++) receiver.publish("m", { qos: 1 });
    assert.deepEqual([receiver.outbound.kept.size, receiver.counts.dropped], [7, 0]);
    receiver.leave();
    assert.equal(receiver.outbound.kept.lacksBodies, true, "bodies are in the store meanwhile");
  });
}

Deno.test("What expired is not begun, and what has begun goes on [MQTT-3.3.2-5] [MQTT-3.3.2-6]", () => {
  for (const [level] of VERSIONS) {
    const receiver = new Receiver({ level, isLasting: true, limits: { maxInflightOut: 2 } });
    const { nowMs } = receiver;
    receiver.publish("sent", { qos: 2, expiresAtMs: nowMs + 1_000 });
    receiver.heard();
    receiver.leave();
    receiver.miss("late", { qos: 1, expiresAtMs: nowMs + 60_000 });
    receiver.miss("late too", { qos: 0, expiresAtMs: nowMs + 59_000 });
    receiver.miss("in time", { qos: 1, expiresAtMs: nowMs + 62_500 });
    receiver.nowMs += 60_000;
    const expires = (seconds: number) => level === 5 ? ` expires ${seconds}` : "";
    assert.deepEqual(receiver.comeBack(), [
      `publish t sent qos 2 id 1 dup${expires(1)}`,
      `publish t in time qos 1 id 3${expires(3)}`,
    ]);
    assert.equal(receiver.counts.dropped, 2);
    assert.deepEqual([...receiver.log.messages.keys()], [1, 4]);
  }
});

Deno.test("What is too large for the new connection counts as delivered [MQTT-3.1.2-25]", () => {
  const receiver = new Receiver({ isLasting: true });
  receiver.publish("x".repeat(100), { qos: 2 });
  receiver.leave();
  receiver.miss("y".repeat(100), { qos: 0 });
  receiver.miss("small", { qos: 1 });
  assert.deepEqual(receiver.comeBack({ maxPacketBytes: 80 }), ["publish t small qos 1 id 2"]);
  assert.deepEqual([...receiver.log.messages.keys()], [3]);
  assert.equal(receiver.outbound.inflightCount, 1);
});

Deno.test("A message whose body is lost is dropped and counted; a body finds its own message only", () => {
  const receiver = new Receiver({ isLasting: true });
  receiver.leave();
  const { kept } = receiver.outbound;
  for (const text of ["lost", "found"]) receiver.miss(text);
  receiver.miss("qos 0", { qos: 0 });
  assert.equal(kept.lacksBodies, true);
  const { shared } = deliveryOf("of another message");
  kept.setBody(9, 1, 1, shared);
  kept.setBody(1, 1, 9, shared);
  kept.setBody(1, 0, 0, shared);
  kept.setBody(2, 1, 2, deliveryOf("found").shared);
  kept.setBody(3, 0, 0, deliveryOf("qos 0", { qos: 0 }).shared);
  assert.equal(kept.lacksBodies, true);
  assert.deepEqual(receiver.resume(), ["publish t found qos 1 id 2", "publish t qos 0 qos 0"]);
  assert.equal(receiver.counts.dropped, 1);
  assert.equal(kept.lacksBodies, false);
});

/** What the store gives of a message. */
function stored(seq: number, qos: number, parts: Partial<RestoredMessage> = {}): RestoredMessage {
  return {
    ...{ seq, qos, packetId: qos === 0 ? 0 : 100 + seq, isReleased: false, retain: false },
    ...{ subscriptionIds: [], expiresAtMs: null, payloadBytes: 10, ...parts },
  };
}

/** A receiver of which the store kept this; bodies are the numbers of the messages. */
function restored(...messages: readonly RestoredMessage[]): Receiver {
  const receiver = new Receiver({ isLasting: true });
  const { outbound, log } = receiver;
  for (const { seq, payloadBytes, expiresAtMs, ...message } of messages) {
    const publication = message.isReleased ? null : messageOf(String(seq), { qos: 2, expiresAtMs });
    log.adopt(seq, { ...message, publication }, payloadBytes);
  }
  outbound.restore(log, messages);
  return receiver;
}

Deno.test("After a restart the window may have been sent, and the rest has not [MQTT-4.4.0-1]", () => {
  const receiver = restored(
    stored(3, 2, { isReleased: true, payloadBytes: 0 }),
    stored(4, 0),
    stored(6, 1, { retain: true, subscriptionIds: [5] }),
    stored(7, 2),
    stored(9, 1),
  );
  assert.equal(receiver.outbound.kept.size, 5);
  assert.deepEqual(receiver.comeBack(), [
    "pubrel 103",
    "publish t 4 qos 0",
    "publish t 6 qos 1 id 106 dup retain for 5",
    "publish t 7 qos 2 id 107 dup",
  ]);
  receiver.acknowledge("pubcomp", 103);
  receiver.release();
  assert.deepEqual(receiver.heard(), ["publish t 9 qos 1 id 109"]);
  receiver.publish("new", { qos: 1 });
  assert.deepEqual(receiver.log.told(), ["4 gone", "3 gone", "10 new qos 1 id 1"], "the numbers go on");
  assert.equal(receiver.outbound.waitingBytes, 0);
});

Deno.test("After a restart what expired and was not sent is not begun", () => {
  const late = { expiresAtMs: 1_000 };
  const receiver = restored(
    stored(1, 1, late),
    stored(2, 1, late),
    stored(3, 1),
    stored(4, 1, late),
    stored(5, 1),
  );
  receiver.readBack();
  assert.deepEqual(receiver.resume(), [
    "publish t 1 qos 1 id 101 dup expires 1",
    "publish t 2 qos 1 id 102 dup expires 1",
    "publish t 3 qos 1 id 103 dup",
  ]);
  for (const packetId of [101, 102, 103]) receiver.acknowledge("puback", packetId);
  receiver.release();
  assert.deepEqual(receiver.heard(), ["publish t 5 qos 1 id 105"]);
});

Deno.test("An identifier that the store kept is not given to another message [MQTT-2.2.1-4]", () => {
  const receiver = restored(stored(1, 1, { packetId: 1 }), stored(2, 2, { packetId: 3, isReleased: true }));
  for (let i = 0; i < 2; i++) receiver.miss("m");
  assert.deepEqual([...receiver.log.messages.values()].map(({ packetId }) => packetId), [1, 3, 2, 4]);
});

Deno.test("A release that is owed is not given up for newer messages, however many stand before it", () => {
  // The limits may have been larger when these were sent.
  const receiver = restored(
    ...[1, 2, 3].map((seq) => stored(seq, 1)),
    stored(4, 2, { isReleased: true, payloadBytes: 0 }),
  );
  for (let i = 0; i < 3; i++) receiver.miss("m");
  assert.equal(receiver.counts.dropped, 3);
  assert.deepEqual([...receiver.log.messages.keys()], [1, 2, 3, 4]);
});
