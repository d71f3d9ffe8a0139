import assert from "node:assert/strict";
import { OpenTopics } from "../broker/open_topics.ts";
import type { Publication } from "../broker/publication.ts";
import { RetainedMessages } from "../broker/retained.ts";
import { Dice } from "./dice.ts";
import { rollFilter, rollTopic, ruleMatches } from "./topic_rules.ts";

const NOW_MS = 1_000_000;

function message(topic: string, more: Partial<Publication> = {}): Publication {
  const payload = new TextEncoder().encode(topic);
  return { topic, payload, qos: 1, retain: true, properties: new Uint8Array(), expiresAtMs: null, ...more };
}

function open(
  filters: readonly string[] = ["#"],
  limits: Partial<ConstructorParameters<typeof RetainedMessages>[0]> = {},
): RetainedMessages {
  const roomy = { maxRetainedPerFilter: 1_000_000, maxRetainedBytes: 1_000_000_000 };
  return new RetainedMessages({ ...roomy, ...limits }, new OpenTopics(filters));
}

function keeping(topics: readonly string[]): RetainedMessages {
  const retained = open();
  for (const topic of topics) assert.equal(retained.set(message(topic)), null, topic);
  return retained;
}

function topicsOf(publications: readonly Publication[]): string[] {
  return publications.map(({ topic }) => topic);
}

const TOPICS = ["/", "/a", "a", "a/", "a/b", "a/b/c", "a/b/d", "a/c", "ab", "b/c"];

const rows: readonly [topicFilter: string, topics: readonly string[]][] = [
  ["#", TOPICS],
  ["+/#", TOPICS],
  ["+", ["a", "ab"]],
  ["+/+", ["/", "/a", "a/", "a/b", "a/c", "b/c"]],
  ["a/#", ["a", "a/", "a/b", "a/b/c", "a/b/d", "a/c"]],
  ["a/b/#", ["a/b", "a/b/c", "a/b/d"]],
  ["a/b/c/#", ["a/b/c"]],
  ["a/+", ["a/", "a/b", "a/c"]],
  ["a/+/#", ["a/", "a/b", "a/b/c", "a/b/d", "a/c"]],
  ["a/b/+", ["a/b/c", "a/b/d"]],
  ["a/b/+/#", ["a/b/c", "a/b/d"]],
  ["+/c", ["a/c", "b/c"]],
  ["+/+/c", ["a/b/c"]],
  ["/+", ["/", "/a"]],
  ["/#", ["/", "/a"]],
  ["a/b", ["a/b"]],
  ["a/b/c/+", []],
  ["a/+/+/+", []],
  ["A", []],
  ["c/#", []],
  ["b", []],
];

for (const [topicFilter, topics] of rows) {
  Deno.test(`Retained messages for ${topicFilter} are those of ${topics.join(" ") || "no topic"} [MQTT-3.3.1-9]`, () => {
    assert.deepEqual(topicsOf(keeping(TOPICS.toReversed()).match(topicFilter, NOW_MS)), topics);
  });
}

Deno.test("The newer message of a topic takes the place of the older one [MQTT-3.3.1-5]", () => {
  const retained = keeping(["a/b"]);
  const newer = message("a/b", { payload: new Uint8Array([7, 8]), properties: new Uint8Array(5) });
  assert.equal(retained.set(newer), null);
  assert.equal(retained.get("a/b"), newer);
  assert.deepEqual(retained.match("a/#", NOW_MS), [newer]);
  assert.deepEqual([retained.count, retained.bytes], [1, 3 + 2 + 5]);
});

Deno.test("Only the message of this very topic is had or taken away [MQTT-3.3.1-6]", () => {
  const retained = keeping(["a/b", "a/b/", "a/b/c"]);
  for (const topic of ["a", "a/", "a/bc", "a/bc/c", "a/b//", "a/b/c/d", "a/c", "", "x"]) {
    assert.equal(retained.get(topic), null, topic);
    assert.equal(retained.delete(topic), null, topic);
  }
  const kept = retained.get("a/b");
  assert.notEqual(kept, null);
  assert.equal(retained.delete("a/b"), kept);
  assert.equal(retained.delete("a/b"), null);
  assert.deepEqual(topicsOf(retained.match("#", NOW_MS)), ["a/b/", "a/b/c"]);
  retained.delete("a/b/");
  retained.delete("a/b/c");
  assert.deepEqual([retained.count, retained.bytes], [0, 0]);
});

Deno.test("Bytes are those of topic, payload and properties in UTF-8", () => {
  const retained = open();
  retained.set(message("ä/字", { payload: new Uint8Array(10), properties: new Uint8Array(100) }));
  assert.equal(retained.bytes, 2 + 1 + 3 + 110);
});

Deno.test("Each open filter has its own number of retained messages, counted by the first that lets a topic in", () => {
  const retained = open(["a/+", "a/#", "b"], { maxRetainedPerFilter: 2 });
  const kept = (topic: string) => retained.set(message(topic));
  assert.deepEqual(["a/1", "a/2", "a/3"].map(kept), [null, null, "too-many"]);
  assert.deepEqual(["a", "a/1/x", "a/2/x"].map(kept), [null, null, "too-many"]);
  assert.deepEqual(["b", "a/2", "a/1/x"].map(kept), [null, null, null]);
  retained.delete("a/1");
  assert.deepEqual(["a/2/x", "a/3", "a/1"].map(kept), ["too-many", null, "too-many"]);
  assert.equal(retained.count, 5);
  assert.equal(retained.get("a/1"), null);
});

