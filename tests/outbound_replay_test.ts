/** Retained messages for a new subscription: how many may wait, and from when on they are kept. */
import assert from "node:assert/strict";
import { REASONS } from "../broker/protocol_error.ts";
import { reasonOf } from "./mqtt_bytes.ts";
import { Receiver } from "./receiver.ts";
import { LIMITS, type MessageParts } from "./session_rig.ts";

/** A retained message. */
function retained(parts: MessageParts = {}): MessageParts {
  return { retain: true, isReplay: true, ...parts };
}

Deno.test("Retained messages wait without being counted as bytes, up to a number of their own", () => {
  for (const isLasting of [false, true]) {
    const receiver = new Receiver({ isLasting });
    for (let i = 0; i < LIMITS.maxInflightOut; i++) receiver.publish("sent", retained());
    for (let i = 0; i < LIMITS.maxRetainedPerFilter; i++) {
      assert.equal(receiver.publish("waits", retained()), "waiting");
    }
    assert.equal(receiver.outbound.waitingBytes, 0);
    const oneMore = () => receiver.publish("one more", retained());
    assert.equal(reasonOf(oneMore), REASONS.quotaExceeded);
    assert.equal(receiver.publish("live", { qos: 1 }), "waiting", "which is no limit for others");
    receiver.acknowledge("puback", 1);
    receiver.release();
    assert.equal(reasonOf(oneMore), null);
    assert.equal(reasonOf(oneMore), REASONS.quotaExceeded);
    receiver.leave();
    assert.equal(receiver.outbound.hasWaiting, false);
  }
});

Deno.test("A retained message is kept for a lasting session from its sending on", () => {
  const receiver = new Receiver({ isLasting: true, limits: { maxInflightOut: 1 } });
  receiver.publish("r1", retained());
  receiver.publish("r2", retained({ qos: 2 }));
  receiver.publish("r3", retained());
  receiver.publish("r4", retained({ qos: 0 }));
  assert.deepEqual(receiver.log.told(), ["1 r1 qos 1 id 1 retain"]);
  receiver.acknowledge("puback", 1);
  receiver.release();
  assert.deepEqual(receiver.log.told(), ["1 gone", "2 r2 qos 2 id 2 retain"]);
  assert.deepEqual(receiver.heard(), ["publish t r1 qos 1 id 1 retain", "publish t r2 qos 2 id 2 retain"]);
  receiver.leave();
  assert.equal(receiver.outbound.kept.size, 1, "what was not sent is in its own store");
  assert.deepEqual(receiver.comeBack(), ["publish t r2 qos 2 id 2 dup retain"]);
});

Deno.test("A retained message that was sent is sent again as the one it is, each time", () => {
  const receiver = new Receiver({ isLasting: true });
  receiver.publish("r1", retained());
  receiver.publish("r2", retained({ qos: 2, subscriptionIds: [9] }));
  receiver.heard();
  receiver.log.told();
  for (let i = 0; i < 3; i++) {
    receiver.leave();
    assert.deepEqual(receiver.comeBack(), [
      "publish t r1 qos 1 id 1 dup retain",
      "publish t r2 qos 2 id 2 dup retain for 9",
    ]);
  }
  assert.deepEqual(receiver.log.told(), [], "and there is only one of it");
  receiver.acknowledge("puback", 1);
  receiver.acknowledge("pubrec", 2);
  receiver.acknowledge("pubcomp", 2);
  assert.equal(receiver.outbound.kept.size, 0);
});

Deno.test("Retained and newer messages are sent again in the order in which they were sent [MQTT-4.6.0-1]", () => {
  const receiver = new Receiver({ isLasting: true, limits: { maxInflightOut: 3 } });
  for (let i = 1; i <= 3; i++) receiver.publish("first", { topic: `${i}` });
  receiver.publish("older", retained());
  receiver.publish("newer", { qos: 1 });
  for (let packetId = 1; packetId <= 3; packetId++) receiver.acknowledge("puback", packetId);
  receiver.heard();
  receiver.release();
  const sent = receiver.heard();
  assert.deepEqual(sent.map((words) => words.split(" ")[2]), ["older", "newer"]);
  receiver.leave();
  const again = receiver.comeBack();
  assert.deepEqual(again, [sent[0]!.replace(" retain", " dup retain"), `${sent[1]} dup`]);
  // The store has them in the same order.
  const texts = [...receiver.log.messages].sort(([a], [b]) => a - b)
    .map(([, { publication }]) => new TextDecoder().decode(publication!.payload));
  assert.deepEqual(texts, ["older", "newer"]);
});

Deno.test("A retained message for which there is no place is sent all the same", () => {
  const receiver = new Receiver({ isLasting: true, limits: { maxQueuedBytes: 50 } });
  receiver.publish("x".repeat(49), { qos: 1 });
  receiver.heard();
  receiver.log.told();
  assert.equal(receiver.publish("retained", retained()), "written");
  const [words] = receiver.heard();
  assert.match(words!, /^publish t retained qos 1 id \d+ retain$/);
  assert.deepEqual(receiver.log.told(), []);
  const packetId = Number(/id (\d+)/.exec(words!)![1]);
  assert.equal(receiver.acknowledge("puback", packetId), true);
  assert.equal(receiver.outbound.kept.size, 1);
  assert.equal(receiver.counts.dropped, 0, "nothing is lost");
});

Deno.test("A retained message that expires while it waits is dropped, and never kept [MQTT-3.3.2-5]", () => {
  const receiver = new Receiver({ isLasting: true });
  receiver.publish("r", retained({ expiresAtMs: receiver.nowMs + 10 }), false);
  receiver.nowMs += 10;
  receiver.release();
  assert.deepEqual(receiver.heard(), []);
  assert.deepEqual(receiver.log.told(), []);
  assert.equal(receiver.counts.dropped, 1);
});
