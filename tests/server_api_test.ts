import assert from "node:assert/strict";
import { signedHeaders } from "./admin.ts";
import { type Answer, type Json, send } from "./http.ts";
import { startServer, type TestServer } from "./server.ts";

const MINUTE_MS = 60_000;

async function call(
  server: TestServer,
  path: string,
  body: unknown,
  headers = signedHeaders(server.adminSecret),
): Promise<Json> {
  const answer = await send(`${server.url}${path}`, "POST", body, headers);
  assertForm(answer);
  return answer.json();
}

/** HTTP 200 and a length: SDKs look at nothing else, and some read no chunked bodies. */
function assertForm(answer: Answer): void {
  assert.equal(answer.status, 200);
  assert.equal(Number(answer.headers.get("content-length")), new TextEncoder().encode(answer.text).length);
  const { code, msg } = answer.json();
  assert.deepEqual([typeof code, typeof msg], ["number", "string"]);
}

Deno.test("A back end makes a user and logs him in", async () => {
  await using server = await startServer();
  const made = await call(server, "/admin/user/create", {
    userId: "alice",
    name: "alice",
    displayName: "Alice",
  });
  assert.deepEqual(made, { code: 0, msg: "success", result: { userId: "alice", name: "alice" } });
  const { result } = await call(server, "/admin/user/get_token", {
    userId: "alice",
    clientId: "c1",
    platform: 5,
  });
  assert.equal(result.userId, "alice");
  const me = await send(`${server.url}/me`, "GET", undefined, { authorization: `Bearer ${result.token}` });
  assert.deepEqual(me.json(), { userId: "alice", clientId: "c1", platform: 5, name: "Alice", portrait: "" });

  await call(server, "/admin/user/create", { userId: "alice", name: "alice", displayName: "Alice B." });
  const again = await send(`${server.url}/me`, "GET", undefined, { authorization: `Bearer ${result.token}` });
  assert.equal(again.json().name, "Alice B.");
});

Deno.test("A request of the server API is refused by its code, always with HTTP 200", async (t) => {
  await using server = await startServer();
  await call(server, "/admin/user/create", { userId: "alice", name: "alice", mobile: "13800000000" });
  const cases: readonly (readonly [string, string, unknown, number])[] = [
    ["a user without a name", "/admin/user/create", { userId: "bob" }, 251],
    ["an id with a space", "/admin/user/create", { userId: "b b", name: "bob" }, 251],
    ["a gender that is a text", "/admin/user/create", { name: "bob", gender: "m" }, 251],
    ["a name that is taken", "/admin/user/create", { userId: "bob", name: "alice" }, 4],
    [
      "a mobile that is taken",
      "/admin/user/create",
      { userId: "bob", name: "bob", mobile: "13800000000" },
      4,
    ],
    ["a token for nobody", "/admin/user/get_token", { userId: "nobody", clientId: "c" }, 253],
    ["a token for no client", "/admin/user/get_token", { userId: "alice" }, 251],
    ["no JSON", "/admin/user/create", "{", 251],
    ["too much", "/admin/user/create", { name: "bob", extra: "x".repeat(300_000) }, 251],
    ["a path that is not there", "/admin/user/crate", {}, 254],
  ];
  for (const [name, path, body, code] of cases) {
    await t.step(name, async () => assert.equal((await call(server, path, body)).code, code));
  }
  await t.step("a method that is not there", async () => {
    const headers = signedHeaders(server.adminSecret);
    const answer = await send(`${server.url}/admin/user/create`, "GET", undefined, headers);
    assertForm(answer);
    assert.equal(answer.json().code, 254);
  });
});

Deno.test("Fields that are null or empty texts, as some SDKs send them, are fields left out", async () => {
  await using server = await startServer();
  const blank = { userId: "", portrait: null, mobile: "", email: null, type: 0 };
  const first = await call(server, "/admin/user/create", { ...blank, name: "first" });
  const second = await call(server, "/admin/user/create", { ...blank, name: "second" });
  assert.deepEqual([first.code, second.code], [0, 0]);
  assert.match(first.result.userId, /^\w{8,}$/);
  assert.notEqual(first.result.userId, second.result.userId);
});

Deno.test("A signature is accepted once, within five minutes, and only when it is right", async (t) => {
  await using server = await startServer();
  const body = { userId: "alice", name: "alice" };
  const code = async (headers: Record<string, string>) =>
    (await call(server, "/admin/user/create", body, headers)).code as number;
  const sign = (aheadMs = 0) => signedHeaders(server.adminSecret, Date.now() + aheadMs);
  const without = (name: string) => {
    const headers = sign();
    delete headers[name];
    return headers;
  };
  const used = sign();
  assert.equal(await code(used), 0);
  const cases: readonly (readonly [string, () => Record<string, string>, number])[] = [
    ["none", () => ({}), 239],
    ["without nonce", () => without("nonce"), 239],
    ["without timestamp", () => without("timestamp"), 239],
    ["without sign", () => without("sign"), 239],
    ["with a time that is no number", () => ({ ...sign(), timestamp: "today" }), 239],
    ["by another secret", () => signedHeaders("another secret"), 244],
    ["for another time", () => ({ ...sign(), timestamp: String(Date.now() + 1) }), 244],
    ["for another nonce", () => ({ ...sign(), nonce: "n" }), 244],
    ["cut short", () => ({ ...sign(), sign: sign().sign!.slice(0, -1) }), 244],
    ["six minutes old", () => sign(-6 * MINUTE_MS), 243],
    ["six minutes ahead", () => sign(6 * MINUTE_MS), 243],
    ["four minutes old", () => sign(-4 * MINUTE_MS), 0],
    ["four minutes ahead", () => sign(4 * MINUTE_MS), 0],
    ["used before", () => used, 244],
    ["used before, in capitals", () => ({ ...used, sign: used.sign!.toUpperCase() }), 244],
    ["in capitals", () => {
      const headers = sign();
      return { ...headers, sign: headers.sign!.toUpperCase() };
    }, 0],
  ];
  for (const [name, headers, expected] of cases) {
    await t.step(`${name}: ${expected}`, async () => assert.equal(await code(headers()), expected));
  }
  await t.step("of twenty copies sent at once, one is accepted", async () => {
    const copy = sign();
    const codes = await Promise.all(Array.from({ length: 20 }, () => code(copy)));
    assert.deepEqual(codes.toSorted((a, b) => a - b), [0, ...Array(19).fill(244)]);
  });
  await t.step("unsigned requests do not learn which paths there are", async () => {
    assert.equal((await call(server, "/admin/nowhere", {}, {})).code, 239);
  });
});

Deno.test("A header Content-Encoding: UTF-8, as some SDKs send it, is taken as no encoding", async () => {
  await using server = await startServer();
  const headers = { ...signedHeaders(server.adminSecret), "content-encoding": "UTF-8" };
  assert.equal((await call(server, "/admin/user/create", { name: "张三" }, headers)).code, 0);
});
