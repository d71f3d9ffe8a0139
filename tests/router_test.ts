/** From a message to those who asked for it, and the messages that are retained for later. */
import assert from "node:assert/strict";
import { type ClientConnection, ClientSession } from "../broker/client_session.ts";
import { Journal } from "../broker/journal.ts";
import type { Delivery } from "../broker/kept_messages.ts";
import { OpenTopics } from "../broker/open_topics.ts";
import { REASONS } from "../broker/protocol_error.ts";
import type { SubscriptionOptions } from "../broker/publication.ts";
import { RetainedMessages } from "../broker/retained.ts";
import { Router } from "../broker/router.ts";
import { type OpenSubscription, Session } from "../broker/session.ts";
import { TopicAccess } from "../broker/topic_access.ts";
import { type MqttWrite, publicationBytes } from "../store/mod.ts";
import { quietLog } from "./database.ts";
import { ChangeLog, connectOf, LIMITS, messageOf, optionsOf } from "./session_rig.ts";

const NOW_MS = 1_000_000;

/** A delivery in words. */
function words({ shared, qos, retain, subscriptionIds, isReplay }: Delivery): string {
  const { topic, payload } = shared.publication;
  const ids = subscriptionIds.length === 0 ? [] : [`for ${subscriptionIds}`];
  const flags = [...(retain ? ["retain"] : []), ...ids, ...(isReplay ? ["replay"] : [])];
  return [topic, new TextDecoder().decode(payload), `qos ${qos}`, ...flags].join(" ");
}

/** One client: connected, and noting what it is handed. */
class Subscriber implements ClientConnection {
  readonly client: ClientSession;
  readonly #heard: string[] = [];
  /** Happens at the next delivery. */
  onPublish: (() => void) | null = null;

  constructor(clientId: string, openTopics: OpenTopics) {
    const access = new TopicAccess(openTopics, LIMITS, true);
    const session = new Session({ limits: LIMITS, access, counts: { dropped: 0 } });
    this.client = new ClientSession({ userId: "", clientId }, session);
    this.client.connection = this;
  }

  publish(delivery: Delivery): void {
    this.#heard.push(words(delivery));
    const happens = this.onPublish;
    this.onPublish = null;
    happens?.();
  }

  hold(): void {}

  close(): void {}

  heard(): string[] {
    return this.#heard.splice(0);
  }
}

/** A router, and those who subscribe through it. */
class Rig {
  readonly openTopics: OpenTopics;
  readonly retained: RetainedMessages;
  readonly router: Router;
  readonly journal: Journal;
  readonly writes: MqttWrite[] = [];

  constructor(openFilters: readonly string[] = ["#"], limits = {}) {
    this.openTopics = new OpenTopics(openFilters);
    const roomy = { maxRetainedPerFilter: 100, maxRetainedBytes: 100_000 };
    this.retained = new RetainedMessages({ ...roomy, ...limits }, this.openTopics);
    this.journal = new Journal((units) => {
      this.writes.push(...units.flat());
      return Promise.resolve();
    }, quietLog());
    this.router = new Router(this.retained, this.journal);
  }

  subscriber(clientId: string, ...filters: readonly [string, Partial<SubscriptionOptions>][]): Subscriber {
    const subscriber = new Subscriber(clientId, this.openTopics);
    for (const [topicFilter, options] of filters) {
      this.router.subscribe(subscriber.client, topicFilter, optionsOf(options));
    }
    return subscriber;
  }

  publish(text: string, parts: Parameters<typeof messageOf>[1] = {}, by: Subscriber | null = null): number {
    return this.router.publish(messageOf(text, { topic: "a/b", qos: 2, ...parts }), by?.client ?? null);
  }

  /** What was stored of retained messages: topic, text, and the bytes that stood there before. */
  async stored(): Promise<(string | null | number)[][]> {
    await this.journal.settled();
    return this.writes.splice(0).map((write) => {
      assert.equal(write.kind, "retained");
      const { topic, record, replacedBytes } = write;
      return [topic, record && new TextDecoder().decode(record.payload), replacedBytes];
    });
  }
}

const overlaps: readonly [
  name: string,
  filters: readonly [string, Partial<SubscriptionOptions>][],
  heard: string,
][] = [
  ["the highest QoS", [["a/#", { qos: 0 }], ["a/b", { qos: 2 }], ["+/b", { qos: 1 }]], "qos 2"],
  ["the QoS of the message when it is lower", [["a/b", { qos: 2 }], ["#", { qos: 2 }]], "qos 1"],
  ["every identifier", [
    ["a/#", { subscriptionId: 9 }],
    ["#", {}],
    ["a/b", { subscriptionId: 4 }],
    ["+/+", { subscriptionId: 9 }],
  ], "qos 2 for 4,9,9"],
  [
    "RETAIN when one asks for it as published",
    [["a/#", {}], ["#", { retainAsPublished: true }]],
    "qos 2 retain",
  ],
];

