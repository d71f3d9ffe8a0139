/** Mutated packets: in process against framing, check and session, and through a real socket. */
import assert from "node:assert/strict";
import { acceptedConnack } from "../broker/connect.ts";
import { Framing } from "../broker/framing.ts";
import { OpenTopics } from "../broker/open_topics.ts";
import type { ConnectPacket, ProtocolLevel } from "../broker/packet.ts";
import { readPacket } from "../broker/packet_check.ts";
import { PacketWriter } from "../broker/packet_writer.ts";
import { ProtocolError } from "../broker/protocol_error.ts";
import type { Publication } from "../broker/publication.ts";
import { Session } from "../broker/session.ts";
import { TopicAccess } from "../broker/topic_access.ts";
import { readConfig } from "../config.ts";
import { createLog } from "../log.ts";
import { createLogin } from "./admin.ts";
import { deliveryOf, RecordedState, restoreSession, sayAgain } from "./fuzz/lasting_session.ts";
import { mutate } from "./fuzz/mutation.ts";
import { rollPacket } from "./fuzz/packets.ts";
import {
  acknowledgement,
  connect,
  counted,
  join,
  packet,
  properties,
  publish,
  readAsClient,
  readFirst,
  subscribe,
  uint16,
  uint32,
  userProperty,
} from "./mqtt_bytes.ts";
import { RawClient, within } from "./mqtt_client.ts";
import { startServer } from "./server.ts";
import { Dice } from "./dice.ts";

