/** The SDK against the real server, over connections that fail. */
import assert from "node:assert/strict";
import { connect, HearthClient, HttpClient, LoginError, RequestError, SocketLink } from "../sdk/mod.ts";
import type { Entry } from "../sdk/mod.ts";
import { createLogin } from "./admin.ts";
import { startServer, type TestServer } from "./server.ts";
import { startProxy } from "./tcp_proxy.ts";

const to = (target: string) => ({ type: 0, target, line: 0 });
const textOf = (entry: Entry) => "message" in entry ? entry.message.content.searchableContent ?? "" : "";

/** A client of a user with a login of its own, not yet open. */
async function clientOf(
  server: TestServer,
  userId: string,
  url = server.wsUrl,
  suffix = "",
): Promise<HearthClient> {
  const clientId = `client-${userId}${suffix}`;
  const token = await createLogin(server, userId, clientId);
  return connect({ url, userId, clientId, token, backOffMs: 10, maxBackOffMs: 100 });
}

/** Collects entries; `until` resolves when so many have come. */
function collect(client: HearthClient): { readonly entries: Entry[]; until(count: number): Promise<void> } {
  const entries: Entry[] = [];
  let wanted = Infinity;
  let reached = Promise.withResolvers<void>();
  client.on("entry", (entry) => {
    entries.push(entry);
    if (entries.length >= wanted) reached.resolve();
  });
  return {
    entries,
    until(count) {
      if (entries.length >= count) return Promise.resolve();
      wanted = count;
      reached = Promise.withResolvers();
      return reached.promise;
    },
  };
}

Deno.test("3,000 sends made at once are more than the server takes at a time, and all arrive once and in order", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  const alice = await clientOf(server, "alice");
  const bob = await clientOf(server, "bob");
  const heard = collect(bob);
  const aliceStates: string[] = [];
  alice.on("state", ({ name }) => aliceStates.push(name));
  try {
    alice.open();
    bob.open();
    await Promise.all([alice.online(), bob.online()]);
    const texts = Array.from({ length: 3000 }, (_, i) => `text ${i}`);
    await Promise.all(texts.map((text) => alice.send(to("bob"), text)));
    await heard.until(texts.length);
    assert.deepEqual(heard.entries.map(textOf), texts);
    assert.deepEqual(aliceStates, ["connecting", "syncing", "online"], "the connection held");
  } finally {
    alice.close();
    bob.close();
  }
});

Deno.test("cutting sender and receiver again and again loses nothing and repeats nothing", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  await using proxy = startProxy(Number(new URL(server.url).port));
  const throughProxy = `ws://127.0.0.1:${proxy.port}/mqtt`;
  const alice = await clientOf(server, "alice", throughProxy);
  const bob = await clientOf(server, "bob", throughProxy);
  const heard = collect(bob);
  const own = collect(alice);
  try {
    alice.open();
    bob.open();
    await Promise.all([alice.online(), bob.online()]);
    const texts = Array.from({ length: 400 }, (_, i) => `text ${i}`);
    const sent = texts.map((text) => alice.send(to("bob"), text));
    // A cut after every 40th acknowledgement lands in the middle of what is on its way.
    for (let i = 40; i < texts.length; i += 40) {
      await sent[i];
      proxy.cut();
    }
    await Promise.all(sent);
    await Promise.all([heard.until(texts.length), own.until(texts.length)]);
    assert.ok(proxy.accepted > 10, `${proxy.accepted} connections: the cuts were felt`);
    for (const { entries } of [heard, own]) {
      assert.deepEqual(entries.map(({ seq }) => Number(seq)), texts.map((_, i) => i + 1));
      assert.deepEqual(entries.map(textOf), texts);
    }
  } finally {
    alice.close();
    bob.close();
  }
});

Deno.test("what is sent while the network is down leaves when it is back", async () => {
  await using server = await startServer();
  await using proxy = startProxy(Number(new URL(server.url).port));
  const alice = await clientOf(server, "alice", `ws://127.0.0.1:${proxy.port}/mqtt`);
  const bob = await clientOf(server, "bob");
  const heard = collect(bob);
  try {
    alice.open();
    bob.open();
    await Promise.all([alice.online(), bob.online()]);
    const waiting = Promise.withResolvers<void>();
    alice.on("state", ({ name }) => name === "waiting" && waiting.resolve());
    proxy.breakDown();
    await waiting.promise;
    const sent = alice.send(to("bob"), "written in the dark");
    proxy.mend();
    await sent;
    await heard.until(1);
    assert.equal(textOf(heard.entries[0]!), "written in the dark");
  } finally {
    alice.close();
    bob.close();
  }
});