for (const [name, filters, heard] of overlaps) {
  Deno.test(`Overlapping subscriptions bring one copy, with ${name} [MQTT-3.3.4-2] [MQTT-3.3.4-5]`, () => {
    const qos = heard === "qos 1" ? 1 : 2;
    // In whichever order they were made.
    for (const ordered of [filters, [...filters].reverse()]) {
      const rig = new Rig();
      const subscriber = rig.subscriber("s", ...ordered);
      assert.equal(rig.publish("m", { qos, retain: heard.includes("retain") }), REASONS.success);
      const [first, ...more] = subscriber.heard();
      assert.deepEqual(more, []);
      const [said, ids] = first!.split(" for ");
      const [expected, expectedIds] = `a/b m ${heard}`.split(" for ");
      assert.equal(said, expected);
      assert.deepEqual(ids?.split(",").sort(), expectedIds?.split(","));
    }
  });
}

Deno.test("A copy is each receiver's own, and one message after the other", () => {
  const rig = new Rig();
  const one = rig.subscriber("1", ["a/b", { qos: 1, subscriptionId: 1 }], ["a/#", { qos: 0 }]);
  const two = rig.subscriber("2", ["a/#", { qos: 0, retainAsPublished: true }]);
  const other = rig.subscriber("3", ["b/#", {}]);
  for (let i = 0; i < 2; i++) rig.publish(`m${i}`, { retain: true });
  assert.deepEqual(one.heard(), ["a/b m0 qos 1 for 1", "a/b m1 qos 1 for 1"]);
  assert.deepEqual(two.heard(), ["a/b m0 qos 0 retain", "a/b m1 qos 0 retain"]);
  assert.deepEqual(other.heard(), []);
  assert.deepEqual([rig.router.published, rig.router.delivered, rig.router.subscriptions], [2, 4, 4]);
});

Deno.test("RETAIN is the publisher's only where the subscription asks for it [MQTT-3.3.1-12] [MQTT-3.3.1-13]", () => {
  const rig = new Rig();
  const as = [false, true].map((retainAsPublished) => rig.subscriber("s", ["#", { retainAsPublished }]));
  for (const retain of [false, true]) rig.publish("m", { retain });
  assert.deepEqual(as[0]!.heard(), ["a/b m qos 2", "a/b m qos 2"]);
  assert.deepEqual(as[1]!.heard(), ["a/b m qos 2", "a/b m qos 2 retain"]);
});

Deno.test("No-local leaves out what the same client published, and nothing else [MQTT-3.8.3-3]", () => {
  const rig = new Rig();
  const own = rig.subscriber("1", ["a/#", { noLocal: true, qos: 2 }]);
  const mixed = rig.subscriber("2", ["a/#", { noLocal: true, qos: 2, subscriptionId: 7 }], ["a/b", {
    qos: 1,
  }]);
  const namesake = rig.subscriber("1", ["a/#", { noLocal: true }]);
  rig.publish("m", {}, own);
  assert.deepEqual([own, mixed, namesake].map((one) => one.heard()), [[], ["a/b m qos 2 for 7"], [
    "a/b m qos 2",
  ]]);
  rig.publish("m", {}, mixed);
  assert.deepEqual(mixed.heard(), ["a/b m qos 1"], "the other subscription brings it all the same");
  rig.publish("will");
  assert.deepEqual(own.heard(), ["a/b m qos 2", "a/b will qos 2"]);
});

Deno.test("A message for nobody is told to its publisher, and one for an own subscription is not", () => {
  const rig = new Rig();
  assert.equal(rig.publish("m"), REASONS.noMatchingSubscribers);
  const self = rig.subscriber("1", ["a/b", { noLocal: true }]);
  assert.equal(rig.publish("m", {}, self), REASONS.noMatchingSubscribers);
  rig.subscriber("2", ["$share/g/a/b", {}]);
  assert.equal(rig.publish("m", {}, self), REASONS.success);
  rig.router.unsubscribe(self.client, "a/b");
  assert.equal(rig.router.subscriptions, 1);
});

