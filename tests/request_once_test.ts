/** Commands that create or notify: one change and one notice, however often and by whichever door they are asked. */
import assert from "node:assert/strict";
import { authenticateToken, COMMANDS, type Im, issueToken, type Notice } from "../im/mod.ts";
import { boot } from "../main.ts";
import { type ClientRequest, once, RequestIdTakenError } from "../store/client_requests.ts";
import type { CommandName } from "../wire.ts";
import { createLogin } from "./admin.ts";
import { quietLog } from "./database.ts";
import { callerOf, createUsers, openIm, request, sendText } from "./im.ts";
import { RawClient, type RawReply } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const HERE = { address: "127.0.0.1", userAgent: "" };

/** What may be repeated without being remembered, and why. Every other command happens once per `requestId`. */
const NEEDS_NO_MEMORY: Partial<Record<CommandName, string>> = {
  "sync": "reads",
  "message.send": "once by its clientMessageId",
  "message.pull": "reads",
  "message.history": "reads",
  "conversation.list": "reads",
  "conversation.read": "a mark that does not move tells nobody",
  "conversation.receipts": "reads",
  "user.get": "reads",
  "user.search": "reads",
  "session.devices": "reads",
  "session.logout": "whoever repeats it is logged out",
};

function rename(im: Im, requestId: string, displayName: string, caller = callerOf("ann")) {
  return request(im, caller, "user.update_me", { requestId, entries: [{ type: 0, value: displayName }] });
}

async function nameOf(im: Im, userId: string): Promise<string> {
  const { users } = await request(im, callerOf(userId), "user.get", { users: [{ userId }] });
  return users[0]!.user!.displayName;
}

function logIn(im: Im, clientId: string) {
  return issueToken(im, { userId: "ann", clientId, platform: 0 }, HERE);
}

function kick(im: Im, requestId: string, clientId: string) {
  return request(im, callerOf("ann"), "session.kick", { requestId, clientId });
}

/** What all of these answered, which must be the same; and everything they caused. */
function sameAnswer(answers: readonly { readonly notices: readonly Notice[] }[]) {
  const results = answers.map(({ notices: _, ...result }) => result);
  for (const result of results) assert.deepEqual(result, results[0]);
  return { result: results[0], notices: answers.flatMap(({ notices }) => notices) };
}

function requestOf(requestId: string, command = "test"): ClientRequest {
  return { userId: "ann", clientId: "phone", requestId, command };
}

async function countRequests(im: Im): Promise<number> {
  const [row] = await im.store.sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM t_client_requests`;
  return row!.count;
}

/** Asks again until it holds; the deadline only bounds a failure. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("It did not come true within 10 s");
}

/** Waits until a statement waits for another transaction. */
function oneWaits(im: Im): Promise<void> {
  return eventually(async () => {
    const rows = await im.store.sql`
      SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'`;
    return rows.length > 0;
  });
}

Deno.test("Every command happens once per requestId, or it is said why it need not", () => {
  for (const [name, command] of Object.entries(COMMANDS)) {
    const reason = NEEDS_NO_MEMORY[name as CommandName];
    assert.equal(command.once, reason === undefined, `${name}: ${reason ?? "creates or notifies"}`);
  }
});

Deno.test("A repeated change of a profile does not overwrite a newer one, and nobody hears of it again", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  await createUsers(im, "ann");
  const first = await rename(im, "r1", "Anna");
  assert.equal(first.notices.length, 1);
  clock.aheadMs = 1_000;
  await rename(im, "r2", "Annabel");
  clock.aheadMs = DAY_MS - 1_000;
  for (const value of ["Anna", "another body"]) {
    assert.deepEqual(await rename(im, "r1", value), { updatedAt: first.updatedAt, notices: [] });
  }
  assert.equal(await nameOf(im, "ann"), "Annabel");
});

Deno.test("A repeated kick answers the first result and leaves a newer login of that installation alone", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  const former = await logIn(im, "tablet");
  const first = await kick(im, "r1", "tablet");
  assert.deepEqual(first.notices.map((notice) => notice.kind), ["close", "event"]);
  await assert.rejects(authenticateToken(im, former.imToken, "im"), { error: "token/revoked" });
  assert.deepEqual(await kick(im, "r1", "tablet"), { notices: [] });
  const newer = await logIn(im, "tablet");
  assert.deepEqual(await kick(im, "r1", "tablet"), { notices: [] });
  assert.equal((await authenticateToken(im, newer.imToken, "im")).userId, "ann");
  // Another request is another kick.
  assert.equal((await kick(im, "r2", "tablet")).notices.length, 2);
  await assert.rejects(authenticateToken(im, newer.imToken, "im"), { error: "token/revoked" });
});

