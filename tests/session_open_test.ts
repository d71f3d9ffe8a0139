/** Open topics in the MQTT session: what is published, what is subscribed to, and what outlives a connection. */
import assert from "node:assert/strict";
import { OpenTopics } from "../broker/open_topics.ts";
import type { ConnectPacket, ProtocolLevel } from "../broker/packet.ts";
import { PacketWriter } from "../broker/packet_writer.ts";
import { REASONS } from "../broker/protocol_error.ts";
import type { Publication } from "../broker/publication.ts";
import { type Effect, type Request, Session } from "../broker/session.ts";
import { TopicAccess } from "../broker/topic_access.ts";
import {
  acknowledgement,
  counted,
  join,
  packet,
  type Part,
  properties,
  publish,
  type PublishParts,
  readAsClient,
  readPackets,
  reasonOf,
  subscribe,
  uint16,
  uint32,
  variable,
} from "./mqtt_bytes.ts";
import {
  ChangeLog,
  connectOf,
  deliveryOf,
  LIMITS,
  optionsOf,
  OWN_PROPERTIES,
  PUBREL,
  VERSIONS,
  wordsOf,
} from "./session_rig.ts";

const NOW_MS = 5_000_000;

/** The other end of a session, for which `open/#` is open. */
class Client {
  readonly level: ProtocolLevel;
  readonly log = new ChangeLog();
  readonly session: Session;
  readonly #isLasting: boolean;
  readonly #writer = new PacketWriter(64);

  constructor(level: ProtocolLevel, isLasting = true, connect: Partial<ConnectPacket> = {}) {
    this.level = level;
    this.#isLasting = isLasting;
    const access = new TopicAccess(new OpenTopics(["open/#"]), LIMITS, false);
    this.session = new Session({ limits: LIMITS, access, counts: { dropped: 0 } });
    this.attach(connect);
  }

