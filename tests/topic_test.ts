import assert from "node:assert/strict";
import { commandOf, hasWildcard, isTopicFilter, replyTopicOf, splitShare } from "../broker/topic.ts";

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

Deno.test("A shared subscription is told apart", () => {
  assert.deepEqual(splitShare("$share/group/a/b"), { name: "group", topicFilter: "a/b" });
  assert.deepEqual(splitShare("$share/group/"), { name: "group", topicFilter: "" });
  assert.deepEqual(splitShare("$share/group"), { name: "group", topicFilter: "" });
  assert.equal(splitShare("$shared/group/a"), null);
  assert.equal(splitShare("share/group/a"), null);
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
