import assert from "node:assert/strict";
import { OpenTopics } from "../broker/open_topics.ts";
import { openTopicFilter } from "../setting.ts";
import { Dice } from "./dice.ts";
import { rollFilter, rollTopic, ruleMatches } from "./topic_rules.ts";

const CLOSED = [
  "im",
  "im/",
  "im/sync",
  "im/a/b",
  "me",
  "me/inbox",
  "me/reply/x",
  "$SYS",
  "$SYS/a",
  "$",
  "$share/g/a",
];

Deno.test("A filter of the setting is well formed and names no closed place", () => {
  for (
    const filter of [
      "#",
      "+",
      "+/#",
      "a",
      "a/+/b/#",
      "/im",
      "/#",
      "imx",
      "mex/#",
      "Im/#",
      "a/im",
      "a/$b",
      " ",
    ]
  ) {
    assert.equal(openTopicFilter(filter), filter);
  }
  for (
    const filter of ["", "a#", "a/#/b", "a+", "im/#", "me/+", "im/+/a", "$SYS/#", "$share/g/#", ...CLOSED]
  ) {
    assert.equal(openTopicFilter(filter), null, filter);
  }
});

Deno.test("im, me and $ topics are not open, whatever is set", () => {
  const open = new OpenTopics(["#", "+/#", "+/+", "+", "im/#", "me/#", "$SYS/#", "$share/g/a"]);
  for (const topic of CLOSED) {
    assert.equal(open.isOpen(topic), false, topic);
    assert.equal(open.indexOf(topic), -1, topic);
    assert.equal(open.covers(topic), false, topic);
  }
  for (const topicFilter of ["im/#", "me/#", "im/+", "me/+/x", "$SYS/#", "$SYS/+", "$share/g/#"]) {
    assert.equal(open.covers(topicFilter), false, topicFilter);
  }
  for (const topic of ["imx", "mex/a", "/im", "a/me", "IM/sync", "a/$SYS", "i", "m"]) {
    assert.equal(open.isOpen(topic), true, topic);
    assert.equal(open.covers(topic), true, topic);
  }
});

Deno.test("A topic is let in by the first filter that matches it", () => {
  const open = new OpenTopics(["a/+", "a/#", "b/c"]);
  const places: Readonly<Record<string, number>> = {
    "a/b": 0,
    "a": 1,
    "a/b/c": 1,
    "b/c": 2,
    "b": -1,
    "c": -1,
  };
  for (const [topic, place] of Object.entries(places)) {
    assert.equal(open.indexOf(topic), place, topic);
    assert.equal(open.isOpen(topic), place >= 0, topic);
  }
});

Deno.test("Without a filter nothing is open", () => {
  const open = new OpenTopics([]);
  assert.equal(open.isEmpty, true);
  assert.equal(new OpenTopics(["a"]).isEmpty, false);
  for (const topic of ["a", "/", "#", "+"]) {
    assert.equal(open.isOpen(topic), false, topic);
    assert.equal(open.covers(topic), false, topic);
  }
});

const rows: readonly [open: string, covered: readonly string[], not: readonly string[]][] = [
  ["#", ["#", "+", "+/+", "a", "a/#", "+/#", "/", "/#", "+/im"], []],
  ["+/#", ["#", "+/#", "a/#", "+", "a", "/", "+/+"], []],
  ["+", ["+", "a", " "], ["#", "a/#", "a/b", "+/+", "/"]],
  ["+/+", ["+/+", "a/+", "+/a", "/", "a/b"], ["#", "+", "+/#", "a/#", "a", "a/b/c", "+/+/#"]],
  ["a/#", ["a", "a/#", "a/+", "a/b", "a/b/+", "a/+/#", "a/", "a//#"], [
    "#",
    "+",
    "+/#",
    "+/b",
    "b",
    "ab",
    "A/#",
  ]],
  ["a/+", ["a/+", "a/b", "a/"], ["a", "a/#", "a/b/c", "+/b", "a/+/#", "a/b/#"]],
  ["a/+/#", ["a/+", "a/b/#", "a/+/+", "a/+/#"], ["a", "a/#", "#", "+/+"]],
  ["+/b/#", ["a/b", "+/b", "+/b/+", "a/b/c/#"], ["a/#", "+/+", "+/#", "#", "a/c"]],
  ["a/b", ["a/b"], ["a/+", "a/#", "+/b", "a/b/#", "a", "a/b/", "a/B"]],
  ["/#", ["/", "/a", "/+", "/#"], ["#", "+", "+/+", "a"]],
];

for (const [filter, covered, not] of rows) {
  Deno.test(`Open ${filter} covers ${covered.join(" ")}${not.length === 0 ? "" : ` and not ${not.join(" ")}`}`, () => {
    const open = new OpenTopics([filter]);
    for (const topicFilter of covered) assert.equal(open.covers(topicFilter), true, topicFilter);
    for (const topicFilter of not) assert.equal(open.covers(topicFilter), false, topicFilter);
  });
}

Deno.test("A filter is covered by any one open filter, and not by two that share it between them", () => {
  const open = new OpenTopics(["x", "a/b", "a/+/#", "a"]);
  assert.deepEqual(["x", "a/b/c", "a", "a/+"].map((filter) => open.covers(filter)), [true, true, true, true]);
  assert.equal(open.covers("a/#"), false);
});

for (const seed of [1, 2, 3]) {
  Deno.test(`A filter is covered exactly when every topic it can match is open: seed ${seed}`, () => {
    const dice = new Dice(seed);
    // Every topic of up to four levels, "z" standing for all that no filter names; the empty one too, which the text of
    // section 4.7 matches although no client can name it.
    const levels = ["", "a", "b", "ab", "a b", "ä", "z"];
    const topics: string[] = [];
    for (let at = [""], depth = 1; depth <= 4; depth++) {
      at = at.flatMap((before) => levels.map((level) => depth === 1 ? level : `${before}/${level}`));
      topics.push(...at);
    }
    let covered = 0;
    for (let i = 0; i < 1_500; i++) {
      const short = () => {
        for (;;) {
          const filter = rollFilter(dice);
          if (openTopicFilter(filter) !== null && !/im|me|\$/.test(filter) && filter.split("/").length <= 3) {
            return filter;
          }
        }
      };
      const [filter, topicFilter] = [short(), short()];
      const isCovered = topics.every((topic) =>
        !ruleMatches(topicFilter, topic) || ruleMatches(filter, topic)
      );
      const context = `seed ${seed}: ${topicFilter} by ${filter}`;
      assert.equal(new OpenTopics([filter]).covers(topicFilter), isCovered, context);
      if (isCovered) covered++;
    }
    assert.ok(covered > 50, `seed ${seed}: ${covered} are covered`);
  });

  Deno.test(`A topic is open as the rules say: seed ${seed}`, () => {
    const dice = new Dice(seed);
    for (let i = 0; i < 5_000; i++) {
      const filters = [rollFilter(dice), rollFilter(dice)];
      const topic = rollTopic(dice);
      const isClosed = ["im", "me"].includes(topic.split("/")[0]!) || topic.startsWith("$");
      const place = isClosed ? -1 : filters.findIndex((filter) => ruleMatches(filter, topic));
      assert.equal(
        new OpenTopics(filters).indexOf(topic),
        place,
        `seed ${seed}: ${topic} by ${filters.join(" ")}`,
      );
    }
  });
}