Deno.test("a request larger than the server takes is refused and the connection stays", async () => {
  await using server = await startServer();
  const alice = await clientOf(server, "alice");
  const states: string[] = [];
  alice.on("state", ({ name }) => states.push(name));
  try {
    alice.open();
    await alice.online();
    await assert.rejects(
      alice.send(to("alice"), "x".repeat(4 << 20)),
      (error) => error instanceof RequestError && error.error === "message/too-large",
    );
    await alice.send(to("alice"), "short");
    assert.deepEqual(states, ["connecting", "syncing", "online"]);
  } finally {
    alice.close();
  }
});

Deno.test("a run that kept its position goes on from there; without one it lists its conversations", async () => {
  await using server = await startServer();
  const alice = await clientOf(server, "alice");
  const token = await createLogin(server, "bob", "bob-phone");
  const options = { url: server.wsUrl, userId: "bob", clientId: "bob-phone", token };
  const first = connect(options);
  try {
    alice.open();
    first.open();
    await Promise.all([alice.online(), first.online()]);
    const heard = collect(first);
    await alice.send(to("bob"), "one");
    await heard.until(1);
    const position = first.position!;
    first.close();
    await alice.send(to("bob"), "two");
    await alice.send(to("bob"), "three");

    const second = connect({ ...options, position });
    const missed = collect(second);
    second.on("conversations", () => assert.fail("it is no new device"));
    second.open();
    await second.online();
    second.close();
    assert.deepEqual(missed.entries.map(textOf), ["two", "three"]);

    const third = connect(options);
    const listed: string[] = [];
    third.on("conversations", ({ conversations }) => {
      for (const { conversation, unread } of conversations) {
        listed.push(`${conversation.target} ${unread.count}`);
      }
    });
    third.open();
    await third.online();
    third.close();
    assert.deepEqual(listed, ["alice 3"]);
  } finally {
    alice.close();
    first.close();
  }
});

Deno.test("a login that another device ends comes back no more", async () => {
  await using server = await startServer();
  const laptop = await clientOf(server, "alice", server.wsUrl, "-laptop");
  const phone = await clientOf(server, "alice", server.wsUrl, "-phone");
  const ended = Promise.withResolvers<string>();
  phone.on("state", (state) => state.name === "ended" && ended.resolve(state.reason));
  try {
    laptop.open();
    phone.open();
    await Promise.all([laptop.online(), phone.online()]);
    await laptop.request("session.kick", { clientId: "client-alice-phone" });
    assert.equal(await ended.promise, "kicked");
    await assert.rejects(phone.send(to("alice"), "too late"), RequestError);
  } finally {
    laptop.close();
    phone.close();
  }
});

Deno.test("logging out ends the login on the server", async () => {
  await using server = await startServer();
  const token = await createLogin(server, "alice", "a1");
  const options = { url: server.wsUrl, userId: "alice", clientId: "a1", token };
  const client = connect(options);
  client.open();
  await client.online();
  await client.logout();
  assert.equal(client.state.name, "ended");
  const again = connect(options);
  again.open();
  await assert.rejects(again.online(), /ended: token/);
});

Deno.test("HttpClient logs in by code, asks who it is, sends, and logs out", async () => {
  await using server = await startServer();
  await createLogin(server, "bob");
  const http = new HttpClient({ origin: server.url });
  assert.equal(await http.me(), null);
  const mobile = "13800000001";
  const { devCode = "" } = await http.sendCode(mobile);
  const wrong = devCode === "000000" ? "111111" : "000000";
  await assert.rejects(
    http.loginByCode({ mobile, code: wrong, clientId: "c", platform: 7 }),
    (error) => error instanceof LoginError && error.code === 6,
  );
  const login = await http.loginByCode({ mobile, code: devCode, clientId: "c", platform: 7 });
  assert.equal(login.register, true);
  assert.equal((await http.me())?.userId, login.userId);
  const { seq } = await http.request("message.send", {
    clientMessageId: "once",
    conversation: to("bob"),
    content: { type: 1, searchableContent: "over HTTP", persistFlag: 3 },
  });
  assert.equal(seq, "1");
  const route = await http.route();
  assert.equal(route.wsUrl, server.wsUrl);
  await http.logout();
  const gone = new HttpClient({ origin: server.url, authToken: login.authToken! });
  assert.equal(await gone.me(), null);
});

Deno.test("a link that cannot connect backs off, and ends when the login is over", async () => {
  const port = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `ws://127.0.0.1:${port.addr.port}/mqtt`;
  port.close();
  let asked = 0;
  const link = new SocketLink({
    url,
    userId: "alice",
    clientId: "c",
    token: null,
    backOffMs: 1,
    maxBackOffMs: 1,
    stillLoggedIn: () => Promise.resolve(++asked < 3),
  });
  const client = new HearthClient(link, { userId: "alice" });
  const waits: number[] = [];
  client.on("state", (state) => state.name === "waiting" && waits.push(state.retryAtMs ?? 0));
  client.open();
  await assert.rejects(client.online(), /ended: token/);
  assert.equal(waits.length, 3);
  client.close();
});
