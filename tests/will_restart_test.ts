/** Wills and the expiry of sessions go on where they stood when the process comes again. */
import assert from "node:assert/strict";
import { text } from "./conformance_client.ts";
import { type Ending, ENDINGS, LastingBroker } from "./lasting_broker.ts";
import { userProperty } from "./mqtt_bytes.ts";

const HOUR = 3_600;
/** The reason code of a DISCONNECT that leaves the will. */
const WITH_WILL = 0x04;
const LASTING = { clean: false, expirySeconds: HOUR };

/** A client that is away hears of wills, whenever they are sent. */
async function beginWatch(broker: LastingBroker): Promise<void> {
  const watch = await broker.connect("watch", 5, LASTING);
  await watch.subscribe([["will/#", 2], ["fence", 2]]);
  await watch.disconnect();
}

/** Waits for a moment of the clock. */
async function untilPassed(atMs: number): Promise<void> {
  const leftMs = atMs - Date.now();
  if (leftMs > 0) await new Promise((resume) => setTimeout(resume, leftMs));
}

for (const ending of ENDINGS) {
  Deno.test(`A will that waits is sent in its time after ${ending} of the server, unless its client returns [MQTT-3.1.3-9]`, async () => {
    await using broker = await LastingBroker.start({ DRAIN_SECONDS: "0" });
    await beginWatch(broker);
    const hello = (topic: string, delaySeconds: number) => ({
      ...LASTING,
      will: { topic, payload: topic, qos: 2, delaySeconds, properties: [userProperty("k", topic)] },
    });
    for (const [clientId, delaySeconds] of [["waits", 2], ["returns", 2], ["lasts", HOUR]] as const) {
      const client = await broker.connect(clientId, 5, hello(`will/${clientId}`, delaySeconds));
      await client.disconnect(WITH_WILL);
    }
    await broker.settled();
    await broker.end(ending);
    await broker.start();
    const returned = await broker.connect("returns", 5, LASTING);
    assert.equal(returned.connack.sessionPresent, true);
    const watch = await broker.connect("watch", 5, LASTING);
    const will = await watch.message();
    assert.equal(text(will), "will/waits");
    assert.equal(will.qos, 2);
    assert.deepEqual({ ...will.properties?.userProperties }, { k: "will/waits" });
    // A will of the same delay that began later is sent behind all of these.
    const clock = await broker.connect("clock", 5, hello("will/clock", 2));
    await clock.disconnect(WITH_WILL);
    assert.equal(text(await watch.message()), "will/clock");
    await watch.expectSilence();
  });

  Deno.test(`Sessions whose time passes while the server is down are over after ${ending} of it, others are not [MQTT-4.1.0-2]`, async () => {
    await using broker = await LastingBroker.start({ DRAIN_SECONDS: "0" });
    await beginWatch(broker);
    const short = { clean: false, expirySeconds: 1 };
    const enter = async (clientId: string, hello: typeof short & { readonly delaySeconds?: number }) => {
      const { delaySeconds, ...rest } = hello;
      const topic = `will/${clientId}`;
      const client = await broker.connect(clientId, 5, {
        ...rest,
        ...(delaySeconds === undefined ? {} : { will: { topic, payload: topic, delaySeconds } }),
      });
      await client.subscribe([["fence", 1]]);
      return client;
    };
    await enter("connected", short);
    await (await enter("short", short)).disconnect();
    await (await enter("willing", { ...short, delaySeconds: HOUR })).disconnect(WITH_WILL);
    await (await enter("long", LASTING)).disconnect();
    await (await broker.connect("old", 4, { clean: false })).disconnect();
    await broker.settled();
    const leftAtMs = Date.now();
    await broker.end(ending);
    await untilPassed(leftAtMs + 1_000);
    await broker.start();
    for (
      const [clientId, level, isPresent] of [
        ["long", 5, true],
        ["old", 4, true],
        ["short", 5, false],
        ["willing", 5, false],
      ] as const
    ) {
      const client = await broker.connect(clientId, level, LASTING);
      assert.equal(client.connack.sessionPresent, isPresent, clientId);
    }
    // Its will was to wait longer than its session.
    const watch = await broker.connect("watch", 5, LASTING);
    assert.equal(text(await watch.message()), "will/willing");
    await watch.expectSilence();
  });
}

/** Which wills of clients that are connected at the end of the server are sent when it comes again. */
async function listWills(ending: Ending): Promise<string[]> {
  await using broker = await LastingBroker.start({ DRAIN_SECONDS: "0" });
  await beginWatch(broker);
  const willOf = (topic: string, delaySeconds?: number) => ({
    topic,
    payload: topic,
    ...(delaySeconds === undefined ? {} : { delaySeconds }),
  });
  await broker.connect("old", 4, { ...LASTING, will: willOf("will/old") });
  await broker.connect("now", 5, { ...LASTING, will: willOf("will/now") });
  await broker.connect("returning", 5, { ...LASTING, will: willOf("will/returning", HOUR) });
  await broker.connect("soon", 5, { ...LASTING, will: willOf("will/soon", 1) });
  const polite = await broker.connect("polite", 5, { ...LASTING, will: willOf("will/polite") });
  await polite.disconnect();
  await broker.settled();
  await broker.end(ending);
  await broker.start();
  const returned = await broker.connect("returning", 5, LASTING);
  assert.equal(returned.connack.sessionPresent, true);
  const clock = await broker.connect("clock", 5, { ...LASTING, will: willOf("will/clock", 2) });
  await clock.disconnect(WITH_WILL);
  const watch = await broker.connect("watch", 5, LASTING);
  return (await watch.messagesBefore("will/clock")).map(text).sort();
}

Deno.test("Clients that are connected at a kill -9 have lost their connection: their wills are sent when the server comes again [MQTT-3.1.2-8] 3.1.1 [MQTT-3.1.2-8]", async () => {
  assert.deepEqual(await listWills("kill -9"), ["will/now", "will/old", "will/soon"]);
});

Deno.test("Clients that are connected at a normal stop of the server are sent away: their wills are not sent", async () => {
  assert.deepEqual(await listWills("a normal stop"), []);
});
