import assert from "node:assert/strict";
import type { SubscriptionOptions } from "../broker/publication.ts";
import { SubscriptionTree } from "../broker/subscription_tree.ts";
import { matchesFilter } from "../broker/topic.ts";
import { TopicTree } from "../broker/topic_tree.ts";
import { Dice } from "./dice.ts";
import { rollFilter, rollTopic, ruleMatches } from "./topic_rules.ts";

function atQos(qos: number): SubscriptionOptions {
  return { qos, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionId: null };
}

/** A tree in which every filter is held by a subscriber of its name. */
function holding(...topicFilters: string[]): SubscriptionTree<string> {
  const tree = new SubscriptionTree<string>();
  for (const topicFilter of topicFilters) tree.set(topicFilter, topicFilter, atQos(0));
  return tree;
}

function listMatches(tree: SubscriptionTree<string>, topic: string): string[] {
  const found: string[] = [];
  tree.match(topic, (subscriber) => found.push(subscriber));
  return found.sort();
}

/** The groups a topic reaches, each as its members in turn order. */
function listTurns(tree: SubscriptionTree<string>, topic: string): string[] {
  const found: string[] = [];
  tree.matchShared(topic, (members, first) => {
    assert.ok(first < members.length, `${first} of ${members.length}`);
    const inTurn = [...members.slice(first), ...members.slice(0, first)];
    found.push(inTurn.map(({ subscriber }) => subscriber).join(" "));
  });
  return found.sort();
}

/** The tables of section 4.7, and what lies at their edges. */
const rows: readonly [topic: string, matched: readonly string[], not: readonly string[]][] = [
  ["sport/tennis/player1", ["sport/tennis/player1/#", "sport/#", "#", "sport/tennis/+", "+/+/+"], [
    "sport/tennis",
    "sport/tennis/",
    "sport/tennis/player",
    "sport/tennis/player11",
    "+/+",
    "+/+/+/+",
    "sport/+",
    "sport/tennis/player1/+",
  ]],
  ["sport/tennis/player1/ranking", ["sport/tennis/player1/#", "#", "+/tennis/#"], ["sport/tennis/+"]],
  ["sport", ["sport/#", "#", "+", "sport", "+/#"], ["sport/+", "sport/", "+/+", "/sport", "/#", "sport/+/#"]],
  ["sport/", ["sport/+", "sport/#", "sport/", "+/+", "sport/+/#"], ["sport", "+", "sport//"]],
  ["/finance", ["+/+", "/+", "/finance", "#", "/#", "+/#"], ["+", "finance", "finance/#", "//finance"]],
  ["/", ["/", "+/+", "/+", "+/", "#", "/#", "//#"], ["+", "//", "/+/+"]],
  ["a//b", ["a//b", "a/+/b", "a//+", "a//#"], ["a/b", "a/b/b", "a///b"]],
  ["$SYS/a", ["$SYS/#", "$SYS/+", "$SYS/a", "$SYS/a/#"], ["#", "+/a", "+/#", "+/+", "/#", "$sys/a"]],
  ["$SYS", ["$SYS", "$SYS/#"], ["#", "+", "+/#"]],
  ["a/$SYS", ["#", "a/+", "+/+", "a/#", "+/$SYS"], ["$SYS", "a"]],
  ["ACCOUNTS", ["ACCOUNTS"], ["Accounts", "accounts", "ACCOUNTS ", " ACCOUNTS"]],
  ["Accounts payable/é", ["Accounts payable/+", "+/é"], ["Accounts/+", "+/e\u0301"]],
];

