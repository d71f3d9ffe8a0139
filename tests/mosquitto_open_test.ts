/** mosquitto_pub, mosquitto_sub and mosquitto_rr, unmodified, on open topics. */
import assert from "node:assert/strict";
import { addressArgs, doors, isRun, run, Subscriber } from "./mosquitto.ts";
import type { Door } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const VERSIONS = [["mqttv311", "3.1.1"], ["mqttv5", "5.0"]] as const;
const QOS = [0, 1, 2] as const;

/** A message as mosquitto_sub prints it with `%j`. */
interface Heard {
  readonly topic: string;
  readonly qos: number;
  readonly retain: number;
  readonly payload?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** A `mosquitto_sub` on open topics. */
class OpenSubscriber extends Subscriber {
  constructor(args: readonly string[]) {
    super(args, "heard %j");
  }

  /** Waits until it has subscribed; the codes it was granted. */
  async granted(): Promise<string> {
    const line = await this.line(/^Subscribed/);
    return line!.slice(line!.indexOf("): ") + 3);
  }

  /** The next message. */
  async next(): Promise<Heard> {
    const line = await this.line(/^heard /);
    assert.ok(line !== null, "mosquitto_sub has ended");
    return JSON.parse(line.slice("heard ".length));
  }

  /** The payloads before this one. */
  async before(payload: string): Promise<string[]> {
    const payloads: string[] = [];
    for (;;) {
      const heard = (await this.next()).payload ?? "";
      if (heard === payload) return payloads;
      payloads.push(heard);
    }
  }
}

/** A server, a door into it and a version to speak. */
class Stage {
  readonly server: TestServer;
  readonly door: Door;
  readonly version: (typeof VERSIONS)[number][0];

  constructor(server: TestServer, door: Door, version: (typeof VERSIONS)[number][0]) {
    this.server = server;
    this.door = door;
    this.version = version;
  }

  get isV5(): boolean {
    return this.version === "mqttv5";
  }

  get #args(): string[] {
    return [...addressArgs(this.server, this.door), "-V", this.version];
  }