Deno.test("Twenty repeats in parallel are one change, one notice and twenty equal answers", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  await logIn(im, "tablet");
  const twenty = Array.from({ length: 20 }, (_, i) => i);
  const renamed = sameAnswer(await Promise.all(twenty.map((i) => rename(im, "r1", `Ann ${i}`))));
  assert.equal(renamed.notices.length, 1);
  const [row] = await im.store.sql<{ updated_at_ms: bigint }[]>`
    SELECT updated_at_ms FROM t_user WHERE uid = 'ann'`;
  assert.deepEqual(renamed.result, { updatedAt: Number(row!.updated_at_ms) });
  const kicked = sameAnswer(await Promise.all(twenty.map(() => kick(im, "r2", "tablet"))));
  assert.deepEqual(kicked.notices.map((notice) => notice.kind), ["close", "event"]);
});

Deno.test("Without a requestId every request is one of its own, and nothing is remembered", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  const change = () =>
    request(im, callerOf("ann"), "user.update_me", { entries: [{ type: 0, value: "Anna" }] });
  const first = await change();
  const second = await change();
  assert.ok(second.updatedAt > first.updatedAt);
  assert.equal(second.notices.length, 1);
  assert.equal(await countRequests(im), 0);
});

Deno.test("A refused request leaves nothing behind and may be allowed when it is repeated", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  await assert.rejects(kick(im, "r1", "tablet"), { error: "session/not-found", field: "clientId" });
  assert.equal(await countRequests(im), 0);
  await logIn(im, "tablet");
  assert.equal((await kick(im, "r1", "tablet")).notices.length, 2);
  await assert.rejects(rename(im, "r3", "Nobody", callerOf("nobody")), { error: "user/not-found" });
  assert.equal(await countRequests(im), 1);
});

Deno.test("A repeat waits for the first; when that is refused or fails, it does the work itself", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const endings = {
    refused: () => ({ refused: "no" }),
    failed: () => {
      throw new Error("it broke");
    },
    done: () => ({ done: "first" }),
  };
  for (const [ending, end] of Object.entries(endings)) {
    const begun = Promise.withResolvers<void>(), ended = Promise.withResolvers<void>();
    const first = once(im.store, requestOf(ending), 1, async (sql) => {
      await sql`INSERT INTO t_pruning VALUES (${ending}, 1)`;
      begun.resolve();
      await ended.promise;
      return end() as { done: string } | { refused: string };
    });
    const failure = ending === "failed" ? assert.rejects(first, /it broke/) : null;
    await begun.promise;
    const second = once(im.store, requestOf(ending), 1, () => Promise.resolve({ done: "second" }));
    await oneWaits(im);
    ended.resolve();
    await failure;
    if (ending === "refused") assert.deepEqual(await first, { refused: "no" });
    const expected = ending === "done"
      ? { done: "first", repeated: true }
      : { done: "second", repeated: false };
    assert.deepEqual(await second, expected);
    // What the first one changed went with it.
    const rows = await im.store.sql`SELECT 1 FROM t_pruning WHERE name = ${ending}`;
    assert.equal(rows.length, ending === "done" ? 1 : 0);
  }
});

Deno.test("A requestId that was used for another command is refused by name", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  await logIn(im, "tablet");
  await rename(im, "r1", "Anna");
  await assert.rejects(kick(im, "r1", "tablet"), {
    error: "request/invalid",
    field: "requestId",
    message: "requestId: it was used for user.update_me; take a new one",
  });
  assert.equal((await kick(im, "r2", "tablet")).notices.length, 2, "it was not kicked before");
  await assert.rejects(
    once(im.store, requestOf("r1", "a"), 1, () => Promise.resolve({ done: 1 })).then(() =>
      once(im.store, requestOf("r1", "b"), 1, () => Promise.resolve({ done: 2 }))
    ),
    RequestIdTakenError,
  );
  await assert.rejects(rename(im, "\u0007", "Anna"), { error: "request/invalid", field: "requestId" });
});

Deno.test("The same requestId from another client, or of another user, is another request", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const callers = [
    callerOf("ann"),
    callerOf("ann", { clientId: "tablet" }),
    callerOf("ben", { clientId: "tablet" }),
  ];
  for (const [i, caller] of callers.entries()) {
    assert.equal((await rename(im, "r1", `Name ${i}`, caller)).notices.length, 1);
  }
  assert.deepEqual([await nameOf(im, "ann"), await nameOf(im, "ben")], ["Name 1", "Name 2"]);
});

Deno.test("A read mark that is set again tells nobody", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const { messageId } = await sendText(im, "ben", "ann", "hello");
  const read = () =>
    request(im, callerOf("ann"), "conversation.read", {
      requestId: "r1",
      conversation: { type: 0, target: "ben" },
      messageId,
    });
  const first = await read();
  assert.equal(first.notices.length, 2);
  assert.deepEqual(await read(), { ...first, notices: [] });
});

