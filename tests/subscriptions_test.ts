import assert from "node:assert/strict";
import { Subscriptions } from "../broker/subscriptions.ts";

type Filters = Readonly<Record<string, number>>;

function options(qos: number, subscriptionId: number | null = null) {
  return { qos, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionId };
}

function held(filters: Filters): Subscriptions {
  const subscriptions = new Subscriptions();
  for (const [topicFilter, qos] of Object.entries(filters)) subscriptions.set(topicFilter, options(qos));
  return subscriptions;
}

const none = undefined;
type Qos = number | undefined;
const rows: readonly [filters: Filters, inbox: Qos, reply: Qos, below: Qos][] = [
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
    assert.equal(subscriptions.inbox?.qos, inbox);
    assert.equal(subscriptions.reply("me/reply")?.qos, reply);
    assert.equal(subscriptions.reply("me/reply/tab-1")?.qos, below);
  });
}

Deno.test("Subscribing again replaces the QoS, and counts once [MQTT-3.8.4-3]", () => {
  const subscriptions = held({ "me/#": 2 });
  subscriptions.set("me/#", options(0));
  assert.equal(subscriptions.inbox?.qos, 0);
  assert.equal(subscriptions.size, 1);
  assert.equal(subscriptions.has("me/#"), true);
});

Deno.test("Unsubscribing takes away this very filter and leaves what others give [MQTT-3.10.4-1]", () => {
  const subscriptions = held({ "me/#": 2, "me/inbox": 1 });
  assert.equal(subscriptions.delete("me/+"), false);
  assert.equal(subscriptions.delete("me/#"), true);
  assert.equal(subscriptions.delete("me/#"), false);
  assert.equal(subscriptions.inbox?.qos, 1);
  assert.equal(subscriptions.reply("me/reply"), null);
});

Deno.test("A delivery carries the identifiers of all subscriptions that cover it [MQTT-3.3.4-3] [MQTT-3.3.4-4]", () => {
  const subscriptions = held({ "me/reply": 0 });
  subscriptions.set("me/#", options(1, 7));
  subscriptions.set("me/inbox", options(2, 300));
  assert.deepEqual(subscriptions.inbox, { qos: 2, properties: new Uint8Array([0x0b, 7, 0x0b, 0xac, 0x02]) });
  assert.deepEqual(subscriptions.reply("me/reply"), { qos: 1, properties: new Uint8Array([0x0b, 7]) });
});

Deno.test("Subscriptions to open topics stand beside those to the user's own and grant nothing there", () => {
  const subscriptions = held({ "#": 2, "a/b": 1, "me/inbox": 0, "$share/g/me": 1 });
  assert.deepEqual([...subscriptions.listOpen()].map(([topicFilter]) => topicFilter), [
    "#",
    "a/b",
    "$share/g/me",
  ]);
  assert.equal(subscriptions.inbox?.qos, 0);
  assert.equal(subscriptions.reply("me/reply"), null);
});