  attach(connect: Partial<ConnectPacket> = {}): void {
    this.session.attach(connectOf(this.level, connect), this.#isLasting ? this.log : null);
  }

  send(...bytes: readonly Uint8Array[]): (Effect | null)[] {
    return readPackets(join(...bytes), this.level).map((read) =>
      this.session.receive(read, NOW_MS, this.#writer)
    );
  }

  /** Publishes, and what becomes of it. */
  publish(topic: string, parts: PublishParts = {}): Effect | null {
    return this.send(publish(topic, { level: this.level, ...parts }))[0]!;
  }

  /** Publishes to an open topic; the request is to be acknowledged. */
  route(qos: number, packetId: number): Request {
    const effect = this.publish("open/a", { qos, packetId });
    assert.equal(effect?.type, "publish");
    this.session.routed(effect.request);
    return effect.request;
  }

  acknowledge(request: Request, reason = request.reason): void {
    this.session.acknowledge(request, reason, 0, this.#writer);
  }

  /** Unsubscribes from filters. */
  unsubscribe(...topicFilters: readonly string[]): Effect | null {
    const filters: Part[] = topicFilters.map((topicFilter) => counted(topicFilter));
    return this.send(packet(0xa2, uint16(6), this.level === 5 ? properties() : [], ...filters))[0]!;
  }

  heard(): string[] {
    const packets = readAsClient(this.#writer.written().slice(), this.level);
    this.#writer.length = 0;
    return packets.map(wordsOf);
  }

  /** Its connection ends, and the next one begins. */
  comeBack(): void {
    this.session.detach();
    this.attach();
    assert.deepEqual(this.heard(), []);
  }
}

function publicationOf(effect: Effect | null): Publication {
  assert.equal(effect?.type, "publish");
  return effect.publication;
}

for (const [level, version] of VERSIONS) {
  Deno.test(`A message of an open topic is to be routed, and acknowledged at its QoS, in ${version} [MQTT-4.3.2-4]`, () => {
    const first: (string | undefined)[] = [undefined, "puback 7", "pubrec 7"];
    for (const [qos, words] of first.entries()) {
      const client = new Client(level);
      const effect = client.publish("open/a", { qos, packetId: 7, payload: "hello", isRetain: qos === 1 });
      assert.deepEqual(publicationOf(effect), {
        topic: "open/a",
        payload: new TextEncoder().encode("hello"),
        qos,
        retain: qos === 1,
        properties: new Uint8Array(0),
        expiresAtMs: null,
      });
      assert.ok(effect?.type === "publish");
      assert.deepEqual([effect.request.command, effect.request.reason], [null, REASONS.success]);
      assert.deepEqual(client.heard(), [], "not before it is routed");
      client.session.routed(effect.request);
      client.acknowledge(effect.request);
      assert.deepEqual(client.heard(), words === undefined ? [] : [words]);
      assert.deepEqual(client.log.told(), qos === 2 ? ["received 7"] : []);
    }
  });

  Deno.test(`A message is a copy of what was received in ${version}`, () => {
    const client = new Client(level);
    const own = level === 5 ? { properties: properties(OWN_PROPERTIES) } : {};
    const bytes = publish("open/a", { level, payload: "hello", ...own });
    const [read] = readPackets(bytes, level);
    assert.ok(read?.type === "publish");
    const { payload, properties: kept } = publicationOf(client.session.receive(read, 0, new PacketWriter(1)));
    read.payload.fill(0);
    read.forwarded.fill(0);
    assert.equal(new TextDecoder().decode(payload), "hello");
    assert.deepEqual(kept, level === 5 ? OWN_PROPERTIES : new Uint8Array(0));
  });

  Deno.test(`A QoS 2 message is routed once until its PUBREL, whatever else happens, in ${version} [MQTT-4.3.3-10]`, () => {
    const client = new Client(level);
    const again = () => client.publish("open/a", { qos: 2, packetId: 9, isDup: true });
    const request = client.route(2, 9);
    assert.equal(again(), null);
    assert.deepEqual(client.heard(), [], "its PUBREC comes when it is stored");
    client.acknowledge(request);
    assert.equal(again(), null);
    assert.deepEqual(client.heard(), ["pubrec 9", "pubrec 9"]);
    client.comeBack();
    assert.equal(again(), null);
    assert.deepEqual(client.heard(), ["pubrec 9"]);
    client.send(acknowledgement(PUBREL, 9));
    assert.deepEqual(client.heard(), ["pubcomp 9"]);
    assert.deepEqual(client.log.told(), ["received 9", "released 9"]);
    assert.equal(again()?.type, "publish", "the identifier is another message's now");
  });

  Deno.test(`A client that comes back before its PUBREC gets it for the repetition in ${version} [MQTT-4.4.0-1]`, () => {
    const client = new Client(level);
    client.route(2, 9);
    client.comeBack();
    assert.equal(client.publish("open/a", { qos: 2, packetId: 9, isDup: true }), null);
    assert.deepEqual(client.heard(), ["pubrec 9"]);
    client.comeBack();
    client.send(acknowledgement(PUBREL, 9));
    assert.deepEqual(client.heard(), ["pubcomp 9"]);
    assert.equal(client.log.packetIds.size, 0);
  });

  Deno.test(`What was not routed is nothing to remember in ${version}`, () => {
    const client = new Client(level);
    const effect = client.publish("open/a", { qos: 2, packetId: 9 });
    const command = client.publish("im/sync", { qos: 2, packetId: 8 });
    assert.deepEqual([effect?.type, command?.type], ["publish", "request"]);
    client.comeBack();
    assert.equal(client.publish("open/a", { qos: 2, packetId: 9, isDup: true })?.type, "publish");
    assert.equal(client.publish("im/sync", { qos: 2, packetId: 8, isDup: true })?.type, "request");
    assert.deepEqual(client.log.told(), []);
  });

  Deno.test(`What the store kept of received identifiers is known again in ${version}`, () => {
    const client = new Client(level);
    for (const packetId of [4, 5]) client.log.packetIds.add(packetId);
    client.session.restore(client.log, {
      subscriptions: [["open/#", optionsOf()], ["closed/#", optionsOf()], ["me/inbox", optionsOf()]],
      queued: [],
      received: [4, 5],
    });
    client.attach();
    assert.equal(client.publish("open/a", { qos: 2, packetId: 4, isDup: true }), null);
    client.send(acknowledgement(PUBREL, 4), acknowledgement(PUBREL, 5));
    assert.deepEqual(client.heard(), ["pubrec 4", "pubcomp 4", "pubcomp 5"]);
    assert.deepEqual(client.log.told(), ["released 4", "released 5"]);
    const listed = [...client.session.subscriptions.listOpen()].map(([topicFilter]) => topicFilter);
    assert.deepEqual(listed, ["open/#"], "what is not open any more is not granted any more");
    assert.ok(client.session.subscriptions.has("me/inbox"));
  });

  Deno.test(`Exchanges of an older connection count against the receive maximum in ${version} [MQTT-3.3.4-7]`, () => {
    const client = new Client(level);
    for (const packetId of [1, 2]) client.acknowledge(client.route(2, packetId));
    client.route(1, 3);
    client.session.detach();
    client.attach();
    client.heard();
    client.route(1, 4);
    const oneMore = () => client.publish("open/a", { qos: 1, packetId: 5 });
    assert.equal(reasonOf(oneMore), REASONS.receiveMaximumExceeded);
    client.send(acknowledgement(PUBREL, 2));
    assert.equal(reasonOf(oneMore), null);
  });

  Deno.test(`A topic that is closed or too long is refused in its turn, and at QoS 0 for nobody, in ${version}`, () => {
    const rows = [
      ["closed", REASONS.notAuthorized],
      ["open", null],
      ["openly", REASONS.notAuthorized],
      ["$SYS/open/a", REASONS.notAuthorized],
      ["me/inbox", REASONS.notAuthorized],
      ["open/1/2/3", null],
      ["open/1/2/3/4", REASONS.topicNameInvalid],
      [`open/${"x".repeat(15)}`, null],
      [`open/${"x".repeat(16)}`, REASONS.topicNameInvalid],
      [`open/${"ä".repeat(8)}`, REASONS.topicNameInvalid],
    ] as const;
    for (const [topic, reason] of rows) {
      const client = new Client(level);
      for (const qos of [0, 1, 2]) {
        const effect = client.publish(topic, { qos, packetId: 7, isRetain: true });
        if (reason === null) assert.equal(effect?.type, "publish", topic);
        else if (qos === 0) assert.equal(effect, null, topic);
        else {
          assert.ok(effect?.type === "request" && effect.request.command === null, topic);
          assert.equal(effect.request.reason, reason, topic);
          client.acknowledge(effect.request);
          const words = `${qos === 1 ? "puback" : "pubrec"} 7`;
          assert.deepEqual(client.heard(), [level === 5 ? `${words} 0x${reason.toString(16)}` : words]);
        }
      }
      assert.deepEqual(client.log.told(), []);
    }
  });

  Deno.test(`A message the router refuses is over in 5.0, and goes on to its PUBREL in 3.1.1: ${version} [MQTT-4.3.3-9]`, () => {
    const client = new Client(level);
    for (let i = 0; i < 2; i++) {
      const effect = client.publish("open/a", { qos: 2, packetId: 9 });
      assert.equal(effect?.type, level === 5 || i === 0 ? "publish" : undefined);
      if (effect?.type === "publish") client.acknowledge(effect.request, REASONS.quotaExceeded);
    }
    assert.deepEqual(client.heard(), Array(2).fill(level === 5 ? "pubrec 9 0x97" : "pubrec 9"));
    assert.deepEqual(client.log.told(), []);
  });

  Deno.test(`Subscriptions are granted one by one, logged, and told in their order in ${version} [MQTT-3.8.4-6]`, () => {
    const client = new Client(level);
    const first = client.send(
      subscribe(level, 3, ["open/#", 1], ["closed/#", 2], ["me/inbox", 1], ["open/a", 2]),
    );
    const closed = level === 5 ? 0x87 : 0x80;
    assert.deepEqual(client.heard(), [`suback 3 1,${closed},1,2`]);
    assert.deepEqual(client.log.told(), ["open/# qos 1", "me/inbox qos 1", "open/a qos 2"]);
    assert.deepEqual(first, [{
      type: "subscribed",
      subscriptions: [
        { topicFilter: "open/#", options: optionsOf({ qos: 1 }), isNew: true },
        { topicFilter: "open/a", options: optionsOf({ qos: 2 }), isNew: true },
      ],
    }]);
    // A filter that is held already is renewed, and counts once.
    const second = client.send(
      subscribe(level, 4, ["open/a", 0], ["open/b", 0], ["open/c", 0], ["open/a", 1]),
    );
    assert.deepEqual(client.heard(), [`suback 4 0,0,${level === 5 ? 0x97 : 0x80},1`]);
    assert.deepEqual(second, [{
      type: "subscribed",
      subscriptions: [
        { topicFilter: "open/a", options: optionsOf({ qos: 0 }), isNew: false },
        { topicFilter: "open/b", options: optionsOf({ qos: 0 }), isNew: true },
        { topicFilter: "open/a", options: optionsOf({ qos: 1 }), isNew: false },
      ],
    }]);
    assert.deepEqual(client.log.told(), ["open/a qos 1", "open/b qos 0"], "what lasts of them");
    assert.deepEqual(
      client.send(subscribe(level, 5, ["me/inbox", 2], ["closed", 0])),
      [null],
      "nothing of open topics",
    );
  });

  Deno.test(`Unsubscribing tells what is gone, and the log too, in ${version} [MQTT-3.10.4-4]`, () => {
    const client = new Client(level);
    client.send(subscribe(level, 3, ["open/#", 1], ["me/inbox", 1], ["open/a", 2], ["$share/g/open/a", 1]));
    client.heard();
    client.log.told();
    const effect = client.unsubscribe("open/a", "open/b", "me/inbox", "$share/g/open/a", "open/a");
    assert.deepEqual(effect, { type: "unsubscribed", topicFilters: ["open/a", "$share/g/open/a"] });
    assert.deepEqual(client.heard(), [level === 5 ? "unsuback 6 0,17,0,0,17" : "unsuback 6"]);
    assert.deepEqual(client.log.told(), ["no open/a", "no me/inbox", "no $share/g/open/a"]);
    assert.equal(client.unsubscribe("open/a"), null);
    assert.equal(client.unsubscribe("me/inbox"), null);
    assert.deepEqual([...client.log.subscriptions.keys()], ["open/#"]);
    const again = client.send(subscribe(level, 4, ["open/a", 1]))[0];
    assert.ok(again?.type === "subscribed" && again.subscriptions[0]!.isNew);
  });

  Deno.test(`Shared filters are granted as the filter below them is in ${version}`, () => {
    const client = new Client(level);
    const filters = ["$share/g/open/#", "$share/g/closed", "$share/g/me/inbox", "$share/g/#"] as const;
    client.send(subscribe(level, 3, ...filters.map((topicFilter) => [topicFilter, 1] as const)));
    const closed = level === 5 ? 0x87 : 0x80;
    assert.deepEqual(client.heard(), [`suback 3 1,${closed},${closed},${closed}`]);
    assert.deepEqual([...client.log.subscriptions.keys()], ["$share/g/open/#"]);
  });

  Deno.test(`A client that is away is kept messages, unless its session has ended with it, in ${version}`, () => {
    for (const isLasting of [true, false]) {
      const client = new Client(level, isLasting);
      client.session.detach();
      client.session.enqueue(deliveryOf("m"), false);
      const { kept } = client.session.outbound;
      assert.equal(kept.size, isLasting ? 1 : 0);
      assert.equal(kept.lacksBodies, isLasting);
      client.session.enqueue(deliveryOf("m"), true);
      assert.deepEqual(
        [...kept.values()].map(({ shared }) => shared !== null),
        isLasting ? [false, true] : [],
      );
    }
  });
}

Deno.test("A message expires by the clock of its arrival, at the second [MQTT-3.3.2-5]", () => {
  for (const seconds of [0, 1, 4_294_967_295]) {
    const client = new Client(5);
    const effect = client.publish("open/a", {
      properties: properties(join(0x02, uint32(seconds)), OWN_PROPERTIES),
    });
    const { expiresAtMs, properties: kept } = publicationOf(effect);
    assert.equal(expiresAtMs, NOW_MS + seconds * 1_000);
    assert.deepEqual(kept, OWN_PROPERTIES, "which goes on as what is left of it");
  }
});

Deno.test("An alias of the client stands for an open topic, on its connection only [MQTT-3.3.2-7]", () => {
  const client = new Client(5);
  const aliased = { properties: properties(0x23, uint16(1)) };
  assert.equal(publicationOf(client.publish("open/a", aliased)).topic, "open/a");
  assert.equal(publicationOf(client.publish("", aliased)).topic, "open/a");
  client.comeBack();
  assert.equal(reasonOf(() => client.publish("", aliased)), REASONS.protocolError);
});

Deno.test("The options of a subscription and its identifier are taken as they are [MQTT-3.8.3-3]", () => {
  const client = new Client(5);
  const identified = packet(0x82, uint16(3), properties(0x0b, variable(300)), counted("open/a"), 0x2e);
  const options = { qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionId: 300 };
  const subscription = { topicFilter: "open/a", options, isNew: true };
  assert.deepEqual(client.send(identified), [{ type: "subscribed", subscriptions: [subscription] }]);
  assert.deepEqual(client.log.subscriptions.get("open/a"), options);
});

Deno.test("A SUBSCRIBE whose answer the client does not take leaves no trace [MQTT-3.1.2-24]", () => {
  // Fixed header, identifier, no properties, and a code for each filter.
  for (const [level, most] of [[4, 60], [5, 59]] as const) {
    for (const more of [0, 1]) {
      const client = new Client(level, true, { maxPacketBytes: 64 });
      const filters = Array.from({ length: most + more }, () => ["open/a", 1] as const);
      const ask = () => client.send(subscribe(level, 1, ...filters));
      assert.equal(reasonOf(ask), more === 0 ? null : REASONS.packetTooLarge);
      assert.equal(client.session.subscriptions.size, 1 - more);
      assert.equal(client.log.told().length, 1 - more);
      assert.equal(client.heard().length, 1 - more);
      if (more === 0) continue;
      client.send(subscribe(level, 1, ["open/a", 1]));
      client.heard();
      const leave = () => client.unsubscribe(...filters.map(([topicFilter]) => topicFilter));
      assert.equal(reasonOf(leave), REASONS.packetTooLarge);
      assert.equal(client.session.subscriptions.size, 1);
    }
  }
});