for (const [topic, matched, not] of rows) {
  Deno.test(
    `The topic ${topic} reaches ${matched.join(" ")} and not ${not.join(" ")} ${
      topic.startsWith("$") ? "[MQTT-4.7.2-1] 3.1.1 [MQTT-4.7.2-1]" : "[MQTT-4.7.3-4] 3.1.1 [MQTT-4.7.3-4]"
    }`,
    () => {
      const tree = holding(...matched, ...not);
      assert.deepEqual(listMatches(tree, topic), [...matched].sort());
      for (const topicFilter of matched) {
        assert.equal(matchesFilter(topicFilter, topic), true, topicFilter);
        assert.deepEqual(listMatches(holding(topicFilter), topic), [topicFilter]);
        assert.equal(ruleMatches(topicFilter, topic), true, topicFilter);
      }
      for (const topicFilter of not) {
        assert.equal(matchesFilter(topicFilter, topic), false, topicFilter);
        assert.deepEqual(listMatches(holding(topicFilter), topic), []);
        assert.equal(ruleMatches(topicFilter, topic), false, topicFilter);
      }
    },
  );
}

Deno.test("Subscribing again replaces the options and counts once [MQTT-3.8.4-3] 3.1.1 [MQTT-3.8.4-3]", () => {
  const tree = new SubscriptionTree<string>();
  assert.equal(tree.set("a/+", "alice", atQos(2)), true);
  assert.equal(tree.set("a/+", "alice", atQos(0)), false);
  assert.equal(tree.set("a/+", "bob", atQos(1)), true);
  assert.equal(tree.size, 2);
  const found: [string, number][] = [];
  tree.match("a/b", (subscriber, { qos }) => found.push([subscriber, qos]));
  assert.deepEqual(found, [["alice", 0], ["bob", 1]]);
});

Deno.test("A subscriber with several filters that match is visited for each", () => {
  const tree = new SubscriptionTree<string>();
  ["a/b", "a/+", "#"].forEach((topicFilter, qos) => tree.set(topicFilter, "alice", atQos(qos)));
  const found: number[] = [];
  tree.match("a/b", (_, { qos }) => found.push(qos));
  assert.deepEqual(found.sort(), [0, 1, 2]);
});

Deno.test("Unsubscribing takes this very filter of this very subscriber away [MQTT-3.10.4-1] 3.1.1 [MQTT-3.10.4-1]", () => {
  const tree = holding("a/#", "a/b", "a/b/c");
  tree.set("a/b", "bob", atQos(0));
  for (const topicFilter of ["a", "a/+", "a/b/#", "a/", "a/b/c/d", "b"]) {
    assert.equal(tree.delete(topicFilter, topicFilter), false, topicFilter);
  }
  assert.equal(tree.delete("a/b", "carol"), false);
  assert.equal(tree.delete("a/b", "a/b"), true);
  assert.equal(tree.delete("a/b", "a/b"), false);
  assert.equal(tree.size, 3);
  assert.deepEqual(listMatches(tree, "a/b"), ["a/#", "bob"]);
});

Deno.test("Branches nobody needs any more are gone", () => {
  const filters = ["a/b/c/d", "a/b/c/+", "a/b", "a/b/#", "/", "//", "$share/g/a/b/c", "$share/h/a/b/c", "#"];
  const tree = holding(...filters);
  const { nodeCount } = tree;
  for (const round of [filters, filters.toReversed()]) {
    for (const topicFilter of round) {
      assert.equal(tree.delete(topicFilter, topicFilter), true);
      assert.ok(tree.nodeCount <= 2 * tree.size);
    }
    assert.equal(tree.nodeCount, 0);
    assert.equal(tree.size, 0);
    for (const topicFilter of filters) tree.set(topicFilter, topicFilter, atQos(0));
    assert.equal(tree.nodeCount, nodeCount);
  }
});

Deno.test("A subscriber that is taken away while others are visited is not visited any more", () => {
  const filters = ["a/b/c", "a/b/+", "a/b/#", "a/+/c", "#"];
  const tree = holding(...filters);
  for (const topicFilter of filters) tree.set(topicFilter, `second ${topicFilter}`, atQos(0));
  const found: string[] = [];
  tree.match("a/b/c", (subscriber) => {
    found.push(subscriber);
    for (const topicFilter of filters) tree.delete(topicFilter, `second ${topicFilter}`);
    tree.delete(subscriber, subscriber);
  });
  assert.deepEqual(found.sort(), filters.sort());
  assert.equal(tree.nodeCount, 0);
});

