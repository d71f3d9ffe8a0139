import assert from "node:assert/strict";
import { MeSubscriptions, NOT_SUBSCRIBED } from "../broker/subscriptions.ts";

type Filters = Readonly<Record<string, number>>;

function held(filters: Filters): MeSubscriptions {
  const subscriptions = new MeSubscriptions();
  for (const [topicFilter, qos] of Object.entries(filters)) subscriptions.set(topicFilter, qos);
  return subscriptions;
}

const none = NOT_SUBSCRIBED;
const rows: readonly [filters: Filters, inbox: number, reply: number, below: number][] = [
  [{}, none, none, none],
  [{ "me/#": 1 }, 1, 1, 1],
  [{ "me/+": 2 }, 2, 2, none],
  [{ "me/inbox": 0 }, 0, none, none],
  [{ "me/reply": 1 }, none, 1, none],
  // `#` covers its parent too.
  [{ "me/reply/#": 1 }, none, 1, 1],
  [{ "me/inbox": 2, "me/reply": 0 }, 2, 0, none],
  // Of overlapping subscriptions the highest QoS counts, not the first. [MQTT-3.3.4-2]
  [{ "me/#": 0, "me/+": 1, "me/inbox": 2 }, 2, 1, 0],
  [{ "me/inbox": 2, "me/+": 1, "me/#": 0 }, 2, 1, 0],
  [{ "me/reply/#": 2, "me/#": 1, "me/reply": 0 }, 1, 2, 2],
];

for (const [filters, inbox, reply, below] of rows) {
  const name = Object.entries(filters).map(([topicFilter, qos]) => `${topicFilter} at ${qos}`).join(", ");
  Deno.test(`Subscriptions to ${name || "nothing"} deliver at the highest QoS that matches [MQTT-3.3.4-2]`, () => {
    const subscriptions = held(filters);
    assert.equal(subscriptions.inboxQos, inbox);
    assert.equal(subscriptions.replyQos("me/reply"), reply);
    assert.equal(subscriptions.replyQos("me/reply/tab-1"), below);
  });
}

Deno.test("Subscribing again replaces the QoS, and counts once [MQTT-3.8.4-3]", () => {
  const subscriptions = held({ "me/#": 2 });
  subscriptions.set("me/#", 0);
  assert.equal(subscriptions.inboxQos, 0);
  assert.equal(subscriptions.size, 1);
  assert.equal(subscriptions.has("me/#"), true);
});

Deno.test("Unsubscribing takes away this very filter and leaves what others give [MQTT-3.10.4-1]", () => {
  const subscriptions = held({ "me/#": 2, "me/inbox": 1 });
  assert.equal(subscriptions.delete("me/+"), false);
  assert.equal(subscriptions.delete("me/#"), true);
  assert.equal(subscriptions.delete("me/#"), false);
  assert.equal(subscriptions.inboxQos, 1);
  assert.equal(subscriptions.replyQos("me/reply"), NOT_SUBSCRIBED);
});
