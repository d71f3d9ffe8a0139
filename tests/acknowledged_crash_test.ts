/** kill -9 under load: what was acknowledged is there afterwards, whatever it was. */
import assert from "node:assert/strict";
import type { ProtocolLevel } from "../broker/packet.ts";
import { type ConformanceClient, text } from "./conformance_client.ts";
import { Dice } from "./dice.ts";
import { LastingBroker } from "./lasting_broker.ts";

/** Set it to the seed that was printed to have the same moments again, as far as the machine lets them. */
const SEED = Number(Deno.env.get("HEARTH_CRASH_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = 3;
const AT_ONCE = 16;
const LASTING = { clean: false, expirySeconds: 3_600 };

/** Both versions in turn. */
function levelOf(i: number): ProtocolLevel {
  return i % 2 === 0 ? 4 : 5;
}

/**
 * Lets work go on over and over, many at once, until a number of acknowledgements has come: there it kills the server,
 * and starts it again when all work has ended.
 */
async function killUnderLoad(
  broker: LastingBroker,
  acknowledgements: number,
  work: (i: number, acknowledged: () => void) => Promise<void>,
): Promise<void> {
  const killed = Promise.withResolvers<void>();
  const acknowledged = () => {
    if (--acknowledgements === 0) killed.resolve(broker.end("kill -9"));
  };
  const goOn = async (i: number) => {
    try {
      while (broker.isRunning) await work(i, acknowledged);
    } catch (error) {
      // Its connection was lost.
      if (broker.isRunning) throw error;
    }
  };
  await Promise.all([killed.promise, ...Array.from({ length: AT_ONCE }, (_, i) => goOn(i))]);
  await broker.start();
}

/** What one publisher, whose session ends with its connection, has sent. */
interface Sender {
  readonly client: ConformanceClient;
  readonly topic: string;
  sent: number;
  acknowledged: number;
}

async function beginSenders(broker: LastingBroker, topic: string): Promise<Sender[]> {
  return await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, i) => ({
      client: await broker.connect(`sender-${i}`, levelOf(i)),
      topic: `${topic}/${i}`,
      sent: 0,
      acknowledged: 0,
    })),
  );
}

Deno.test("What a publisher has its PUBACK for is there after kill -9 for who was away, once and in order", async () => {
  console.log(`HEARTH_CRASH_SEED=${SEED}`);
  const dice = new Dice(SEED);
  await using broker = await LastingBroker.start({ MAX_QUEUED_MESSAGES: "60000" });
  for (const level of [4, 5] as const) {
    const absent = await broker.connect(`absent-${level}`, level, LASTING);
    await absent.subscribe([["load/#", 1]]);
    await absent.disconnect();
  }
  for (let round = 1; round <= ROUNDS; round++) {
    const senders = await beginSenders(broker, `load/${round}`);
    await killUnderLoad(broker, 100 + dice.roll(400), async (i, acknowledged) => {
      const sender = senders[i]!;
      await sender.client.publish(sender.topic, String(++sender.sent), { qos: 1 });
      sender.acknowledged++;
      acknowledged();
    });
    const last = await broker.connect("last", 5);
    await last.publish("load/end", "the end", { qos: 1 });
    for (const level of [4, 5] as const) {
      const absent = await broker.connect(`absent-${level}`, level, LASTING);
      assert.equal(absent.connack.sessionPresent, true);
      const heard = Map.groupBy(await absent.messagesBefore("the end"), ({ topic }) => topic);
      for (const { topic, sent, acknowledged } of senders) {
        const numbers = (heard.get(topic) ?? []).map((message) => Number(text(message)));
        assert.deepEqual(numbers, numbers.map((_, place) => place + 1), "once and in order");
        assert.ok(numbers.length >= acknowledged, `${acknowledged} acknowledged, ${numbers.length} there`);
        assert.ok(numbers.length <= sent);
      }
      await absent.disconnect();
    }
  }
});