Deno.test("Members of a shared subscription take turns, each group for itself", () => {
  const tree = new SubscriptionTree<string>();
  for (const name of ["alice", "bob", "carol"]) tree.set("$share/g/a/+", name, atQos(1));
  tree.set("$share/h/a/+", "dave", atQos(1));
  tree.set("$share/g/a/#", "erin", atQos(1));
  tree.set("a/b", "frank", atQos(1));
  assert.equal(tree.size, 6);
  assert.deepEqual(listMatches(tree, "a/b"), ["frank"]);
  assert.deepEqual(listTurns(tree, "a/b"), ["alice bob carol", "dave", "erin"]);
  assert.deepEqual(listTurns(tree, "a/b"), ["bob carol alice", "dave", "erin"]);
  assert.deepEqual(listTurns(tree, "a"), ["erin"]);
  assert.deepEqual(listTurns(tree, "a/b"), ["carol alice bob", "dave", "erin"]);
  assert.deepEqual(listTurns(tree, "a/b"), ["alice bob carol", "dave", "erin"]);
  assert.deepEqual(listTurns(tree, "$share/g/a/b"), []);
});

Deno.test("A shared filter that begins with a wildcard matches no $ topic [MQTT-4.7.2-1]", () => {
  const tree = new SubscriptionTree<string>();
  tree.set("$share/g/#", "alice", atQos(1));
  assert.deepEqual(listTurns(tree, "$SYS/a"), []);
  assert.deepEqual(listTurns(tree, "a"), ["alice"]);
});

Deno.test("The turn stays where it was when members join, change or leave", () => {
  const tree = new SubscriptionTree<string>();
  const share = "$share/g/a";
  for (const name of ["alice", "bob", "carol"]) assert.equal(tree.set(share, name, atQos(1)), true);
  assert.equal(tree.set(share, "bob", atQos(0)), false);
  listTurns(tree, "a"); // alice's
  assert.equal(tree.delete(share, "alice"), true);
  assert.equal(tree.delete(share, "alice"), false);
  assert.equal(tree.delete("$share/h/a", "bob"), false);
  assert.equal(tree.delete("$share/g/b", "bob"), false);
  assert.equal(tree.delete("a", "bob"), false);
  tree.matchShared("a", (members, first) => assert.deepEqual(members[first]!.options, atQos(0)));
  tree.set(share, "dave", atQos(1));
  assert.deepEqual(listTurns(tree, "a"), ["carol dave bob"]);
  tree.delete(share, "bob");
  assert.deepEqual(listTurns(tree, "a"), ["dave carol"]);
  listTurns(tree, "a"); // carol's
  tree.delete(share, "dave");
  assert.deepEqual(listTurns(tree, "a"), ["carol"]);
  tree.delete(share, "carol");
  assert.deepEqual([listTurns(tree, "a"), tree.size, tree.nodeCount], [[], 0, 0]);
});

Deno.test("The last in turn leaves, and the turn goes to the first", () => {
  const tree = new SubscriptionTree<string>();
  for (const name of ["alice", "bob"]) tree.set("$share/g/a", name, atQos(1));
  listTurns(tree, "a");
  tree.delete("$share/g/a", "bob");
  assert.deepEqual(listTurns(tree, "a"), ["alice"]);
});

Deno.test("A member that leaves while its group is visited stays among the members that were given", () => {
  const tree = new SubscriptionTree<string>();
  for (const name of ["alice", "bob"]) tree.set("$share/g/a", name, atQos(1));
  tree.matchShared("a", (members, first) => {
    for (const name of ["alice", "bob"]) tree.delete("$share/g/a", name);
    assert.deepEqual([members.length, members[first]!.subscriber], [2, "alice"]);
  });
  assert.equal(tree.nodeCount, 0);
});

Deno.test("A topic of 32,767 levels is matched without running out of stack", () => {
  const deep = "/".repeat(65_535);
  const tree = holding("#", "+/+/#", deep, "/".repeat(65_534), `/${"+/".repeat(1_000)}#`);
  const lengths = listMatches(tree, deep).map((topicFilter) => topicFilter.length);
  assert.deepEqual(new Set(lengths), new Set([1, 5, 65_535, 2_002]));
  assert.equal(tree.delete(deep, deep), true);
});