Deno.test("Requests are answered over MQTT and HTTP alike, also after a restart, and cause one notice", async () => {
  await using server = await startServer({ RATE_LIMITS: "off" });
  const login = { userId: "alice", clientId: "phone", token: await createLogin(server, "alice", "phone") };
  const tablet = await RawClient.login(server, "TCP", "alice", { clientId: "tablet" });
  const watch = { userId: "alice", clientId: "watch", token: await createLogin(server, "alice", "watch") };
  const kicking = ["session.kick", { requestId: "k1", clientId: "tablet" }] as const;
  const renaming = ["user.update_me", { requestId: "u1", entries: [{ type: 0, value: "Alice" }] }] as const;

  const post = async (url: string, command: string, body: unknown) => {
    const response = await fetch(`${url}/im/${command}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${login.token}` },
      body: JSON.stringify(body),
    });
    const reply: RawReply = await response.json();
    return { ...reply, status: response.status };
  };
  let renamed: RawReply["result"];
  {
    await using watching = await RawClient.resume(server, "WebSocket", watch);
    await using phone = await RawClient.resume(server, "TCP", login);
    /** Twenty at once, half of them by each door; their answers. */
    const askTwenty = async (command: string, body: unknown): Promise<RawReply[]> => {
      const posted = Array.from({ length: 10 }, () => post(server.url, command, body));
      await phone.send(...Array.from({ length: 10 }, () => phone.requestBytes(command, body)));
      const replies: RawReply[] = [];
      while (replies.length < 10) {
        const { topic, payload } = await phone.nextPublish();
        if (topic === "me/reply") replies.push(payload as RawReply);
      }
      return [...replies, ...await Promise.all(posted)];
    };
    for (const { code, requestId, result } of await askTwenty(...kicking)) {
      assert.deepEqual([code, requestId, result], [0, "k1", {}]);
    }
    await tablet.closed;
    const replies = await askTwenty(...renaming);
    renamed = replies[0]!.result;
    for (const { code, requestId, result } of replies) {
      assert.deepEqual([code, requestId, result], [0, "u1", renamed]);
    }
    // What the other device hears next is one event for each, and then the answer to its own request.
    const heard: unknown[] = [];
    await watching.send(watching.requestBytes("user.get", { users: [{ userId: "alice" }] }));
    for (;;) {
      const { topic, payload } = await watching.nextPublish();
      if (topic === "me/reply") break;
      heard.push(payload);
    }
    assert.deepEqual(heard, [
      { type: "devices" },
      { type: "user", userId: "alice", version: String(renamed.updatedAt) },
    ]);
    const taken = await post(server.url, "user.update_me", { ...renaming[1], requestId: "k1" });
    assert.deepEqual([taken.status, taken.code, taken.error], [400, 251, "request/invalid"]);
  }

  await server.hearth.store.sql`
    INSERT INTO t_client_requests VALUES ('alice', 'phone', 'old', 'test', '1', 0)`;
  await server.hearth.drain("restart");
  const again = await boot(server.config, { log: quietLog() });
  try {
    const { url } = again;
    const target = { url, wsUrl: `${url.replace(/^http/, "ws")}/mqtt`, tcpPort: again.mqttTcpPort! };
    await createLogin({ url, adminSecret: again.adminSecret }, "alice", "tablet");
    await using watching = await RawClient.resume(target, "TCP", watch);
    await using phone = await RawClient.resume(target, "WebSocket", login);
    for (const [[command, body], result] of [[kicking, {}], [renaming, renamed]] as const) {
      const overMqtt = await phone.request(command, body);
      assert.deepEqual([overMqtt.code, overMqtt.result], [0, result]);
      const overHttp = await post(url, command, body);
      assert.deepEqual([overHttp.status, overHttp.code, overHttp.result], [200, 0, result]);
    }
    // The new login of the tablet stands, and the watch has heard nothing.
    await watching.send(watching.requestBytes("session.devices", {}));
    const { topic, payload } = await watching.nextPublish();
    assert.equal(topic, "me/reply");
    const devices = (payload as RawReply).result.devices as { clientId: string }[];
    assert.deepEqual(devices.map(({ clientId }) => clientId).sort(), ["phone", "tablet", "watch"]);
    // A server prunes as soon as it runs.
    await eventually(async () => {
      const rows = await again.store.sql`SELECT 1 FROM t_client_requests WHERE request_id = 'old'`;
      return rows.length === 0;
    });
  } finally {
    await again.drain("the test is over");
    await tablet[Symbol.asyncDispose]();
  }
});