Deno.test("What was last retained with a PUBACK is what is retained after kill -9", async () => {
  console.log(`HEARTH_CRASH_SEED=${SEED}`);
  const dice = new Dice(SEED + 1);
  await using broker = await LastingBroker.start();
  // Every third one clears the topic.
  const bodyOf = (count: number) => count % 3 === 0 ? "" : String(count);
  for (let round = 1; round <= ROUNDS; round++) {
    const senders = await beginSenders(broker, `kept/${round}`);
    await killUnderLoad(broker, 100 + dice.roll(400), async (i, acknowledged) => {
      const sender = senders[i]!;
      await sender.client.publish(sender.topic, bodyOf(++sender.sent), { qos: 1, isRetain: true });
      sender.acknowledged++;
      acknowledged();
    });
    const subscriber = await broker.connect("subscriber", 5);
    await subscriber.subscribe([["kept/#", 1], ["end", 1]]);
    await subscriber.publish("end", "the end", { qos: 1 });
    const found = new Map(
      (await subscriber.messagesBefore("the end")).map((message) => [message.topic, text(message)]),
    );
    for (const { topic, sent, acknowledged } of senders) {
      const body = found.get(topic) ?? "";
      assert.ok(
        body === bodyOf(acknowledged) || body === bodyOf(sent),
        `${topic} has "${body}", ${acknowledged} of ${sent} are acknowledged`,
      );
    }
    await subscriber.drop();
  }
});

/** What a client knows of its session; null: it has asked and does not know yet. */
interface Known {
  readonly clientId: string;
  readonly level: ProtocolLevel;
  isPresent: boolean | null;
  isSubscribed: boolean | null;
}

/** A client's session from its beginning to its end; now and then it stops short. */
async function live(
  broker: LastingBroker,
  known: Known,
  { dice, acknowledged }: { readonly dice: Dice; readonly acknowledged: () => void },
): Promise<void> {
  const { clientId, level } = known;
  const client = await broker.connect(clientId, level, LASTING);
  known.isPresent = true;
  acknowledged();
  known.isSubscribed = null;
  await client.subscribe([[clientId, 1]]);
  known.isSubscribed = true;
  acknowledged();
  const next = dice.roll(3);
  if (next === 1) {
    known.isSubscribed = null;
    await client.unsubscribe(clientId);
    known.isSubscribed = false;
    acknowledged();
  } else if (next === 2) {
    known.isPresent = known.isSubscribed = null;
    const newer = await broker.connect(clientId, level, { ...LASTING, clean: true });
    // In 3.1.1 a clean session ends with its connection.
    known.isPresent = level === 5;
    known.isSubscribed = false;
    acknowledged();
    await newer.drop();
  }
  await client.drop();
}

Deno.test("Sessions and subscriptions are after kill -9 as CONNACK, SUBACK and UNSUBACK said", async () => {
  console.log(`HEARTH_CRASH_SEED=${SEED}`);
  const dice = new Dice(SEED + 2);
  await using broker = await LastingBroker.start();
  for (let round = 1; round <= ROUNDS; round++) {
    const all: Known[] = [];
    await killUnderLoad(broker, 50 + dice.roll(150), async (i, acknowledged) => {
      const level = levelOf(i);
      const known = { clientId: `${round}-${all.length}`, level, isPresent: null, isSubscribed: false };
      all.push(known);
      await live(broker, known, { dice, acknowledged });
    });
    const publisher = await broker.connect("publisher", 5);
    for (const { clientId, level, isPresent, isSubscribed } of all) {
      await publisher.publish(clientId, "for who subscribed", { qos: 1 });
      const client = await broker.connect(clientId, level, LASTING);
      if (isPresent !== null) assert.equal(client.connack.sessionPresent, isPresent, clientId);
      await client.subscribe([["end", 1]]);
      await client.publish("end", "the end", { qos: 1 });
      const heard = await client.messagesBefore("the end");
      if (isSubscribed !== null) assert.equal(heard.length, isSubscribed ? 1 : 0, clientId);
      await client.unsubscribe("end");
      await client.drop();
    }
  }
});
