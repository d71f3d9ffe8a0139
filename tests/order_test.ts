/** The order of messages, on every device and in the timeline. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { DOORS, RawClient, type RawReply } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

interface Heard {
  readonly kind: "reply" | "event";
  readonly seq: number;
  readonly clientMessageId: string;
}

/** The next so many replies to sends and events of messages, in the order in which they came. */
async function hear(client: RawClient, count: number): Promise<Heard[]> {
  const heard: Heard[] = [];
  while (heard.length < count) {
    const { topic, payload } = await client.nextPublish();
    if (topic === "me/reply") {
      const { code, requestId, result } = payload as RawReply;
      assert.equal(code, 0);
      heard.push({ kind: "reply", seq: Number(result.seq), clientMessageId: requestId! });
    } else {
      const { type, seq, message } = payload as {
        type: string;
        seq: string;
        message: { clientMessageId: string };
      };
      if (type !== "message") continue;
      heard.push({ kind: "event", seq: Number(seq), clientMessageId: message.clientMessageId });
    }
  }
  return heard;
}

function sends(client: RawClient, name: string, count: number, target: (i: number) => string): Uint8Array[] {
  return Array.from({ length: count }, (_, i) =>
    client.requestBytes("message.send", {
      requestId: `${name}${i}`,
      clientMessageId: `${name}${i}`,
      conversation: { type: 0, target: target(i), line: 0 },
      content: { type: 1, searchableContent: `text ${i}` },
    }));
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

for (const door of DOORS) {
  Deno.test(`1,000 sends pipelined without waiting keep their order on every device, over ${door} [MQTT-4.6.0-5]`, async () => {
    await using server = await startServer({ RATE_LIMITS: "off" });
    await using alice = await RawClient.login(server, door, "alice");
    await using tablet = await RawClient.login(server, "TCP", "alice", { clientId: "alice-2", qos: 0 });
    await using bob = await RawClient.login(server, "WebSocket", "bob", { qos: 0 });
    await using phone = await RawClient.login(server, "TCP", "bob", { clientId: "bob-2", qos: 1 });
    const names = Array.from({ length: 1_000 }, (_, i) => `m${i}`);
    await alice.send(...sends(alice, "m", 1_000, () => "bob"));
    // All listen at once: who acknowledges nothing is not served any further.
    const devices = await Promise.all([alice, tablet, bob, phone].map((client) => hear(client, 1_000)));
    for (const heard of devices) {
      assert.deepEqual(heard.map(({ clientMessageId }) => clientMessageId), names);
      assert.deepEqual(heard.map(({ seq }) => seq), upTo(1_000));
    }
    const timeline = await phone.pull();
    assert.deepEqual(timeline.map(({ message }) => message.clientMessageId), names);
    assert.deepEqual(timeline.map(({ seq }) => Number(seq)), upTo(1_000));
  });

  Deno.test(`Replies and events reach a socket in seq order while both sides write, over ${door}`, async () => {
    await using server = await startServer({ RATE_LIMITS: "off" });
    await using alice = await RawClient.login(server, door, "alice");
    await using bob = await RawClient.login(server, door, "bob");
    await Promise.all([
      alice.send(...sends(alice, "a", 500, () => "bob")),
      bob.send(...sends(bob, "b", 500, () => "alice")),
    ]);
    const both = await Promise.all([hear(alice, 1_000), hear(bob, 1_000)]);
    for (const [name, heard] of [["a", both[0]], ["b", both[1]]] as const) {
      assert.deepEqual(heard.map(({ seq }) => seq), upTo(1_000));
      const own = heard.filter(({ kind }) => kind === "reply").map(({ clientMessageId }) => clientMessageId);
      assert.deepEqual(own, Array.from({ length: 500 }, (_, i) => `${name}${i}`));
    }
  });
}

Deno.test("Sends to many conversations keep the order of their connection", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await using alice = await RawClient.login(server, "TCP", "alice");
  const friends = ["bob", "carol", "dave"];
  for (const userId of friends) await createLogin(server, userId);
  // Long runs to one person between single ones to others: no lane may overtake another.
  const target = (i: number) => i % 100 < 90 ? "bob" : friends[i % 3]!;
  await alice.send(...sends(alice, "m", 1_000, target));
  const heard = await hear(alice, 1_000);
  assert.deepEqual(
    heard.map(({ clientMessageId }) => clientMessageId),
    Array.from({ length: 1_000 }, (_, i) => `m${i}`),
  );
  assert.deepEqual(heard.map(({ seq }) => seq), upTo(1_000));
});

Deno.test("A request behind sends starts when they are stored, and sees them", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await createLogin(server, "bob");
  await using alice = await RawClient.login(server, "TCP", "alice");
  await alice.send(
    ...sends(alice, "m", 50, () => "bob"),
    alice.requestBytes("sync", {}),
    ...sends(alice, "n", 50, () => "bob"),
  );
  const answers: string[] = [];
  while (answers.length < 101) {
    const { payload } = await alice.nextPublish();
    const { command, requestId, result } = payload as RawReply;
    answers.push(command === "sync" ? `sync ${result.head}` : requestId!);
  }
  assert.equal(answers[50], "sync 50");
  assert.equal(answers[49], "m49");
  assert.equal(answers[51], "n0");
});

Deno.test("Transparent messages keep their place among the stored ones of their connection, on every device", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await using alice = await RawClient.login(server, "TCP", "alice");
  await using tablet = await RawClient.login(server, "TCP", "alice", { clientId: "alice-2" });
  await using bob = await RawClient.login(server, "WebSocket", "bob");
  const names = Array.from({ length: 200 }, (_, i) => `${i % 2 === 0 ? "typing" : "text"} ${i}`);
  await alice.send(...names.map((name, i) =>
    alice.requestBytes("message.send", {
      requestId: name,
      clientMessageId: name,
      conversation: { type: 0, target: "bob", line: 0 },
      content: i % 2 === 0 ? { type: 91, content: "typing" } : { type: 1, searchableContent: "text" },
    })
  ));
  const heardBy = async (client: RawClient) => {
    const heard: string[] = [];
    while (heard.length < names.length) {
      const { payload } = await client.nextPublish();
      const { requestId, message } = payload as { requestId?: string; message?: { clientMessageId: string } };
      const name = requestId ?? message?.clientMessageId;
      if (name !== undefined) heard.push(name);
    }
    return heard;
  };
  for (const heard of await Promise.all([alice, tablet, bob].map(heardBy))) assert.deepEqual(heard, names);
});