Deno.test("A message over the bytes of all is not kept, and the older one stays", () => {
  const retained = open(["#"], { maxRetainedBytes: 20 });
  const sized = (topic: string, bytes: number) => message(topic, { payload: new Uint8Array(bytes) });
  const older = sized("a", 9);
  assert.equal(retained.set(older), null);
  assert.equal(retained.set(sized("b", 10)), "too-large");
  assert.equal(retained.set(sized("b", 9)), null);
  assert.equal(retained.set(sized("a", 10)), "too-large");
  assert.equal(retained.get("a"), older);
  assert.deepEqual([retained.count, retained.bytes], [2, 20]);
  assert.equal(retained.set(sized("a", 1)), null);
  assert.equal(retained.set(sized("b", 17)), null);
  assert.equal(retained.bytes, 20);
});

Deno.test("Nothing is kept for a topic that is not open", () => {
  const retained = open(["#"]);
  for (const topic of ["im/sync", "me/inbox", "im", "me", "$SYS/a"]) {
    assert.equal(retained.set(message(topic)), "too-many", topic);
  }
  assert.equal(open(["a"]).set(message("b")), "too-many");
  assert.deepEqual([retained.count, retained.bytes], [0, 0]);
});

Deno.test("A message that has expired is not matched, and goes when its time is up [MQTT-3.3.2-5]", () => {
  const retained = open();
  const at = (topic: string, expiresAtMs: number | null) => retained.set(message(topic, { expiresAtMs }));
  at("a", NOW_MS);
  at("b", NOW_MS + 1);
  at("c", null);
  at("d", NOW_MS + 5);
  assert.deepEqual(topicsOf(retained.match("#", NOW_MS - 1)), ["a", "b", "c", "d"]);
  assert.deepEqual(topicsOf(retained.match("#", NOW_MS)), ["b", "c", "d"]);
  assert.deepEqual(retained.expire(NOW_MS - 1), []);
  assert.deepEqual(topicsOf(retained.expire(NOW_MS)), ["a"]);
  assert.deepEqual(retained.expire(NOW_MS), []);
  assert.deepEqual([retained.count, retained.bytes, retained.get("a")], [3, 6, null]);
  at("d", null); // a newer one without an end
  at("c", NOW_MS + 2); // and one with an end
  retained.delete("b");
  assert.deepEqual(topicsOf(retained.expire(NOW_MS + 100)), ["c"]);
  assert.deepEqual(topicsOf(retained.match("#", NOW_MS + 100)), ["d"]);
});

Deno.test("What has expired makes room once it is gone", () => {
  const retained = open(["#"], { maxRetainedPerFilter: 1 });
  assert.equal(retained.set(message("a", { expiresAtMs: NOW_MS })), null);
  assert.equal(retained.set(message("b")), "too-many");
  retained.expire(NOW_MS);
  assert.equal(retained.set(message("b")), null);
});

Deno.test("Topics of 32,767 levels, and topics each a level below the other, are kept and found", () => {
  const deep = "/".repeat(65_535);
  const chain = Array.from({ length: 8_000 }, (_, i) => "/".repeat(i + 1));
  const retained = keeping([deep, `${deep.slice(1)}a`, ...chain]);
  assert.equal(retained.match("#", NOW_MS).length, 8_002);
  assert.equal(retained.match(deep, NOW_MS).length, 1);
  for (const topic of [...chain, deep, `${deep.slice(1)}a`]) assert.notEqual(retained.delete(topic), null);
  assert.deepEqual([retained.count, retained.bytes], [0, 0]);
});

for (const seed of [1, 2, 3]) {
  Deno.test(`Retained messages are counted and found whatever came and went: seed ${seed}`, () => {
    const dice = new Dice(seed);
    const openFilters = ["a/+", "+/#"];
    const retained = open(openFilters);
    const held = new Map<string, Publication>();
    for (let step = 0; step < 3_000; step++) {
      const topic = rollTopic(dice);
      const context = `seed ${seed}, step ${step}, topic ${topic}`;
      const isOpen = !/^(im|me|\$[^/]*)(\/|$)/.test(topic);
      const nowMs = NOW_MS + step;
      switch (dice.roll(4)) {
        case 0:
          assert.equal(retained.delete(topic), held.get(topic) ?? null, context);
          held.delete(topic);
          break;
        case 1: {
          const expired = [...held.values()].filter(({ expiresAtMs }) => (expiresAtMs ?? Infinity) <= nowMs);
          assert.deepEqual(topicsOf(retained.expire(nowMs)), topicsOf(expired).sort(), context);
          for (const { topic } of expired) held.delete(topic);
          break;
        }
        default: {
          const expiresAtMs = dice.roll(2) === 0 ? null : nowMs + dice.roll(100);
          const publication = message(topic, { payload: new Uint8Array(dice.roll(50)), expiresAtMs });
          assert.equal(retained.set(publication), isOpen ? null : "too-many", context);
          if (isOpen) held.set(topic, publication);
        }
      }
      const topicFilter = rollFilter(dice);
      const live = [...held.values()].filter((kept) =>
        (kept.expiresAtMs ?? Infinity) > nowMs && ruleMatches(topicFilter, kept.topic)
      );
      assert.deepEqual(topicsOf(retained.match(topicFilter, nowMs)), topicsOf(live).sort(), context);
      assert.equal(retained.count, held.size, context);
      let bytes = 0;
      for (const kept of held.values()) {
        bytes += new TextEncoder().encode(kept.topic).length + kept.payload.length;
      }
      assert.equal(retained.bytes, bytes, context);
    }
  });
}