Deno.test("A group takes turns, and each group gets its copy [MQTT-4.8.2-4]", () => {
  const rig = new Rig();
  const members = ["1", "2", "3"].map((clientId) => rig.subscriber(clientId, ["$share/g/a/#", { qos: 1 }]));
  const alone = rig.subscriber("4", ["$share/h/a/#", { qos: 0, subscriptionId: 5 }], ["a/b", { qos: 2 }]);
  for (let i = 0; i < 6; i++) rig.publish(`m${i}`);
  for (const [i, member] of members.entries()) {
    assert.deepEqual(member.heard(), [`a/b m${i} qos 1`, `a/b m${i + 3} qos 1`]);
  }
  const both = Array.from({ length: 6 }, (_, i) => [`a/b m${i} qos 2`, `a/b m${i} qos 0 for 5`]).flat();
  assert.deepEqual(alone.heard(), both, "what is shared is apart from what is not");
});

Deno.test("Members that are away are passed over, unless all are", () => {
  const rig = new Rig();
  const [one, two, three] = ["1", "2", "3"].map((clientId) => rig.subscriber(clientId, ["$share/g/a/#", {}]));
  const kept = [one!, two!, three!].map(({ client }) => {
    client.session.attach(connectOf(5), new ChangeLog());
    return client.session.outbound.kept;
  });
  const sizes = () => kept.map(({ size }) => size);
  const leave = ({ client }: Subscriber) => {
    client.connection = null;
    client.session.detach();
  };
  leave(one!);
  leave(three!);
  for (let i = 0; i < 4; i++) rig.publish("m");
  assert.equal(two!.heard().length, 4);
  assert.deepEqual(sizes(), [0, 0, 0]);
  leave(two!);
  for (let i = 0; i < 6; i++) rig.publish("m");
  assert.deepEqual(sizes(), [2, 2, 2], "then it waits for them, turn by turn");
});

Deno.test("A session that is away is kept what matches, and one that has ended is not", () => {
  const rig = new Rig();
  const subscriber = rig.subscriber("1", ["a/#", { qos: 1 }]);
  const { client } = subscriber;
  const log = new ChangeLog();
  client.session.attach(connectOf(5), log);
  client.session.detach();
  client.connection = null;
  rig.publish("m", { qos: 1 });
  rig.publish("n", { qos: 0 });
  assert.deepEqual(log.told(), ["1 m qos 1 id 1", "2 n qos 0"]);
  assert.deepEqual([...client.session.outbound.kept.values()].map(({ shared }) => shared), [null, null]);
  // While its bodies are read back, what comes brings its own.
  client.claimant = subscriber;
  rig.publish("o", { qos: 0 });
  assert.notEqual([...client.session.outbound.kept.values()].at(-1)!.shared, null);
  client.isEnded = true;
  rig.publish("p");
  assert.equal(client.session.outbound.kept.size, 3);
});

Deno.test("A retained message is stored, replaced and cleared, and the store is told what it replaces [MQTT-3.3.1-5] [MQTT-3.3.1-6]", async () => {
  const rig = new Rig();
  const subscriber = rig.subscriber("1", ["#", {}]);
  rig.publish("one", { retain: true });
  rig.publish("not kept", {});
  rig.publish("second", { retain: true });
  const bytes = (text: string) => publicationBytes(messageOf(text, { topic: "a/b" }));
  assert.deepEqual(await rig.stored(), [["a/b", "one", 0], ["a/b", "second", bytes("one")]]);
  assert.equal(rig.retained.count, 1);
  rig.publish("", { retain: true });
  assert.deepEqual(await rig.stored(), [["a/b", null, bytes("second")]]);
  assert.equal(rig.retained.count, 0);
  // Nothing is there to clear; it is a message all the same. [MQTT-3.3.1-7]
  assert.equal(rig.publish("", { retain: true }), REASONS.success);
  assert.deepEqual(await rig.stored(), []);
  assert.deepEqual(
    subscriber.heard(),
    ["one", "not kept", "second", "", ""].map((text) => `a/b ${text} qos 2`),
  );
});

Deno.test("What cannot be retained is refused whole, and what stood there stays", async () => {
  const rig = new Rig(["#"], { maxRetainedPerFilter: 1, maxRetainedBytes: 20 });
  const subscriber = rig.subscriber("1", ["#", {}]);
  assert.equal(rig.publish("one", { retain: true }), REASONS.success);
  assert.equal(rig.publish("two", { retain: true, topic: "b" }), REASONS.quotaExceeded);
  assert.equal(rig.publish("x".repeat(20), { retain: true }), REASONS.quotaExceeded);
  assert.equal(rig.router.published, 1);
  assert.deepEqual(subscriber.heard(), ["a/b one qos 2"]);
  assert.equal((await rig.stored()).length, 1);
  assert.equal(rig.publish("two", { topic: "b" }), REASONS.success, "which is no limit for others");
});