  /** Runs mosquitto_pub to its end, which must be a good one. */
  async publish(topic: string, payload: string | null, ...args: readonly string[]): Promise<void> {
    const body = payload === null ? ["-n"] : ["-m", payload];
    const { code, stderr } = await run("mosquitto_pub", [...this.#args, "-t", topic, ...body, ...args]);
    assert.deepEqual([code, stderr], [0, ""]);
  }

  /** Starts mosquitto_sub and waits until it has subscribed. */
  async subscribe(topicFilter: string, ...args: readonly string[]): Promise<OpenSubscriber> {
    const subscriber = this.start(topicFilter, ...args);
    await subscriber.granted();
    return subscriber;
  }

  /** Starts mosquitto_sub. */
  start(topicFilter: string, ...args: readonly string[]): OpenSubscriber {
    return new OpenSubscriber([...this.#args, "-t", topicFilter, ...args]);
  }

  /** Runs one of the programs to its end, whatever that is. */
  run(program: string, ...args: readonly string[]) {
    return run(program, [...this.#args, ...args]);
  }
}

function testOnStages(
  sentence: string,
  versions: readonly (typeof VERSIONS)[number][],
  play: (stage: Stage) => Promise<void>,
  openTopics = "#",
): void {
  for (const door of doors) {
    for (const [version, name] of versions) {
      Deno.test({
        name: `${sentence}, over ${door} in ${name}`,
        ignore: !isRun,
        async fn() {
          await using server = await startServer({ BROKER_ANONYMOUS: "true", OPEN_TOPICS: openTopics });
          await play(new Stage(server, door, version));
        },
      });
    }
  }
}

const V5 = VERSIONS.slice(1);

testOnStages("mosquitto_pub and mosquitto_sub use open topics at every QoS", VERSIONS, async (stage) => {
  for (const granted of QOS) {
    await using subscriber = await stage.subscribe("a/+", "-q", String(granted));
    for (const qos of QOS) {
      await stage.publish("a/b", `at ${qos}`, "-q", String(qos));
      const heard = await subscriber.next();
      assert.deepEqual([heard.topic, heard.payload, heard.qos], ["a/b", `at ${qos}`, Math.min(qos, granted)]);
    }
  }
});

testOnStages("mosquitto_pub sets and clears retained messages", VERSIONS, async (stage) => {
  for (const qos of QOS) await stage.publish(`kept/${qos}`, `at ${qos}`, "-r", "-q", String(qos));
  await stage.publish("kept/1", "replaced", "-r", "-q", "1");
  const only = await stage.run(
    "mosquitto_sub",
    "-t",
    "kept/#",
    "--retained-only",
    "-C",
    "3",
    "-q",
    "2",
    "-F",
    "%r %q %p",
  );
  assert.deepEqual(only.stdout.trim().split("\n").sort(), ["1 0 at 0", "1 1 replaced", "1 2 at 2"]);
  await stage.publish("kept/1", null, "-r", "-q", "1");
  await using subscriber = await stage.subscribe("kept/#", "-q", "2", "--remove-retained");
  await stage.publish("kept/end", "the end", "-q", "1");
  // What it removes comes back to it as empty messages.
  const heard: string[] = [];
  while (heard.length < 5) heard.push((await subscriber.next()).payload ?? "");
  assert.deepEqual(heard.sort(), ["", "", "at 0", "at 2", "the end"]);
  await using late = await stage.subscribe("kept/#", "-q", "1");
  await stage.publish("kept/end", "the end", "-q", "1");
  assert.deepEqual(await late.before("the end"), [], "they have been removed");
});

testOnStages(
  "mosquitto_sub leaves its will when it is killed, and none when it ends",
  VERSIONS,
  async (stage) => {
    await using watch = await stage.subscribe("will", "-q", "2");
    const willArgs = (payload: string) => [
      ...["--will-topic", "will", "--will-payload", payload, "--will-qos", "1", "--will-retain"],
      ...(stage.isV5
        ? ["-D", "will", "user-property", "k", "v", "-D", "will", "content-type", "text/plain"]
        : []),
    ];
    const polite = await stage.run("mosquitto_sub", "-t", "other", ...willArgs("of who ended"), "-E");
    assert.equal(polite.code, 0, polite.stderr);
    await using killed = await stage.subscribe("other", ...willArgs("of who was killed"));
    killed.kill();
    const heard = await watch.next();
    assert.deepEqual([heard.payload, heard.qos, heard.retain], ["of who was killed", 1, 0]);
    if (stage.isV5) {
      assert.deepEqual(heard.properties, { "content-type": "text/plain", "user-properties": { k: "v" } });
    }
    const late = await stage.run("mosquitto_sub", "-t", "will", "-C", "1", "-F", "%r %p");
    assert.equal(late.stdout.trim(), "1 of who was killed");
    if (!stage.isV5) return;
    // At SIGTERM it says good-bye with the reason that leaves the will.
    await using ended = await stage.subscribe("other", ...willArgs("of who was ended"));
    await ended[Symbol.asyncDispose]();
    assert.equal((await watch.next()).payload, "of who was ended");
  },
);

testOnStages("mosquitto_sub finds its session and what came meanwhile", VERSIONS, async (stage) => {
  const session = ["-c", "-i", "lasting", "-q", "2", ...(stage.isV5 ? ["-x", "600"] : [])];
  const begun = await stage.run("mosquitto_sub", "-t", "queue/+", ...session, "-E");
  assert.equal(begun.code, 0, begun.stderr);
  for (const qos of QOS) await stage.publish(`queue/${qos}`, `at ${qos}`, "-q", String(qos));
  {
    await using returned = stage.start("queue/+", ...session);
    for (const qos of QOS) {
      const heard = await returned.next();
      assert.deepEqual([heard.topic, heard.payload, heard.qos], [`queue/${qos}`, `at ${qos}`, qos]);
    }
    await stage.publish("queue/end", "seen", "-q", "2");
    assert.deepEqual(await returned.before("seen"), []);
  }
  await stage.publish("queue/end", "the end", "-q", "2");
  await using again = stage.start("queue/+", ...session);
  assert.deepEqual(await again.before("the end"), [], "what was acknowledged does not come again");
});

testOnStages("Members of $share of mosquitto_sub take turns", VERSIONS, async (stage) => {
  const args = ["$share/group/work/#", "-t", "end", "-q", "1"] as const;
  await using one = await stage.subscribe(...args);
  await using two = await stage.subscribe(...args);
  await stage.publish("work/a", "x", "-q", "1", "--repeat", "10");
  await stage.publish("end", "the end", "-q", "1");
  for (const member of [one, two]) assert.deepEqual(await member.before("the end"), Array(5).fill("x"));
});

testOnStages("mosquitto_sub is told that it may not subscribe", VERSIONS, async (stage) => {
  const closed = await stage.run("mosquitto_sub", "-t", "closed/a", "-d");
  assert.match(closed.stderr, /denied/, JSON.stringify(closed));
  await using half = stage.start("closed/a", "-t", "open/a", "-q", "1");
  assert.equal(await half.granted(), stage.isV5 ? "135, 1" : "128, 1");
  const sent = await stage.run("mosquitto_pub", "-t", "closed/a", "-m", "x", "-q", "1", "-d");
  if (stage.isV5) assert.match(sent.stderr, /Not authorized/);
  else assert.deepEqual([sent.code, sent.stderr], [0, ""]);
  await stage.publish("open/a", "the end", "-q", "1");
  assert.deepEqual(await half.before("the end"), []);
}, "open/#");

testOnStages("mosquitto_pub says everything of a message that 5.0 has", V5, async (stage) => {
  const said: readonly (readonly string[])[] = [
    ["payload-format-indicator", "1"],
    ["content-type", "text/plain"],
    ["response-topic", "answers"],
    ["correlation-data", "which"],
    ["message-expiry-interval", "600"],
    ["user-property", "b", "1"],
    ["user-property", "a", "2"],
    ["user-property", "c", "3"],
  ];
  await using subscriber = await stage.subscribe(
    "said",
    "-q",
    "2",
    "-D",
    "subscribe",
    "subscription-identifier",
    "7",
  );
  await using absent = await stage.subscribe("said", "-q", "2", "-c", "-i", "absent", "-x", "600");
  await absent[Symbol.asyncDispose]();
  const args = said.flatMap((property) => ["-D", "publish", ...property]);
  await stage.publish("said", "hello", "-q", "2", "-r", ...args);
  await using late = stage.start("said", "-q", "1");
  await using returned = stage.start("said", "-q", "2", "-c", "-i", "absent", "-x", "600");
  for (
    const [heard, own] of [[await subscriber.next(), { "subscription-identifier": 7 }], [
      await late.next(),
      {},
    ], [await returned.next(), {}]] as const
  ) {
    const { "message-expiry-interval": seconds, ...properties } = heard.properties!;
    assert.ok(Number(seconds) > 540 && Number(seconds) <= 600);
    assert.deepEqual(properties, {
      "payload-format-indicator": 1,
      "content-type": "text/plain",
      "response-topic": "answers",
      "correlation-data": "which",
      "user-properties": { b: "1", a: "2", c: "3" },
      ...own,
    });
    assert.deepEqual(Object.keys(properties["user-properties"] as object), ["b", "a", "c"]);
  }
});

testOnStages(
  "mosquitto_pub uses a topic alias, and mosquitto_sub a receive maximum of one",
  V5,
  async (stage) => {
    await using subscriber = await stage.subscribe(
      "alias/a",
      "-q",
      "2",
      "-D",
      "connect",
      "receive-maximum",
      "1",
    );
    // From the second message on it sends the alias alone.
    await stage.publish("alias/a", "x", "-q", "2", "--repeat", "20", "-D", "publish", "topic-alias", "1");
    await stage.publish("alias/a", "the end", "-q", "2");
    assert.deepEqual(await subscriber.before("the end"), Array(20).fill("x"));
  },
);

testOnStages("mosquitto_rr asks, and is answered on the topic it named", V5, async (stage) => {
  await using service = await stage.subscribe("ask", "-q", "1");
  const asking = stage.run(
    "mosquitto_rr",
    "-t",
    "ask",
    "-e",
    "answer/1",
    "-m",
    "question",
    "-q",
    "1",
    "-W",
    "15",
  );
  const asked = await service.next();
  assert.equal(asked.payload, "question");
  await stage.publish(String(asked.properties!["response-topic"]), "answer", "-q", "1");
  const { code, stdout } = await asking;
  assert.deepEqual([code, stdout.trim()], [0, "answer"]);
});
