/** The server dies in the middle of QoS 2: with clients that do their part, the application hears every message once. */
import assert from "node:assert/strict";
import type { ProtocolLevel } from "../broker/packet.ts";
import { ENDINGS, LastingBroker } from "./lasting_broker.ts";
import { Dice } from "./dice.ts";
import {
  LastingPublisher,
  type LastingSession,
  LastingSubscriber,
  PUBLISHER_STEPS,
  type Step,
  SUBSCRIBER_STEPS,
} from "./lasting_client.ts";

/** Set it to the seed that was printed to have the same moments again, as far as the machine lets them. */
const SEED = Number(Deno.env.get("HEARTH_CRASH_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** Exchanges that one publisher has open at a time. */
const WINDOW = 4;
const PAIRS_PER_VERSION = 6;
const KILLS_PER_STEP = 4;

/** A publisher and the only subscriber of its topic, both with sessions that outlive their connections. */
class Pair implements AsyncDisposable {
  readonly publisher: LastingPublisher;
  readonly subscriber: LastingSubscriber;
  #count = 0;

  constructor(name: string, level: ProtocolLevel) {
    this.publisher = new LastingPublisher(`publisher-${name}`, level, name);
    this.subscriber = new LastingSubscriber(`subscriber-${name}`, level, name);
  }

  get sessions(): readonly LastingSession[] {
    return [this.publisher.session, this.subscriber.session];
  }

  /** Connects both; each begins where it stands. */
  async connect(broker: LastingBroker): Promise<void> {
    await this.subscriber.session.connect(broker);
    await this.publisher.session.connect(broker);
  }

  /** Publishes until the connection ends. */
  async stream(): Promise<void> {
    while (await this.publisher.unfinishedFall(WINDOW - 1)) {
      await this.publisher.publish(`${this.publisher.topic} ${++this.#count}`);
    }
  }

  /** Ends every exchange, and shows that the subscriber has heard all once and in order. */
  async expectOnce(broker: LastingBroker): Promise<void> {
    const { publisher, subscriber } = this;
    // Its own exchange ends behind all others.
    await publisher.publish("the end");
    assert.ok(await publisher.unfinishedFall(0));
    assert.ok(await subscriber.hears("the end"));
    assert.deepEqual(subscriber.heard, publisher.sent);
    await this.connect(broker);
    await Promise.all(this.sessions.map((session) => session.answered()));
    assert.deepEqual(subscriber.heard, publisher.sent, "nothing of what has ended is sent again");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.sessions) await session[Symbol.asyncDispose]();
  }
}

/** Hears of a step once, and stops the client there. */
function stopAt(session: LastingSession, wanted: Step): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  session.watch = (step) => {
    if (step !== wanted) return;
    resolve();
    return "stop";
  };
  return promise;
}

for (const end of [...ENDINGS, "a lost connection"] as const) {
  Deno.test(`A QoS 2 message is heard once with ${end} between any two of its packets [MQTT-4.3.3-6] [MQTT-4.3.3-10] [MQTT-4.4.0-1] 3.1.1 [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.4.0-1]`, async () => {
    await using broker = await LastingBroker.start({ DRAIN_SECONDS: "0" });
    await using pairs = new AsyncDisposableStack();
    const all: Pair[] = [];
    const there: Promise<void>[] = [];
    for (const level of [4, 5] as const) {
      for (const published of PUBLISHER_STEPS) {
        for (const heard of ["nothing", ...SUBSCRIBER_STEPS] as const) {
          const pair = pairs.use(new Pair(`${level}: ${published}, ${heard}`, level));
          all.push(pair);
          await pair.connect(broker);
          if (heard === "nothing") pair.subscriber.session.stop();
          else there.push(stopAt(pair.subscriber.session, heard));
          there.push(stopAt(pair.publisher.session, published));
          await pair.publisher.publish("once");
        }
      }
    }
    await Promise.all(there);
    if (end !== "a lost connection") {
      await broker.end(end);
      await broker.start();
    }
    for (const pair of all) {
      for (const session of pair.sessions) {
        if (end === "a lost connection") await session.drop();
        else await session.ended();
        session.watch = () => {};
      }
      await pair.connect(broker);
      await pair.expectOnce(broker);
    }
  });
}

Deno.test("kill -9 right behind each packet of QoS 2 exchanges under load, and all are heard once and in order [MQTT-4.6.0-5] [MQTT-4.6.0-6] 3.1.1 [MQTT-4.6.0-5]", async () => {
  console.log(`HEARTH_CRASH_SEED=${SEED}`);
  const dice = new Dice(SEED);
  await using broker = await LastingBroker.start({ MAX_QUEUED_MESSAGES: "60000" });
  await using disposed = new AsyncDisposableStack();
  const pairs: Pair[] = [];
  for (const level of [4, 5] as const) {
    for (let i = 0; i < PAIRS_PER_VERSION; i++) {
      const pair = disposed.use(new Pair(`${level}.${i}`, level));
      await pair.connect(broker);
      pairs.push(pair);
    }
  }
  for (const wanted of [...PUBLISHER_STEPS, ...SUBSCRIBER_STEPS]) {
    for (let kill = 0; kill < KILLS_PER_STEP; kill++) {
      let more = 1 + dice.roll(40);
      // What was got was acknowledged: it must be stored now. What was sent races with its commit.
      const delayMs = kill === 0 || wanted.endsWith("got") ? 0 : dice.roll(6);
      const killed = Promise.withResolvers<void>();
      for (const { sessions } of pairs) {
        for (const session of sessions) {
          session.watch = (step) => {
            if (step !== wanted || --more !== 0) return;
            if (delayMs === 0) killed.resolve(broker.end("kill -9"));
            else setTimeout(() => killed.resolve(broker.end("kill -9")), delayMs);
          };
        }
      }
      const streams = pairs.map((pair) => pair.stream());
      await killed.promise;
      await Promise.all(streams);
      for (const { sessions } of pairs) await Promise.all(sessions.map((session) => session.ended()));
      await broker.start();
      for (const pair of pairs) await pair.connect(broker);
    }
  }
  for (const pair of pairs) await pair.expectOnce(broker);
  const counts = pairs.map(({ subscriber }) => subscriber.heard.length);
  assert.ok(Math.min(...counts) > 1, "every pair had its part");
});
