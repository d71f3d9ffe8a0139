/** How many conversations a sender may open with people who do not know him. */
import assert from "node:assert/strict";
import { type Caller, createIm, execute, type Im, ImError } from "../im/mod.ts";
import { NewConversations } from "../im/new_conversations.ts";
import { RecentSet } from "../im/recent_set.ts";
import { adminRequest, createLogin } from "./admin.ts";
import { send } from "./http.ts";
import { callerOf, createUsers, openIm, request, sendText } from "./im.ts";
import { RawClient, type RawReply } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const LIMIT = 20;
const MINUTE_MS = 60_000;

const names = (count: number, name = "s") => Array.from({ length: count }, (_, i) => `${name}${i + 1}`);

/** Refused for now, with a time to come again. */
async function refusedForNow(sending: Promise<unknown>): Promise<void> {
  await assert.rejects(sending, (thrown) => {
    assert.ok(thrown instanceof ImError, `${thrown}`);
    assert.equal(thrown.error, "request/too-often");
    assert.ok(thrown.retryAfterMs! > 0 && thrown.retryAfterMs! <= MINUTE_MS);
    return true;
  });
}

async function headOf(im: Im, userId: string): Promise<string> {
  return (await request(im, callerOf(userId), "sync", {})).head;
}

function sendTyping(im: Im, from: string, to: string) {
  return request(im, callerOf(from), "message.send", {
    conversation: { type: 0, target: to },
    content: { type: 91, content: "typing" },
  });
}

/** Whoever sells something has written to as many people as may be. */
async function openWithFullSeller() {
  const opened = await openIm();
  await createUsers(opened.im, "seller", "ann", ...names(LIMIT + 1));
  for (const stranger of names(LIMIT)) await sendText(opened.im, "seller", stranger, "hello");
  return opened;
}

Deno.test("Twenty conversations are opened in a minute; the next one is refused and stored nowhere, and opened a minute later", async () => {
  await using opened = await openWithFullSeller();
  const { im, clock } = opened;
  await refusedForNow(sendText(im, "seller", "s21", "hello"));
  await refusedForNow(sendText(im, "seller", "s21", "hello", { persistFlag: 0 }));
  assert.equal(await headOf(im, "s21"), "0");
  assert.equal(await headOf(im, "seller"), "20");
  clock.aheadMs = MINUTE_MS + 1;
  await sendText(im, "seller", "s21", "hello");
  assert.equal(await headOf(im, "s21"), "1");
});

Deno.test("Conversations are counted, not messages", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "seller", ...names(LIMIT + 1));
  for (let round = 0; round < 3; round++) {
    for (const stranger of names(LIMIT)) await sendText(im, "seller", stranger, `round ${round}`);
  }
  await refusedForNow(sendText(im, "seller", "s21", "hello"));
  await request(im, callerOf("seller"), "message.send", {
    clientMessageId: "line 1",
    conversation: { type: 0, target: "s20", line: 1 },
    content: { type: 1, searchableContent: "on another line" },
  });
  assert.equal(await headOf(im, "seller"), String(3 * LIMIT + 1));
});

Deno.test("First messages to one person that are sent at once count once", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "seller", ...names(LIMIT + 1));
  await Promise.all(Array.from({ length: 30 }, (_, i) => sendText(im, "seller", "s1", `hello ${i}`)));
  for (const stranger of names(LIMIT)) await sendText(im, "seller", stranger, "hello");
  await refusedForNow(sendText(im, "seller", "s21", "hello"));
});

Deno.test("Of a hundred people written to at once, twenty are reached", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const strangers = names(100);
  await createUsers(im, "seller", ...strangers);
  const sent = await Promise.allSettled(strangers.map((one) => sendText(im, "seller", one, "hello")));
  assert.equal(sent.filter(({ status }) => status === "fulfilled").length, LIMIT);
  assert.equal(await headOf(im, "seller"), String(LIMIT));
});

Deno.test("Answering somebody, writing to oneself and to nobody count as nothing", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const customers = names(LIMIT + 5, "c");
  await createUsers(im, "seller", ...names(LIMIT + 1), ...customers);
  for (const customer of customers) await sendText(im, customer, "seller", "how much is it?");
  for (const customer of customers) await sendText(im, "seller", customer, "nothing");
  await sendText(im, "seller", "seller", "a note");
  for (const nobody of names(LIMIT, "nobody")) {
    await assert.rejects(sendText(im, "seller", nobody, "hello"), { error: "user/not-found" });
  }
  for (const stranger of names(LIMIT)) await sendText(im, "seller", stranger, "hello");
  await refusedForNow(sendText(im, "seller", "s21", "hello"));
  await sendText(im, "seller", "seller", "a note");
  await sendText(im, "s21", "seller", "hello");
  await sendText(im, "seller", "s21", "hello");
});