const { limits } = readConfig({});
const access = new TopicAccess(new OpenTopics(["#"]), limits, false);
const ACCEPTED = { isSessionPresent: false, expirySeconds: 0, clientId: "client-1", hasOpenTopics: true };
/** Set it to the seed that was printed to see the same again. */
const SEED = Number(Deno.env.get("HEARTH_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const IN_PROCESS = 20_000;
const OVER_TCP = 2_000;
const LASTING_ROUNDS = 300;

/** Well-formed packets of every type a client sends. */
function wellFormed(level: ProtocolLevel): Uint8Array[] {
  const none = level === 5 ? properties() : new Uint8Array(0);
  const all = properties(
    ...[join(0x01, 1), join(0x02, uint32(60)), join(0x03, counted("text/plain")), userProperty("ä", "ö")],
    ...[join(0x08, counted("me/reply/x")), join(0x09, counted([0, 1, 2]))],
  );
  return [
    publish("im/sync", { level }),
    publish("im/message.pull", { level, qos: 1, packetId: 7, payload: '{"cursor":"0"}' }),
    publish("im/message.send", { level, qos: 2, packetId: 8, payload: "x".repeat(200) }),
    publish("me/inbox", { level, qos: 1, packetId: 9, payload: [0xff, 0] }),
    ...(level === 5 ? [publish("im/sync", { qos: 1, packetId: 10, properties: all })] : []),
    ...[0x40, 0x50, 0x62, 0x70].map((first) => acknowledgement(first, 8)),
    ...(level === 5 ? [packet(0x62, uint16(8), 0x92, properties(0x1f, counted("why")))] : []),
    subscribe(level, 11, ["me/#", 1], ["im/+", 0], ["$share/g/a", 2]),
    subscribe(level, 13, ["fuzz/+/a", 2], ["fuzz/#", 1]),
    publish("fuzz/1/a", { level, qos: 1, packetId: 14, isRetain: true }),
    publish("fuzz/1/a", { level, isRetain: true, payload: "" }),
    publish("fuzz/2/ä", { level, qos: 2, packetId: 15 }),
    publish("fuzz/2/ä", { level, qos: 2, packetId: 15, isDup: true }),
    ...(level === 5
      ? [
        publish("fuzz/3", { properties: properties(0x23, uint16(1)) }),
        publish("", { qos: 1, packetId: 16, properties: properties(0x23, uint16(1)) }),
        packet(0x82, uint16(17), properties(0x0b, 1), counted("fuzz/1/#"), 0x2e),
      ]
      : []),
    packet(0xa2, uint16(12), none, counted("me/#"), counted("a/+/b")),
    packet(0xc0),
    packet(0xe0),
    ...(level === 5 ? [packet(0xe0, 0x04, properties(0x11, uint32(0)))] : []),
    connect({ level, userName: "alice", password: "secret" }),
  ];
}

/** What became of bytes behind a CONNECT. */
interface Outcome {
  /** `open`: everything was read; `partial`: the rest of a packet is missing. */
  readonly end: "open" | "partial" | "disconnect" | "broken";
  /** The 5.0 reason code of `broken`. */
  readonly reason: number;
  readonly requests: number;
  /** What the session wrote by itself. */
  readonly written: Uint8Array;
}

/** Runs bytes through framing, check and session; anything but a ProtocolError fails the test. */
function run(bytes: Uint8Array, level: ProtocolLevel): Outcome {
  const first = readFirst(connect({ level, userName: "alice" }));
  assert.ok(first !== "unsupported");
  const session = new Session({ limits, access, counts: { dropped: 0 } });
  session.attach(first, null);
  const writer = new PacketWriter(64);
  const framing = new Framing(limits.maxPacketBytes);
  let requests = 0;
  const outcome = (end: Outcome["end"], reason = 0): Outcome => ({
    end,
    reason,
    requests,
    written: writer.written(),
  });
  try {
    framing.push(bytes);
    while (framing.next()) {
      const { packetStart, bodyStart, packetEnd } = framing;
      const read = readPacket(framing.bytes, packetStart, bodyStart, packetEnd, level);
      const effect = session.receive(read, 0, writer);
      if (effect?.type === "disconnect") return outcome("disconnect");
      if (effect?.type !== "request" && effect?.type !== "publish") continue;
      requests++;
      assert.ok(effect.request.body.length <= bytes.length);
      // As a broker without commands would answer it, at once.
      session.acknowledge(effect.request, effect.request.reason, 0, writer);
    }
  } catch (error) {
    if (error instanceof ProtocolError) return outcome("broken", error.reason);
    throw error;
  }
  return outcome(framing.pendingBytes > 0 ? "partial" : "open");
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

Deno.test(`${IN_PROCESS} mutated packets are read or refused, and what is answered is MQTT`, () => {
  console.log(`HEARTH_FUZZ_SEED=${SEED}`);
  const dice = new Dice(SEED);
  const ends = new Map<string, number>();
  for (const level of [4, 5] as const) {
    const samples = wellFormed(level);
    for (let i = 0; i < IN_PROCESS / 2; i++) {
      const bytes = mutate(dice, dice.pick(samples), samples);
      try {
        const { end, written } = run(bytes, level);
        readAsClient(written.slice(), level);
        ends.set(end, (ends.get(end) ?? 0) + 1);
      } catch (cause) {
        throw new Error(`level ${level}, ${hex(bytes)}`, { cause });
      }
    }
  }
  // The mutations reach every way out; otherwise this would prove nothing.
  for (const end of ["open", "partial", "disconnect", "broken"]) assert.ok((ends.get(end) ?? 0) > 100, end);
});

/** A client's own CONNECT that asks for its session to last, and for less at a time than the server would give. */
function lastingConnect(dice: Dice): ConnectPacket {
  const level = dice.pick([4, 5] as const);
  const asked = properties(
    ...[join(0x11, uint32(60)), join(0x21, uint16(dice.pick([1, 3, 65_535])))],
    ...[join(0x22, uint16(dice.pick([0, 1, 9]))), join(0x27, uint32(dice.pick([128, 100_000])))],
  );
  const read = readFirst(connect({ level, flags: 0, properties: asked }));
  assert.ok(read !== "unsupported");
  return read;
}

Deno.test("A session that lasts goes on after mutated packets where it was, and a restarted one where its log says", () => {
  const dice = new Dice(SEED + 3);
  const rules = { limits: { ...limits, maxQueuedMessages: 12 }, access, counts: { dropped: 0 } };
  const seen = { broken: 0, resumed: 0, kept: 0, received: 0, released: 0 };
  for (let round = 0; round < LASTING_ROUNDS; round++) {
    const state = new RecordedState();
    const session = new Session(rules);
    const heard: string[] = [];
    const writer = new PacketWriter(256);
    session.attach(lastingConnect(dice), state);
    for (let step = 0; step < 40; step++) {
      const { level } = session;
      const samples = [rollPacket(dice, { level, login: null }), rollPacket(dice, { level, login: null })];
      const bytes = dice.roll(2) === 0 ? samples[0]! : mutate(dice, samples[0]!, samples);
      heard.push(hex(bytes));
      try {
        const goesOn = playOn(dice, session, bytes, writer);
        readAsClient(writer.written().slice(), level);
        writer.length = 0;
        if (goesOn && dice.roll(10) > 0) continue;
        if (!goesOn) seen.broken++;
        writer.length = 0;
        session.detach();
        for (let i = dice.roll(15); i > 0; i--) {
          session.enqueue(deliveryOf(rollPublication(dice), dice.roll(3), []), false);
        }
        seen.resumed++;
        seen.kept += state.queuedBySeq.size;
        seen.received += state.packetIds.size;
        for (const { isReleased } of state.queuedBySeq.values()) if (isReleased) seen.released++;
        const again = lastingConnect(dice);
        const copy = state.copy();
        const restarted = sayAgain(restoreSession(rules, copy), copy, again);
        const lasting = sayAgain(session, state, again);
        assert.equal(hex(lasting), hex(restarted));
        readAsClient(lasting, again.level);
      } catch (cause) {
        throw new Error(`round ${round}, step ${step}:\n${heard.join("\n")}`, { cause });
      }
    }
  }
  for (const [what, count] of Object.entries(seen)) {
    assert.ok(count > LASTING_ROUNDS / 4, `${what}: ${count}`);
  }
});

/** A message from somebody else. */
function rollPublication(dice: Dice): Publication {
  return {
    topic: dice.pick(["fuzz/0/a", "fuzz/1/b", `fuzz/${"x".repeat(100)}`]),
    payload: new Uint8Array(dice.pick([0, 1, 60])),
    qos: dice.roll(3),
    retain: dice.roll(2) === 0,
    properties: dice.roll(2) === 0 ? new Uint8Array(0) : userProperty("a", "b"),
    expiresAtMs: null,
  };
}

/** Takes bytes, and brings what is published back to the one who published it; whether the connection goes on. */
function playOn(dice: Dice, session: Session, bytes: Uint8Array, writer: PacketWriter): boolean {
  const framing = new Framing(limits.maxPacketBytes);
  try {
    framing.push(bytes);
    while (framing.next()) {
      const { packetStart, bodyStart, packetEnd } = framing;
      const read = readPacket(framing.bytes, packetStart, bodyStart, packetEnd, session.level);
      const effect = session.receive(read, 0, writer);
      if (effect?.type === "disconnect") return false;
      if (effect?.type === "request" || effect?.type === "publish") {
        if (effect.type === "publish") {
          const ids = dice.roll(2) === 0 ? [] : [1, 268_435_455];
          session.outbound.publish(
            deliveryOf(effect.publication, dice.roll(3), ids),
            dice.roll(3) > 0,
            0,
            writer,
          );
          session.routed(effect.request);
        }
        session.acknowledge(effect.request, effect.request.reason, 0, writer);
      }
      session.outbound.release(writer.length + dice.roll(2_000), 0, writer);
    }
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
  return framing.pendingBytes === 0;
}

Deno.test(`${IN_PROCESS} mutated CONNECTs are read or refused`, () => {
  const dice = new Dice(SEED + 1);
  const will = (level: number) =>
    join(level === 5 ? properties(0x18, uint32(1)) : [], counted("a/b"), counted("gone"));
  const samples = [4, 5].flatMap((level) => [
    connect({ level, userName: "alice", password: "secret", keepAliveSeconds: 30 }),
    connect({ level, userName: "alice", will: will(level) }),
    connect({ level, properties: properties(0x11, uint32(5), 0x21, uint16(9), 0x27, uint32(999), 0x19, 1) }),
  ]);
  const ends = { read: 0, unsupported: 0, broken: 0, partial: 0 };
  for (let i = 0; i < IN_PROCESS; i++) {
    const bytes = mutate(dice, dice.pick(samples), samples);
    try {
      const framing = new Framing(limits.maxPacketBytes);
      framing.push(bytes);
      if (!framing.next()) {
        ends.partial++;
        continue;
      }
      const read = readFirst(bytes);
      if (read === "unsupported") ends.unsupported++;
      else {
        ends.read++;
        readAsClient(acceptedConnack(read, limits, ACCEPTED), read.level);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw new Error(hex(bytes), { cause: error });
      ends.broken++;
    }
  }
  for (const [end, count] of Object.entries(ends)) assert.ok(count > 100, `${end}: ${count}`);
});

Deno.test(`${OVER_TCP} mutated packets over TCP end in a reply or a close, each close with one line in the log`, async () => {
  const lines: string[] = [];
  const log = createLog({ format: "text", level: "info", write: (line) => lines.push(line) });
  await using server = await startServer({ RATE_LIMITS: "off", OPEN_TOPICS: "#" }, log);
  await using witness = await RawClient.login(server, "TCP", "witness");
  const users = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const [userId, clientId] = [`user-${i}`, `client-${i}`];
      return { userName: userId, clientId, password: await createLogin(server, userId, clientId) };
    }),
  );
  const dice = new Dice(SEED + 2);
  const cases: { level: ProtocolLevel; bytes: Uint8Array }[] = [];
  for (let i = 0; i < OVER_TCP; i++) {
    const level = dice.pick([4, 5] as const);
    const samples = wellFormed(level);
    cases.push({ level, bytes: mutate(dice, dice.pick(samples), samples) });
  }
  const PINGREQ = packet(0xc0);
  let broken = 0;

  /** Sends one case as one user; its outcome must be that of the same bytes in process. */
  const prove = async ({ level, bytes }: (typeof cases)[number], user: (typeof users)[number]) => {
    const expected = run(join(bytes, PINGREQ), level);
    if (expected.end === "broken") broken++;
    await using client = await RawClient.open(server, "TCP", level);
    await client.connect(user);
    await client.send(bytes, PINGREQ);
    if (expected.end === "open" || expected.end === "partial") {
      // Where the PINGREQ became part of another packet, there is nothing to be heard.
      if (expected.written.at(-2) !== 0xd0) return;
      for (let read = await client.next(); read.cmd !== "pingresp"; read = await client.next());
      return;
    }
    const last = (await client.rest()).at(-1);
    if (expected.end === "broken" && level === 5) {
      assert.ok(last?.cmd === "disconnect", hex(bytes));
      assert.equal(last.reasonCode, expected.reason, hex(bytes));
    } else assert.notEqual(last?.cmd, "disconnect", hex(bytes));
  };

  await Promise.all(users.map(async (user) => {
    for (let next = cases.pop(); next !== undefined; next = cases.pop()) {
      try {
        await prove(next, user);
      } catch (cause) {
        throw new Error(`level ${next.level}, ${hex(next.bytes)}`, { cause });
      }
    }
  }));
  // The server has lived through it, and the connection beside it too.
  await witness.send(PINGREQ);
  assert.equal((await within("the PINGRESP", witness.next())).cmd, "pingresp");
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, new RegExp(`^hearth_protocol_errors_total ${broken}$`, "m"));
  assert.deepEqual(lines.filter((line) => /ERROR|WARN/.test(line)), []);
  // A line for each, as long as they are few; then some are only counted.
  const told = lines.filter((line) => line.includes("peer broke MQTT"));
  const untold = told.reduce((sum, line) => sum + Number(/untold=(\d+)/.exec(line)?.[1] ?? 0), 0);
  assert.ok(told.length >= 20 && told.length + untold <= broken, `${told.length} told, ${untold} untold`);
});