Deno.test("Retained messages that have expired go, from the store too [MQTT-3.3.2-5]", async () => {
  const rig = new Rig();
  for (const [topic, expiresAtMs] of [["b", NOW_MS], ["a", NOW_MS - 1], ["c", NOW_MS + 1]] as const) {
    rig.publish("m", { topic, retain: true, expiresAtMs });
  }
  await rig.stored();
  rig.router.expire(NOW_MS);
  const bytes = publicationBytes(messageOf("m", { topic: "a" }));
  assert.deepEqual(await rig.stored(), [["a", null, bytes], ["b", null, bytes]]);
  rig.router.expire(NOW_MS);
  assert.deepEqual(await rig.stored(), []);
});

/** One subscription that was made, for {@linkcode Router.replay}. */
function made(topicFilter: string, parts: Partial<SubscriptionOptions> = {}, isNew = true): OpenSubscription {
  return { topicFilter, options: optionsOf(parts), isNew };
}

Deno.test("Retained messages come as the subscription asks, new or renewed [MQTT-3.3.1-8] [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]", () => {
  const rig = new Rig();
  rig.publish("1", { topic: "a", qos: 1, retain: true });
  rig.publish("2", { topic: "b", qos: 2, retain: true, expiresAtMs: NOW_MS + 1 });
  rig.publish("3", { topic: "c", qos: 0, retain: true, expiresAtMs: NOW_MS });
  const rows: readonly [OpenSubscription, readonly string[]][] = [
    [made("+"), ["a 1 qos 1 retain replay", "b 2 qos 2 retain replay"]],
    [made("+", {}, false), ["a 1 qos 1 retain replay", "b 2 qos 2 retain replay"]],
    [made("+", { retainHandling: 1 }), ["a 1 qos 1 retain replay", "b 2 qos 2 retain replay"]],
    [made("+", { retainHandling: 1 }, false), []],
    [made("+", { retainHandling: 2 }), []],
    [made("b", { qos: 1, subscriptionId: 8 }), ["b 2 qos 1 retain for 8 replay"]],
    [made("a", { qos: 0, noLocal: true, retainAsPublished: true }), ["a 1 qos 0 retain replay"]],
    [made("c"), []],
    [made("$share/g/+"), []],
    [made("x/#"), []],
  ];
  const subscriber = rig.subscriber("s");
  for (const [subscription, heard] of rows) {
    rig.router.replay(subscriber.client, [subscription], NOW_MS);
    assert.deepEqual(subscriber.heard(), heard, JSON.stringify(subscription));
  }
  rig.router.replay(subscriber.client, [made("b"), made("x"), made("a"), made("b")], NOW_MS);
  assert.deepEqual(
    subscriber.heard().map((said) => said[0]),
    ["b", "a", "b"],
    "one subscription after the other",
  );
});

Deno.test("Retained messages end with the connection that asked for them", () => {
  const rig = new Rig();
  for (const topic of ["a", "b", "c"]) rig.publish("m", { topic, retain: true });
  const subscriber = rig.subscriber("s");
  subscriber.client.session.attach(connectOf(5), new ChangeLog());
  subscriber.onPublish = () => subscriber.client.connection = null;
  rig.router.replay(subscriber.client, [made("+"), made("+")], NOW_MS);
  assert.equal(subscriber.heard().length, 1);
  assert.equal(subscriber.client.session.outbound.kept.size, 0);
});

Deno.test("What a delivery causes does not disturb the others: another message, and the end of a session", () => {
  const rig = new Rig();
  const all = ["1", "2", "3", "4"].map((clientId) =>
    rig.subscriber(clientId, ["#", {}], ["a/b", { qos: 0 }])
  );
  const [one, two, three, four] = all as [Subscriber, Subscriber, Subscriber, Subscriber];
  one.onPublish = () => {
    // The session of the third ends, and its will is published at once.
    rig.router.unsubscribe(three.client, "#");
    rig.router.unsubscribe(three.client, "a/b");
    three.client.connection = null;
    three.client.isEnded = true;
    rig.publish("will", { topic: "a/b" });
  };
  assert.equal(rig.publish("m"), REASONS.success);
  assert.deepEqual(one.heard(), ["a/b m qos 2", "a/b will qos 2"]);
  for (const other of [two, four]) assert.deepEqual(other.heard(), ["a/b will qos 2", "a/b m qos 2"]);
  assert.deepEqual(three.heard(), []);
  assert.equal(rig.publish("after"), REASONS.success);
  for (const other of [one, two, four]) assert.deepEqual(other.heard(), ["a/b after qos 2"]);
});