Deno.test("Each sender has a count of his own, and what is refused to one is open to the other", async () => {
  await using opened = await openWithFullSeller();
  const { im } = opened;
  const [refused, sent] = await Promise.allSettled([
    sendText(im, "seller", "ann", "hello"),
    sendText(im, "ann", "seller", "hello"),
  ]);
  assert.deepEqual([refused.status, sent.status], ["rejected", "fulfilled"]);
  await sendText(im, "ann", "s21", "hello");
});

Deno.test("After a restart it is still known who wrote to whom, and the count goes on", async () => {
  await using opened = await openWithFullSeller();
  const { im } = opened;
  const customers = names(LIMIT + 5, "c");
  await createUsers(im, ...customers);
  for (const customer of customers) await sendText(im, customer, "seller", "how much is it?");
  const restarted = createIm(im.options);
  for (const stranger of names(LIMIT)) await sendText(restarted, "seller", stranger, "hello again");
  for (const customer of customers) await sendText(restarted, "seller", customer, "nothing");
  await refusedForNow(sendText(restarted, "seller", "s21", "hello"));
});

Deno.test("A transparent message keeps to the same rule, and opens its conversation once", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "seller", ...names(LIMIT + 1));
  for (const stranger of names(LIMIT)) await sendTyping(im, "seller", stranger);
  await refusedForNow(sendTyping(im, "seller", "s21"));
  for (const stranger of names(LIMIT)) await sendText(im, "seller", stranger, "hello");
  await sendTyping(im, "seller", "seller");
});

Deno.test("Without rate limits everybody may be written to", async () => {
  await using opened = await openIm({ rateLimits: "off" });
  const { im } = opened;
  await createUsers(im, "seller", ...names(LIMIT + 10));
  await Promise.all(names(LIMIT + 5).map((stranger) => sendText(im, "seller", stranger, "hello")));
  for (const stranger of names(LIMIT + 10)) await sendTyping(im, "seller", stranger);
  await assert.rejects(sendTyping(im, "seller", "nobody"), { error: "user/not-found" });
});

Deno.test("A first message has its place among those that one transaction stores, and is told in it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo", "dave", "eve");
  await sendText(im, "ben", "cleo", "we know each other");
  const told: string[] = [];
  const start = async (from: string, to: string, text: string) => {
    const { entered, outcome } = execute(im, callerOf(from), "message.send", {
      clientMessageId: text,
      conversation: { type: 0, target: to },
      content: { type: 1, searchableContent: text },
    });
    const telling = outcome.then(() => told.push(text));
    await entered;
    return { telling };
  };
  const sends: { telling: Promise<unknown> }[] = [];
  await im.store.sql.begin(async (hold) => {
    await hold`SELECT 1 FROM t_user_timeline WHERE uid = 'eve' FOR UPDATE`;
    // It holds the queue up, so that all the others are stored together.
    sends.push(await start("dave", "eve", "held"));
    for (const [i, from] of ["ben", "ann", "ben", "dave", "ben"].entries()) {
      sends.push(await start(from, "cleo", `${i}`));
    }
    assert.deepEqual(told, []);
  });
  await Promise.all(sends.map(({ telling }) => telling));
  assert.deepEqual(told, ["held", "0", "1", "2", "3", "4"]);
});

Deno.test("A send that waits for a look-up fails when an earlier one of its connection has failed meanwhile", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const caller: Caller = callerOf("ann", { door: "mqtt" });
  const { entered, outcome } = execute(im, caller, "message.send", {
    clientMessageId: "m1",
    conversation: { type: 0, target: "ben" },
    content: { type: 1, searchableContent: "hello" },
  });
  caller.order.generation++;
  await assert.rejects(outcome, { error: "server/earlier-failed" });
  await entered;
  assert.equal(await headOf(im, "ben"), "0");
});

