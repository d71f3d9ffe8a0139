/** Topic aliases towards a client. */
import assert from "node:assert/strict";
import { LIMITS } from "./session_rig.ts";
import { Receiver } from "./receiver.ts";

/** A receiver that lets so many aliases be used, and what it hears of a message to each topic. */
function aliasing(topicAliasMaximum: number, connect = {}, isLasting = false) {
  const receiver = new Receiver({ isLasting, connect: { topicAliasMaximum, ...connect } });
  const hear = (...topics: readonly string[]): string[] => {
    for (const topic of topics) receiver.publish("m", { topic, qos: 0 });
    return receiver.heard();
  };
  return { receiver, hear };
}

for (
  const [allowed, used] of [
    [0, 0],
    [1, 1],
    [LIMITS.maxTopicAliases, LIMITS.maxTopicAliases],
    [65_535, LIMITS.maxTopicAliases],
  ] as const
) {
  Deno.test(`The first ${used} topics get an alias where the client allows ${allowed} [MQTT-3.1.2-26]`, () => {
    const { hear } = aliasing(allowed);
    const topics = ["a", "b", "c"];
    const introduced = topics.map((topic, i) =>
      `publish ${topic} m qos 0${i < used ? ` alias ${i + 1}` : ""}`
    );
    assert.deepEqual(hear(...topics), introduced);
    const known = topics.map((topic, i) =>
      i < used ? `publish - m qos 0 alias ${i + 1}` : `publish ${topic} m qos 0`
    );
    assert.deepEqual(hear(...topics), known);
    assert.deepEqual(hear(...topics), known);
  });
}

Deno.test("An alias is for 5.0 alone", () => {
  const receiver = new Receiver({ level: 4, connect: { topicAliasMaximum: 5 } });
  for (let i = 0; i < 2; i++) receiver.publish("m", { topic: "a", qos: 0 });
  assert.deepEqual(receiver.heard(), ["publish a m qos 0", "publish a m qos 0"]);
});

Deno.test("A new connection knows no alias of the old one [MQTT-3.3.2-7]", () => {
  const { receiver, hear } = aliasing(2, {}, true);
  assert.deepEqual(hear("a", "b"), ["publish a m qos 0 alias 1", "publish b m qos 0 alias 2"]);
  receiver.publish("kept", { topic: "b", qos: 1 });
  assert.deepEqual(receiver.heard(), ["publish - kept qos 1 id 1 alias 2"]);
  receiver.leave();
  assert.deepEqual(receiver.comeBack(), ["publish b kept qos 1 id 1 dup alias 1"]);
  assert.deepEqual(hear("a", "b"), ["publish a m qos 0 alias 2", "publish - m qos 0 alias 1"]);
  receiver.leave();
  assert.deepEqual(receiver.comeBack({ topicAliasMaximum: 0 }), ["publish b kept qos 1 id 1 dup"]);
});

Deno.test("What waits is given its alias when it is sent", () => {
  const { receiver } = aliasing(1);
  receiver.publish("late", { topic: "a", qos: 0, expiresAtMs: receiver.nowMs + 1 }, false);
  receiver.publish("m", { topic: "b", qos: 0 });
  receiver.publish("m", { topic: "a", qos: 0 });
  receiver.publish("m", { topic: "b", qos: 0 });
  receiver.nowMs += 1;
  receiver.release();
  assert.deepEqual(
    receiver.heard(),
    ["publish b m qos 0 alias 1", "publish a m qos 0", "publish - m qos 0 alias 1"],
    "what was never sent introduced nothing",
  );
});

Deno.test("A topic that was left out for its size has introduced no alias", () => {
  const { receiver } = aliasing(2, { maxPacketBytes: 30 });
  receiver.publish("x".repeat(40), { topic: "a", qos: 0 });
  receiver.publish("m", { topic: "b", qos: 0 });
  receiver.publish("m", { topic: "a", qos: 0 });
  assert.deepEqual(receiver.heard(), ["publish b m qos 0 alias 1", "publish a m qos 0 alias 2"]);
});

Deno.test("A message for which its alias would be too much comes without one [MQTT-3.1.2-24]", () => {
  // Fixed header, topic with its length, no properties, and the payload: an alias takes three bytes more.
  const bytes = 2 + 3 + 1 + 20;
  for (const spare of [0, 1, 2]) {
    const { receiver, hear } = aliasing(2, { maxPacketBytes: bytes + spare });
    receiver.publish("x".repeat(20), { topic: "a", qos: 0 });
    assert.deepEqual(receiver.heard(), [`publish a ${"x".repeat(20)} qos 0`]);
    assert.deepEqual(hear("b"), ["publish b m qos 0 alias 1"]);
  }
  const { receiver } = aliasing(2, { maxPacketBytes: bytes + 3 });
  receiver.publish("x".repeat(20), { topic: "a", qos: 0 });
  assert.deepEqual(receiver.heard(), [`publish a ${"x".repeat(20)} qos 0 alias 1`]);
  // A known alias only makes it smaller.
  receiver.publish("x".repeat(21), { topic: "a", qos: 0 });
  assert.deepEqual(receiver.heard(), [`publish - ${"x".repeat(21)} qos 0 alias 1`]);
});
