/** Which topics a client may use. */
import assert from "node:assert/strict";
import { OpenTopics } from "../broker/open_topics.ts";
import { TopicAccess } from "../broker/topic_access.ts";

const LIMITS = { maxTopicLevels: 4, maxFilterBytes: 20 };
const ME_FILTERS = ["me/#", "me/+", "me/reply", "me/reply/#", "me/inbox"];

function accessTo(openTopics: readonly string[], isAnonymous = false): TopicAccess {
  return new TopicAccess(new OpenTopics(openTopics), LIMITS, isAnonymous);
}

Deno.test("A filter is granted where it lies in the user's own place", () => {
  for (const open of [[], ["#"]]) {
    for (const topicFilter of ME_FILTERS) {
      assert.equal(accessTo(open).refuseFilter(topicFilter), null, topicFilter);
    }
  }
});

Deno.test("Every other filter is closed where no topic is open, also one that would match the user's own place", () => {
  const closed = [
    ...["#", "+", "+/#", "+/inbox", "+/+", "im/#", "im/sync", "$SYS/#", "/me/#", "me", "me/", "Me/#"],
    ...["me/inbox/#", "me/other", "me/reply/x", "me/+/x", "me/reply/+"],
  ];
  for (const topicFilter of closed) {
    assert.equal(accessTo([]).refuseFilter(topicFilter), "closed", topicFilter);
  }
});

Deno.test("A filter is granted where one open filter covers it whole", () => {
  const access = accessTo(["a/#", "b/+"]);
  for (const topicFilter of ["a", "a/x/y", "a/+", "a/#", "b/c", "b/+", "$share/g/a/+", "$share/g/b/c"]) {
    assert.equal(access.refuseFilter(topicFilter), null, topicFilter);
  }
  const closed = ["#", "+/x", "b/#", "c", "im/#", "$SYS/#", "$share/g/#", "$share/g/me/#", "$share/g/im/x"];
  for (const topicFilter of closed) assert.equal(access.refuseFilter(topicFilter), "closed", topicFilter);
});

Deno.test("A malformed shared subscription, which 3.1.1 may ask for, is closed [MQTT-4.8.2-1] [MQTT-4.8.2-2]", () => {
  for (const topicFilter of ["$share", "$share/g", "$share//a", "$share/+/a", "$share/g/", "$share/g#/a"]) {
    assert.equal(accessTo(["#"]).refuseFilter(topicFilter), "closed", topicFilter);
  }
});

Deno.test("Where no topic is open there are no shared subscriptions", () =>
  assert.equal(accessTo([]).refuseFilter("$share/g/me/#"), "shared"));

Deno.test("A filter or topic is too long by its levels or by its bytes in UTF-8", () => {
  const access = accessTo(["#"]);
  for (const topic of ["a/b/c/d", "a".repeat(20), "ä".repeat(10), "字".repeat(6), "////".slice(1)]) {
    assert.deepEqual([access.refuseFilter(topic), access.refuseTopic(topic)], [null, null], topic);
  }
  for (const topic of ["a/b/c/d/e", "a".repeat(21), "ä".repeat(11), "字".repeat(7), "////"]) {
    const refused = [access.refuseFilter(topic), access.refuseTopic(topic)];
    assert.deepEqual(refused, ["too-long", "too-long"], topic);
  }
});

Deno.test("Publishing is for open topics, never im/, me/ and $", () => {
  const access = accessTo(["#"]);
  for (const topic of ["a", "a/b", "/", "imx", "me2/x"]) assert.equal(access.refuseTopic(topic), null, topic);
  for (const topic of ["im/sync", "im", "me", "me/inbox", "$SYS/x", "$share/g/a"]) {
    assert.equal(access.refuseTopic(topic), "closed", topic);
  }
  assert.equal(accessTo(["a/#"]).refuseTopic("b"), "closed");
});

Deno.test("An anonymous client may use open topics only", () => {
  const access = accessTo(["#"], true);
  assert.equal(access.commandOf("im/sync"), null);
  assert.equal(access.refuseTopic("im/sync"), "closed");
  assert.equal(accessTo(["#"]).commandOf("im/sync"), "sync");
  for (const topicFilter of ME_FILTERS) assert.equal(access.refuseFilter(topicFilter), "closed", topicFilter);
  assert.equal(access.refuseFilter("a/#"), null);
});
