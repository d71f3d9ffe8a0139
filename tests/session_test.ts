/** The MQTT session without sockets: packets in, packets out, both versions. */
import assert from "node:assert/strict";
import type { Packet as CodecPacket } from "mqtt-packet";
import type { SessionLimits } from "../broker/limits.ts";
import { inboxEvent } from "../broker/outgoing.ts";
import type { ConnectPacket, ProtocolLevel } from "../broker/packet.ts";
import { PacketWriter } from "../broker/packet_writer.ts";
import { ProtocolError, REASONS } from "../broker/protocol_error.ts";
import { OpenTopics } from "../broker/open_topics.ts";
import type { Delivered } from "../broker/outbound.ts";
import { type Effect, type Request, Session } from "../broker/session.ts";
import { TopicAccess } from "../broker/topic_access.ts";
import {
  acknowledgement,
  counted,
  join,
  packet,
  properties,
  publish,
  readAsClient,
  readPackets,
  reasonOf,
  subscribe,
  uint16,
  uint32,
} from "./mqtt_bytes.ts";
import { tagsOf } from "./mqtt_statement.ts";
import { connectOf, PUBACK, PUBCOMP, PUBREC, PUBREL } from "./session_rig.ts";

const LIMITS: SessionLimits = {
  maxInflightOut: 4,
  maxInflightIn: 3,
  maxSubscriptions: 3,
  maxTopicLevels: 4,
  maxFilterBytes: 20,
  maxTopicAliases: 2,
  maxQueuedMessages: 10,
  maxQueuedBytes: 10_000,
  maxRetainedPerFilter: 10,
};
const VERSIONS = [[4, "3.1.1"], [5, "5.0"]] as const;

/** The other end of a session. */
class Client {
  readonly session: Session;
  readonly level: ProtocolLevel;
  readonly #writer = new PacketWriter(64);

  constructor(level: ProtocolLevel, connect: Partial<ConnectPacket> = {}) {
    this.level = level;
    const access = new TopicAccess(new OpenTopics([]), LIMITS, false);
    this.session = new Session({ limits: LIMITS, access, counts: { dropped: 0 } });
    this.session.attach(connectOf(level, { userName: "alice", clean: true, ...connect }), null);
  }

