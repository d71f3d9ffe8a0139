import assert from "node:assert/strict";
import {
  commandOf,
  hasWildcard,
  isTopicFilter,
  refuseFilter,
  replyTopicOf,
  splitShare,
} from "../broker/topic.ts";

const LIMITS = { maxTopicLevels: 4, maxFilterBytes: 20 };

Deno.test("A topic filter holds wildcards as whole levels, and # as the last one [MQTT-4.7.1-1] [MQTT-4.7.1-2]", () => {
  for (
    const topicFilter of [
      "#",
      "+",
      "+/+",
      "a/#",
      "/",
      "//",
      "/#",
      "+/a/#",
      "a/+/b",
      "$share",
      " ",
      "a b/ä",
      "/+",
    ]
  ) {
    assert.equal(isTopicFilter(topicFilter), true, topicFilter);
  }
  for (const topicFilter of ["", "a#", "#a", "#/", "##", "a/#/b", "a+", "+a", "a/b+/c", "++", "a/+#"]) {
    assert.equal(isTopicFilter(topicFilter), false, topicFilter);
  }
});

Deno.test("A topic name holds no wildcard [MQTT-4.7.0-1]", () => {
  assert.deepEqual(["a/+", "a#", "+"].map(hasWildcard), [true, true, true]);
  assert.deepEqual(["im/sync", "$SYS/a", "/"].map(hasWildcard), [false, false, false]);
});

Deno.test("A filter is granted where it lies in the user's own place", () => {
  for (const topicFilter of ["me/#", "me/+", "me/reply", "me/reply/#", "me/inbox"]) {
    assert.equal(refuseFilter(topicFilter, LIMITS), null, topicFilter);
  }
});

Deno.test("Every other filter is closed, also one that would match the user's own place among others", () => {
  const closed = [
    ...["#", "+", "+/#", "+/inbox", "+/+", "im/#", "im/sync", "$SYS/#", "/me/#", "me", "me/", "Me/#"],
    ...["me/inbox/#", "me/other", "me/reply/x", "me/+/x", "me/reply/+"],
  ];
  for (const topicFilter of closed) assert.equal(refuseFilter(topicFilter, LIMITS), "closed", topicFilter);
});

Deno.test("A filter is too long by its levels or by its bytes in UTF-8", () => {
  assert.equal(refuseFilter("a/b/c/d", LIMITS), "closed");
  assert.equal(refuseFilter("a/b/c/d/e", LIMITS), "too-long");
  assert.equal(refuseFilter("a".repeat(20), LIMITS), "closed");
  assert.equal(refuseFilter("a".repeat(21), LIMITS), "too-long");
  assert.equal(refuseFilter("ä".repeat(10), LIMITS), "closed");
  assert.equal(refuseFilter("ä".repeat(11), LIMITS), "too-long");
  assert.equal(refuseFilter("字".repeat(7), LIMITS), "too-long");
});

Deno.test("A shared subscription is told apart, and never reaches me/", () => {
  assert.deepEqual(splitShare("$share/group/a/b"), { name: "group", topicFilter: "a/b" });
  assert.deepEqual(splitShare("$share/group/"), { name: "group", topicFilter: "" });
  assert.deepEqual(splitShare("$share/group"), { name: "group", topicFilter: "" });
  assert.equal(splitShare("$shared/group/a"), null);
  assert.equal(splitShare("share/group/a"), null);
  assert.equal(refuseFilter("$share/g/me/#", LIMITS), "shared");
});

Deno.test("A topic below im/ asks for a command, and no other does", () => {
  assert.equal(commandOf("im/message.send"), "message.send");
  assert.equal(commandOf("im/"), "");
  assert.equal(commandOf("im/a/b"), "a/b");
  for (const topic of ["im", "me/inbox", "/im/sync", "IM/sync", "$SYS/im/sync", "i"]) {
    assert.equal(commandOf(topic), null, topic);
  }
});

Deno.test("A reply goes to a Response Topic below me/reply and otherwise to me/reply", () => {
  assert.equal(replyTopicOf("me/reply/tab-1"), "me/reply/tab-1");
  for (const topic of [null, "", "me/reply", "me/inbox", "me/replyx", "other/place", "me/reply2/x"]) {
    assert.equal(replyTopicOf(topic), "me/reply", String(topic));
  }
});