Deno.test("Filters that lie 1,024 levels behind each other are all matched", () => {
  const filters = Array.from({ length: 1_024 }, (_, i) => `${"a/".repeat(i)}#`);
  assert.equal(listMatches(holding(...filters), "a/".repeat(1_022) + "a").length, 1_024);
});

for (const seed of [1, 2, 3]) {
  Deno.test(`The tree finds what the rules say, whatever was added and taken away: seed ${seed}`, () => {
    const dice = new Dice(seed);
    const tree = new SubscriptionTree<string>();
    const held = new Set<string>();
    for (let step = 0; step < 4_000; step++) {
      // It grows, then shrinks, again and again.
      const shared = dice.roll(4) === 0 ? `$share/${dice.pick(["g", "h"])}/` : "";
      const topicFilter = shared + rollFilter(dice);
      if (dice.roll(10) < (step % 1_000 < 500 ? 8 : 3)) {
        assert.equal(tree.set(topicFilter, topicFilter, atQos(1)), !held.has(topicFilter), `seed ${seed}`);
        held.add(topicFilter);
      } else {
        const gone = dice.roll(2) === 0 || held.size === 0 ? topicFilter : dice.pick([...held]);
        assert.equal(tree.delete(gone, gone), held.delete(gone), `seed ${seed}: ${gone}`);
      }
      const topic = rollTopic(dice);
      const context = `seed ${seed}, step ${step}, topic ${topic}, filters ${[...held].join(" ")}`;
      const unshared = (filter: string) => filter.replace(/^\$share\/[^/]*\//, "");
      const matched = [...held].filter((filter) => ruleMatches(unshared(filter), topic)).sort();
      const isShared = (filter: string) => filter.startsWith("$share/");
      assert.deepEqual(listMatches(tree, topic), matched.filter((filter) => !isShared(filter)), context);
      assert.deepEqual(listTurns(tree, topic), matched.filter(isShared), context);
      assert.equal(tree.size, held.size, context);
      assert.ok(tree.nodeCount <= 2 * tree.size, context);
    }
    for (const topicFilter of held) tree.delete(topicFilter, topicFilter);
    assert.deepEqual([tree.size, tree.nodeCount], [0, 0], `seed ${seed}`);
  });

  Deno.test(`Topics are found by filter as the rules say, whatever was added and taken away: seed ${seed}`, () => {
    const dice = new Dice(seed);
    const tree = new TopicTree<{ readonly topic: string }>();
    const held = new Set<string>();
    for (let step = 0; step < 4_000; step++) {
      const topic = rollTopic(dice);
      if (dice.roll(10) < (step % 1_000 < 500 ? 8 : 3)) {
        tree.set(topic, { topic });
        held.add(topic);
      } else {
        const gone = dice.roll(2) === 0 || held.size === 0 ? topic : dice.pick([...held]);
        tree.delete(gone);
        held.delete(gone);
      }
      const topicFilter = rollFilter(dice);
      const context = `seed ${seed}, step ${step}, filter ${topicFilter}, topics ${[...held].join(" ")}`;
      const found = tree.listByFilter(topicFilter).map((value) => value.topic).sort();
      assert.deepEqual(found, [...held].filter((topic) => ruleMatches(topicFilter, topic)).sort(), context);
      const probe = rollTopic(dice);
      assert.equal(tree.get(probe)?.topic ?? null, held.has(probe) ? probe : null, context);
      assert.ok(tree.nodeCount <= 2 * held.size, context);
    }
    for (const topic of held) tree.delete(topic);
    assert.equal(tree.nodeCount, 0, `seed ${seed}`);
  });

  Deno.test(`One filter is matched as the rules say: seed ${seed}`, () => {
    const dice = new Dice(seed);
    for (let i = 0; i < 20_000; i++) {
      const [topicFilter, topic] = [rollFilter(dice), rollTopic(dice)];
      const context = `seed ${seed}: ${topicFilter} and ${topic}`;
      assert.equal(matchesFilter(topicFilter, topic), ruleMatches(topicFilter, topic), context);
    }
  });
}