  /** Sends bytes; what must happen because of them, packet by packet. */
  send(...bytes: readonly Uint8Array[]): (Effect | null)[] {
    return readPackets(join(...bytes), this.level).map((read) => this.session.receive(read, 0, this.#writer));
  }

  /** Sends a PUBLISH that becomes a request. */
  request(qos: number, packetId: number, topic = "im/x"): Request {
    const [effect] = this.send(publish(topic, { level: this.level, qos, packetId }));
    assert.equal(effect?.type, "request");
    return effect.request;
  }

  acknowledge(request: Request, reason = 0, code = 0): void {
    this.session.acknowledge(request, reason, code, this.#writer);
  }

  subscribe(...filters: readonly (readonly [string, number])[]): void {
    this.send(subscribe(this.level, 1, ...filters));
    this.hear();
  }

  /** Delivers an event whose payload is this text. */
  deliver(text: string, qos: number, hasRoom = true): Delivered {
    const event = inboxEvent(text, new Uint8Array(0), null);
    const grant = { qos, properties: new Uint8Array(0) };
    return this.session.deliver(event, grant, true, hasRoom, this.#writer);
  }

  release(maxWriterBytes = 10_000): void {
    this.session.outbound.release(maxWriterBytes, 0, this.#writer);
  }

  /** What has been written since, as a client reads it. */
  hear(): CodecPacket[] {
    const packets = readAsClient(this.#writer.written().slice(), this.level);
    this.#writer.length = 0;
    return packets;
  }

  /** The same, as words. */
  heard(): string[] {
    return this.hear().map((read) => {
      switch (read.cmd) {
        case "publish":
          return `publish ${read.payload} qos ${read.qos} id ${read.qos === 0 ? "none" : read.messageId}`;
        case "puback":
        case "pubrec":
        case "pubrel":
        case "pubcomp": {
          const reason = "reasonCode" in read && read.reasonCode ? ` 0x${read.reasonCode.toString(16)}` : "";
          const code = read.properties?.userProperties?.code;
          return `${read.cmd} ${read.messageId}${reason}${code === undefined ? "" : ` code ${code}`}`;
        }
        case "suback":
        case "unsuback":
          return `${read.cmd} ${read.messageId} ${read.granted}`;
        default:
          return read.cmd;
      }
    });
  }
}

// Requests

for (const [level, version] of VERSIONS) {
  Deno.test(`Session answers a QoS 0 request with no acknowledgement in ${version}`, () => {
    const client = new Client(level);
    const request = client.request(0, 0);
    assert.equal(request.command, "x");
    client.acknowledge(request);
    assert.deepEqual(client.heard(), []);
  });

  Deno.test(`Session acknowledges a QoS 1 request by PUBACK once it is carried out in ${version}${tagsOf(level, "[MQTT-4.3.2-4] 3.1.1 [MQTT-4.3.2-2]")}`, () => {
    const client = new Client(level);
    const request = client.request(1, 7);
    assert.deepEqual(client.heard(), []);
    client.acknowledge(request);
    assert.deepEqual(client.heard(), ["puback 7"]);
  });

  Deno.test(`Session takes the identifier of an acknowledged QoS 1 request for a new one in ${version}${tagsOf(level, "[MQTT-4.3.2-5] 3.1.1 [MQTT-4.3.2-2]")}`, () => {
    const client = new Client(level);
    client.acknowledge(client.request(1, 7));
    const [effect] = client.send(publish("im/x", { level, qos: 1, packetId: 7, isDup: true }));
    assert.equal(effect?.type, "request");
  });

  Deno.test(`Session carries a QoS 2 request through PUBREC and PUBREL to PUBCOMP in ${version}${tagsOf(level, "[MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-4.3.3-12] 3.1.1 [MQTT-4.3.3-2]")}`, () => {
    const client = new Client(level);
    client.acknowledge(client.request(2, 9));
    assert.deepEqual(client.send(acknowledgement(PUBREL, 9)), [null]);
    assert.deepEqual(client.heard(), ["pubrec 9", "pubcomp 9"]);
    // The identifier is free again. [MQTT-4.3.3-12]
    client.request(2, 9);
  });

  Deno.test(`Session takes a QoS 2 request over once; a duplicate only gets its PUBREC again in ${version}${tagsOf(level, "[MQTT-4.3.3-10] 3.1.1 [MQTT-4.3.3-2]")}`, () => {
    const client = new Client(level);
    const duplicate = publish("im/x", { level, qos: 2, packetId: 9, isDup: true });
    const request = client.request(2, 9);
    assert.deepEqual(client.send(duplicate, duplicate), [null, null]);
    assert.deepEqual(client.heard(), [], "not before the request is carried out");
    client.acknowledge(request);
    assert.deepEqual(client.send(duplicate, duplicate), [null, null]);
    assert.deepEqual(client.heard(), ["pubrec 9", "pubrec 9", "pubrec 9"]);
  });

  Deno.test(`Session answers a PUBREL it knows nothing of in ${version}${tagsOf(level, "[MQTT-4.3.3-11] 3.1.1 [MQTT-4.3.3-2]")}`, () => {
    const client = new Client(level);
    client.send(acknowledgement(PUBREL, 4));
    assert.deepEqual(client.heard(), [level === 5 ? "pubcomp 4 0x92" : "pubcomp 4"]);
  });

  Deno.test(`Session refuses a PUBREL that comes before its PUBREC in ${version}`, () => {
    const client = new Client(level);
    client.request(2, 9);
    assert.equal(reasonOf(() => client.send(acknowledgement(PUBREL, 9))), REASONS.protocolError);
  });

  Deno.test(`Session keeps identifiers of both directions apart in ${version}`, () => {
    const client = new Client(level);
    client.subscribe(["me/#", 2]);
    const request = client.request(2, 1);
    assert.equal(client.deliver("event", 2), "written");
    client.send(acknowledgement(PUBREC, 1));
    client.acknowledge(request);
    client.send(acknowledgement(PUBREL, 1), acknowledgement(PUBCOMP, 1));
    assert.deepEqual(client.heard(), ["publish event qos 2 id 1", "pubrel 1", "pubrec 1", "pubcomp 1"]);
    assert.equal(client.session.outbound.inflightCount, 0);
  });

  Deno.test(`Session refuses more unacknowledged requests than its receive maximum in ${version}${tagsOf(level, "[MQTT-3.3.4-7]")}`, () => {
    const client = new Client(level);
    const first = client.request(1, 1);
    const second = client.request(2, 2);
    client.request(1, 3);
    client.request(0, 0);
    const fourth = () => client.send(publish("im/x", { level, qos: 1, packetId: 4 }));
    assert.equal(reasonOf(fourth), REASONS.receiveMaximumExceeded);
    client.acknowledge(first);
    assert.equal(reasonOf(fourth), null);
    // A QoS 2 request counts until its PUBREL. [MQTT-4.9.0-2]
    client.acknowledge(second);
    const fifth = () => client.send(publish("im/x", { level, qos: 1, packetId: 5 }));
    assert.equal(reasonOf(fifth), REASONS.receiveMaximumExceeded);
    client.send(acknowledgement(PUBREL, 2));
    assert.equal(reasonOf(fifth), null);
  });

  Deno.test(`Session acknowledges a PUBLISH to a closed topic, which does nothing, in ${version}`, () => {
    const client = new Client(level);
    for (const topic of ["me/inbox", "me/reply", "$SYS/x", "open", "im", "IM/x", "/im/x"]) {
      for (const qos of [1, 2]) {
        const request = client.request(qos, 5, topic);
        assert.equal(request.command, null, topic);
        assert.equal(request.reason, REASONS.notAuthorized);
        client.acknowledge(request, request.reason);
        const word = qos === 1 ? "puback" : "pubrec";
        assert.deepEqual(client.heard(), [level === 5 ? `${word} 5 0x87` : `${word} 5`]);
        if (qos === 2) client.send(acknowledgement(PUBREL, 5));
        client.hear();
      }
      assert.deepEqual(client.send(publish(topic, { level })), [null], "at QoS 0 nobody waits for an answer");
    }
  });

  Deno.test(`Session answers PINGREQ with PINGRESP in ${version}${tagsOf(level, "[MQTT-3.12.4-1] 3.1.1 [MQTT-3.12.4-1]")}`, () => {
    const client = new Client(level);
    assert.deepEqual(client.send(packet(0xc0)), [null]);
    assert.deepEqual(client.heard(), ["pingresp"]);
  });

  Deno.test(`Session ends with DISCONNECT in ${version}`, () => {
    const goodbye = { type: "disconnect", reason: 0, sessionExpirySeconds: null };
    assert.deepEqual(new Client(level).send(packet(0xe0)), [{ type: "disconnect", packet: goodbye }]);
  });
}

Deno.test("Session tells 5.0 why a request is refused, and 3.1.1 that it arrived", () => {
  for (const [level] of VERSIONS) {
    const client = new Client(level);
    client.acknowledge(client.request(1, 1), 0x87, 241);
    client.acknowledge(client.request(2, 2), 0x83, 253);
    assert.deepEqual(
      client.heard(),
      level === 5 ? ["puback 1 0x87 code 241", "pubrec 2 0x83 code 253"] : ["puback 1", "pubrec 2"],
    );
  }
});

Deno.test("Session takes an identifier anew after a PUBREC that refused it [MQTT-4.3.3-9]", () => {
  const client = new Client(5);
  for (let i = 0; i < LIMITS.maxInflightIn + 2; i++) client.acknowledge(client.request(2, 9), 0x87, 241);
  assert.deepEqual(client.heard(), Array(LIMITS.maxInflightIn + 2).fill("pubrec 9 0x87 code 241"));
});

Deno.test("Session keeps user properties from a client that wants no problem information [MQTT-3.1.2-29]", () => {
  const client = new Client(5, { wantsProblemInformation: false });
  client.acknowledge(client.request(1, 1), 0x87, 241);
  assert.deepEqual(client.heard(), ["puback 1 0x87"]);
});

Deno.test("Session refuses AUTH where no method was agreed [MQTT-4.12.0-7]", () => {
  assert.equal(reasonOf(() => new Client(5).send(packet(0xf0))), REASONS.protocolError);
});

Deno.test("Session refuses to be kept beyond its connection when it was not to be", () => {
  const goodbye = packet(0xe0, 0, properties(0x11, uint32(10)));
  assert.equal(reasonOf(() => new Client(5).send(goodbye)), REASONS.protocolError);
  assert.equal(new Client(5, { sessionExpirySeconds: 5 }).send(goodbye)[0]?.type, "disconnect");
  const atOnce = packet(0xe0, 0, properties(0x11, uint32(0)));
  assert.equal(new Client(5).send(atOnce)[0]?.type, "disconnect");
});

// Subscriptions

for (const [level, version] of VERSIONS) {
  Deno.test(`Session grants what is the client's own, one code per filter, in ${version}${tagsOf(level, "[MQTT-3.8.4-6] 3.1.1 [MQTT-3.8.4-5]")}`, () => {
    const client = new Client(level);
    client.send(subscribe(
      level,
      5,
      ["me/#", 2],
      ["im/#", 1],
      ["me/inbox", 0],
      ["me/#", 1],
      ["#", 0],
      ["+/inbox", 0],
      ["$SYS/#", 0],
      ["a/b/c/d/e", 0],
      ["me/reply", 1],
      ["me/+", 0],
    ));
    const [closed, tooLong, tooMany] = level === 5 ? [0x87, 0x8f, 0x97] : [0x80, 0x80, 0x80];
    // The fourth subscription is over the limit of three.
    const granted = [2, closed, 0, 1, closed, closed, closed, tooLong, 1, tooMany];
    assert.deepEqual(client.heard(), [`suback 5 ${granted}`]);
    // The repeated filter took the place of the first. [MQTT-3.8.4-3]
    assert.equal(client.session.subscriptions.inbox?.qos, 1);
  });

  Deno.test(`Session answers an UNSUBSCRIBE that finds nothing too in ${version}${tagsOf(level, "[MQTT-3.10.4-5] 3.1.1 [MQTT-3.10.4-5]")}`, () => {
    const client = new Client(level);
    client.subscribe(["me/#", 2], ["me/reply", 0]);
    const filters = join(counted("me/#"), counted("me/inbox"), counted("im/#"));
    client.send(packet(0xa2, uint16(6), level === 5 ? properties() : [], filters));
    const [answer] = client.hear();
    assert.ok(answer?.cmd === "unsuback" && answer.messageId === 6);
    if (level === 5) assert.deepEqual(answer.granted, [0, 0x11, 0x11]);
    assert.equal(client.session.subscriptions.inbox, null);
    assert.equal(client.session.subscriptions.reply("me/reply")?.qos, 0);
  });
}

Deno.test("Session says that shared subscriptions are not to be had where no topic is open", () => {
  const client = new Client(5);
  client.send(subscribe(5, 5, ["$share/g/me/#", 1]));
  assert.deepEqual(client.heard(), ["suback 5 158"]);
});

Deno.test("Session sends no acknowledgement larger than the client takes [MQTT-3.1.2-24]", () => {
  const client = new Client(5, { maxPacketBytes: 64 });
  const filters = Array.from({ length: 60 }, () => ["im/#", 0] as const);
  assert.equal(reasonOf(() => client.send(subscribe(5, 1, ...filters))), REASONS.packetTooLarge);
});

// Deliveries

for (const [level, version] of VERSIONS) {
  Deno.test(`Session delivers at every QoS and sees its exchange to the end in ${version}${tagsOf(level, "[MQTT-4.3.3-4] 3.1.1 [MQTT-4.3.3-1]")}`, () => {
    const client = new Client(level);
    for (const qos of [0, 1, 2]) assert.equal(client.deliver(`m${qos}`, qos), "written");
    assert.deepEqual(client.heard(), [
      "publish m0 qos 0 id none",
      "publish m1 qos 1 id 1",
      "publish m2 qos 2 id 2",
    ]);
    assert.deepEqual(client.send(acknowledgement(PUBACK, 1), acknowledgement(PUBREC, 2)), [
      { type: "progress" },
      { type: "progress" },
    ]);
    assert.equal(client.session.outbound.inflightCount, 1);
    // Its PUBREC again is only answered again.
    assert.deepEqual(client.send(acknowledgement(PUBREC, 2)), [null]);
    assert.deepEqual(client.send(acknowledgement(PUBCOMP, 2)), [{ type: "progress" }]);
    assert.deepEqual(client.heard(), ["pubrel 2", "pubrel 2"]);
    assert.equal(client.session.outbound.inflightCount, 0);
  });

  Deno.test(`Session sends no more than its window and the rest in order behind acknowledgements in ${version}${tagsOf(level, "[MQTT-4.9.0-2]")}`, () => {
    const client = new Client(level);
    const states = Array.from({ length: 6 }, (_, i) => client.deliver(`m${i}`, 1));
    // Behind something that waits, QoS 0 waits too: the order of a topic is kept.
    states.push(client.deliver("m6", 0));
    assert.deepEqual(states, ["written", "written", "written", "written", "waiting", "waiting", "waiting"]);
    client.release();
    assert.equal(client.hear().length, 4);
    client.send(acknowledgement(PUBACK, 2));
    client.release();
    assert.deepEqual(client.heard(), ["publish m4 qos 1 id 5"]);
    client.send(acknowledgement(PUBACK, 1), acknowledgement(PUBACK, 3));
    client.release();
    assert.deepEqual(client.heard(), ["publish m5 qos 1 id 6", "publish m6 qos 0 id none"]);
    assert.equal(client.session.outbound.hasWaiting, false);
    assert.equal(client.session.outbound.waitingBytes, 0);
  });

  Deno.test(`Session holds a QoS 2 delivery in its window until PUBCOMP in ${version}${tagsOf(level, "[MQTT-3.3.4-9]")}`, () => {
    const client = new Client(level, { receiveMaximum: 1 });
    assert.equal(client.deliver("a", 2), "written");
    assert.equal(client.deliver("b", 2), "waiting");
    client.send(acknowledgement(PUBREC, 1));
    client.release();
    assert.deepEqual(client.heard(), ["publish a qos 2 id 1", "pubrel 1"]);
    client.send(acknowledgement(PUBCOMP, 1));
    client.release();
    assert.deepEqual(client.heard(), ["publish b qos 2 id 2"]);
  });

  Deno.test(`Session never gives out an identifier that is in use in ${version}${tagsOf(level, "[MQTT-2.2.1-4] 3.1.1 [MQTT-2.3.1-4]")}`, () => {
    const client = new Client(level);
    assert.equal(client.deliver("stays", 1), "written");
    const given: number[] = [];
    for (let i = 0; i < 65_536; i++) {
      client.deliver("m", 1);
      const [read] = client.hear().slice(-1);
      assert.ok(read?.messageId);
      given.push(read.messageId);
      client.send(acknowledgement(PUBACK, read.messageId));
    }
    assert.ok(!given.includes(1) && !given.includes(0));
    assert.deepEqual(given.slice(-3), [65_535, 2, 3]);
  });

  Deno.test(`Session breaks with a client that acknowledges out of turn in ${version}`, () => {
    for (const [qos, wrong] of [[1, PUBREC], [1, PUBCOMP], [2, PUBACK], [2, PUBCOMP]] as const) {
      const client = new Client(level);
      client.deliver("m", qos);
      assert.equal(reasonOf(() => client.send(acknowledgement(wrong, 1))), REASONS.protocolError);
    }
  });

  Deno.test(`Session ignores acknowledgements of what it has forgotten in ${version}`, () => {
    const client = new Client(level);
    assert.deepEqual(client.send(acknowledgement(PUBACK, 3), acknowledgement(PUBCOMP, 3)), [null, null]);
    assert.deepEqual(client.heard(), []);
    client.send(acknowledgement(PUBREC, 3));
    assert.deepEqual(client.heard(), [level === 5 ? "pubrel 3 0x92" : "pubrel 3"]);
  });
}

Deno.test("Session frees its window at a PUBACK or PUBREC that refuses [MQTT-4.4.0-2]", () => {
  const client = new Client(5, { receiveMaximum: 2 });
  client.deliver("a", 1);
  client.deliver("b", 2);
  client.send(packet(PUBACK, uint16(1), 0x80), packet(PUBREC, uint16(2), 0x97));
  assert.equal(client.session.outbound.inflightCount, 0);
  assert.deepEqual(
    client.heard(),
    ["publish a qos 1 id 1", "publish b qos 2 id 2"],
    "and asks for no PUBREL",
  );
});

Deno.test("Session keeps the window of the smaller of both maxima [MQTT-3.3.4-9]", () => {
  for (const [receiveMaximum, window] of [[1, 1], [3, 3], [65_535, LIMITS.maxInflightOut]] as const) {
    const client = new Client(5, { receiveMaximum });
    for (let i = 0; i < 10; i++) client.deliver("m", 1);
    assert.equal(client.session.outbound.inflightCount, window);
  }
});

Deno.test("Session leaves out what the client cannot take [MQTT-3.1.2-25]", () => {
  const client = new Client(5, { maxPacketBytes: 100 });
  // 1 + 1 + 2 + 8 + 2 + 1 bytes stand before the payload.
  assert.equal(client.deliver("x".repeat(85), 1), "written");
  assert.equal(client.deliver("x".repeat(86), 1), "too-large");
  assert.equal(client.deliver("x".repeat(87), 0), "written");
  assert.equal(client.session.outbound.inflightCount, 1);
});

Deno.test("Session keeps what the socket has no room for and counts its bytes", () => {
  const client = new Client(5);
  assert.equal(client.deliver("a".repeat(100), 0, false), "waiting");
  assert.equal(client.deliver("b".repeat(100), 1, true), "waiting", "nothing overtakes");
  assert.ok(client.session.outbound.waitingBytes > 200 && client.session.outbound.waitingBytes < 250);
  client.release(1);
  assert.equal(client.hear().length, 1, "one packet may go beyond the room");
  client.release();
  assert.deepEqual(client.heard(), [`publish ${"b".repeat(100)} qos 1 id 1`]);
});

Deno.test("A topic alias stands for its topic until the connection ends [MQTT-3.3.2-12] [MQTT-3.3.2-7]", () => {
  const client = new Client(5);
  const aliased = (topic: string, alias: number) =>
    client.send(publish(topic, { qos: 0, properties: properties(0x23, uint16(alias)) }))[0];
  const commandOf = (effect: Effect | null | undefined) =>
    effect?.type === "request" ? effect.request.command : null;
  assert.equal(commandOf(aliased("im/sync", 1)), "sync");
  assert.equal(commandOf(aliased("", 1)), "sync");
  assert.equal(commandOf(aliased("im/user.get", 2)), "user.get");
  assert.equal(commandOf(aliased("", 1)), "sync");
  // The same alias may come to stand for another topic.
  assert.equal(commandOf(aliased("im/user.get", 1)), "user.get");
  assert.equal(commandOf(aliased("", 1)), "user.get");
  const invalid = (error: unknown) => error instanceof ProtocolError && error.reason === 0x94;
  assert.throws(() => aliased("im/sync", LIMITS.maxTopicAliases + 1), invalid); // [MQTT-3.3.2-9]
  const another = new Client(5);
  const unknown = publish("", { qos: 0, properties: properties(0x23, uint16(1)) });
  assert.equal(reasonOf(() => another.send(unknown)), REASONS.protocolError);
});
