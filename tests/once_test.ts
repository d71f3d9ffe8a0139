/** One message, however often and by whichever door it is sent. */
import assert from "node:assert/strict";
import { boot } from "../main.ts";
import { createLogin } from "./admin.ts";
import { quietLog } from "./database.ts";
import { DOORS, RawClient, type RawReply } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const message = {
  clientMessageId: "once",
  conversation: { type: 0, target: "bob", line: 0 },
  content: { type: 1, searchableContent: "hello" },
};

/** Sends over HTTP. */
async function post(server: Pick<TestServer, "url">, token: string, body: unknown): Promise<RawReply> {
  const response = await fetch(`${server.url}/im/message.send`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200);
  return await response.json();
}

/** The answers of so many sends of the same message, all in one write. */
async function sendMany(client: RawClient, count: number): Promise<RawReply[]> {
  await client.send(...Array.from({ length: count }, () => client.requestBytes("message.send", message)));
  const replies: RawReply[] = [];
  while (replies.length < count) {
    const { topic, payload } = await client.nextPublish();
    if (topic === "me/reply") replies.push(payload as RawReply);
  }
  return replies;
}

Deno.test("One clientMessageId fifty times in parallel over MQTT and HTTP is one message and fifty equal answers", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await using bob = await RawClient.login(server, "TCP", "bob");
  await using stack = new AsyncDisposableStack();
  const token = await createLogin(server, "alice", "client-http");
  const work: Promise<RawReply[]>[] = [];
  for (const [i, door] of [...DOORS, ...DOORS].entries()) {
    const client = stack.use(await RawClient.login(server, door, "alice", { clientId: `client-${i}` }));
    work.push(sendMany(client, 6));
  }
  for (let i = 0; i < 26; i++) work.push(post(server, token, message).then((reply) => [reply]));
  const replies = (await Promise.all(work)).flat();
  assert.equal(replies.length, 50);
  const [first] = replies;
  for (const { code, result } of replies) {
    assert.equal(code, 0);
    const { repeated: _, ...rest } = result;
    assert.deepEqual(rest, {
      messageId: first!.result.messageId,
      timestamp: first!.result.timestamp,
      timeline: "me",
      seq: "1",
    });
  }
  assert.equal(replies.filter(({ result }) => result.repeated === undefined).length, 1);
  // Bob hears of it once: what he hears next is the answer to his own request.
  const { topic, payload } = await bob.nextPublish();
  assert.equal(topic, "me/inbox");
  assert.equal((payload as { message: { messageId: string } }).message.messageId, first!.result.messageId);
  await bob.send(bob.requestBytes("message.pull", { cursor: "0" }));
  const reply = await bob.nextPublish();
  assert.equal(reply.topic, "me/reply");
  assert.equal((reply.payload as RawReply).result.entries.length, 1);
});

Deno.test("A message sent again with another body stays the first, also after a restart", async () => {
  await using server = await startServer();
  const token = await createLogin(server, "alice");
  await createLogin(server, "bob");
  const login = { userId: "alice", clientId: "client-alice", token };
  let first: RawReply["result"];
  {
    await using alice = await RawClient.resume(server, "TCP", login);
    first = (await alice.request("message.send", message)).result;
  }
  await server.hearth.drain("restart");
  const again = await boot(server.config, { log: quietLog() });
  try {
    const { url } = again;
    const target = { url, wsUrl: `${url.replace(/^http/, "ws")}/mqtt`, tcpPort: again.mqttTcpPort! };
    const other = { ...message, content: { type: 1, searchableContent: "something else" } };
    for (const door of DOORS) {
      await using alice = await RawClient.resume(target, door, login);
      assert.deepEqual((await alice.request("message.send", other)).result, { ...first, repeated: true });
      const entries = await alice.pull();
      assert.equal(entries.length, 1);
      assert.equal(entries[0].message.content.searchableContent, "hello");
    }
    assert.deepEqual((await post(target, token, other)).result, { ...first, repeated: true });
  } finally {
    await again.drain("the test is over");
  }
});