Deno.test("When the database stands still, a first message is answered in time, and the next ones go on afterwards", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo");
  const conversations = new NewConversations(im.store, { isLimited: true, patienceMs: 100 });
  await im.store.sql.begin(async (hold) => {
    await hold`LOCK TABLE t_messages IN ACCESS EXCLUSIVE MODE`;
    await assert.rejects(conversations.admit("ann", "ben", "ann|ben")!, { error: "server/timeout" });
    await assert.rejects(conversations.admit("ann", "cleo", "ann|cleo")!, { error: "server/timeout" });
  });
  assert.equal(
    await new NewConversations(im.store, { isLimited: true }).admit("ann", "ben", "ann|ben"),
    true,
  );
  assert.equal(await conversations.admit("ann", "nobody", "ann|nobody"), false);
});

Deno.test("A recent set keeps what was used lately, and never more than it may", () => {
  const set = new RecentSet(10);
  for (let i = 0; i < 1_000; i++) {
    set.add(`${i}`);
    assert.ok(set.has("0"), "what is used is kept");
    assert.ok(set.has(`${Math.max(0, i - 1)}`), "and what is new");
  }
  const full = new RecentSet(10);
  for (let i = 0; i < 1_000; i++) full.add(`${i}`);
  // The newest first, since looking counts as using.
  const kept = Array.from({ length: 1_000 }, (_, i) => full.has(`${999 - i}`)).filter((found) => found);
  assert.ok(kept.length >= 5 && kept.length <= 10, `${kept.length} are kept`);
});

/** Makes users who never log in. */
async function createStrangers(server: TestServer, strangers: readonly string[]): Promise<void> {
  for (const userId of strangers) {
    await adminRequest(server, "/admin/user/create", { userId, name: userId, displayName: userId });
  }
}

const hello = (name: string, target: string) => ({
  requestId: name,
  clientMessageId: name,
  conversation: { type: 0, target, line: 0 },
  content: { type: 1, searchableContent: "hello" },
});

/** The next so many replies, in their order. */
async function replies(client: RawClient, count: number): Promise<(RawReply & { retryAfterMs?: number })[]> {
  const heard: RawReply[] = [];
  while (heard.length < count) {
    const { topic, payload } = await client.nextPublish();
    if (topic === "me/reply") heard.push(payload as RawReply);
  }
  return heard;
}

Deno.test("Both doors and all connections share a sender's count; over MQTT the sends behind the refused one fail too, and nothing is closed", async () => {
  await using server = await startServer();
  await createStrangers(server, names(LIMIT + 2));
  const token = await createLogin(server, "seller", "client-http");
  const post = (name: string, target: string) =>
    send(`${server.url}/im/message.send`, "POST", hello(name, target), { authorization: `Bearer ${token}` });
  await using seller = await RawClient.login(server, "TCP", "seller");
  for (let i = 1; i <= 10; i++) assert.equal((await post(`h${i}`, `s${i}`)).status, 200);
  const bytes = (name: string, target: string) => seller.requestBytes("message.send", hello(name, target));
  await seller.send(...names(20).slice(10).map((to) => bytes(to, to)));
  assert.deepEqual((await replies(seller, 10)).map(({ code }) => code), Array(10).fill(0));
  await seller.send(bytes("s21", "s21"), bytes("behind", "s1"));
  const [refused, behind] = await replies(seller, 2);
  assert.deepEqual([refused!.requestId, refused!.code, refused!.error], ["s21", 250, "request/too-often"]);
  assert.ok(refused!.retryAfterMs! > 0 && refused!.retryAfterMs! <= MINUTE_MS);
  assert.deepEqual([behind!.requestId, behind!.code, behind!.error], ["behind", 4, "server/earlier-failed"]);
  assert.equal((await seller.request("message.send", hello("again", "s1"))).code, 0);

  const overHttp = await post("h21", "s21");
  assert.equal(overHttp.status, 429);
  const { code, error, retryAfterMs } = overHttp.json();
  assert.deepEqual([code, error], [250, "request/too-often"]);
  assert.ok(retryAfterMs > 0 && retryAfterMs <= MINUTE_MS);
  assert.equal((await post("h22", "s2")).status, 200);
  const { result } = await seller.request("sync", {});
  assert.equal(result.head, "22", "20 first messages, and two in conversations that were open");
  assert.equal(seller.isClosed, false);
});

Deno.test("RATE_LIMITS=off leaves new conversations alone", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await createStrangers(server, names(LIMIT + 5));
  await using seller = await RawClient.login(server, "WebSocket", "seller");
  await seller.send(
    ...names(LIMIT + 5).map((stranger) => seller.requestBytes("message.send", hello(stranger, stranger))),
  );
  assert.deepEqual((await replies(seller, LIMIT + 5)).map(({ code }) => code), Array(LIMIT + 5).fill(0));
});
