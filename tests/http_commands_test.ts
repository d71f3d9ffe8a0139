import assert from "node:assert/strict";
import mqtt from "mqtt";
import { createLogin } from "./admin.ts";
import { type Answer, type Json, post, send } from "./http.ts";
import { within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const toBob = { type: 0, target: "bob", line: 0 };

function message(clientMessageId: string, text = "hello"): Json {
  return { clientMessageId, conversation: toBob, content: { type: 1, searchableContent: text } };
}

/** Alice, and how she calls commands. */
async function startAlice(server: TestServer) {
  await createLogin(server, "bob");
  const token = await createLogin(server, "alice");
  const headers = { authorization: `Bearer ${token}` };
  return {
    token,
    headers,
    call: (command: string, body: unknown, more: Record<string, string> = {}): Promise<Answer> =>
      send(`${server.url}/im/${command}`, "POST", body, { ...headers, ...more }),
  };
}

Deno.test("A message sent over HTTP is stored before the answer, and comes back in a pull", async () => {
  await using server = await startServer();
  const { call } = await startAlice(server);
  const sent = await call("message.send", { requestId: "r1", ...message("m1") });
  assert.equal(sent.status, 200);
  assert.equal(sent.headers.get("content-type"), "application/json");
  const { requestId, code, result, ...rest } = sent.json();
  assert.deepEqual([requestId, code, result.timeline, result.seq], ["r1", 0, "me", "1"]);
  assert.deepEqual(rest, {}, "over HTTP there is no command in the answer");
  const pulled = (await call("message.pull", { cursor: "0" })).json().result;
  assert.equal(pulled.entries[0].message.messageId, result.messageId);
  assert.equal(pulled.entries[0].message.content.searchableContent, "hello");
});

Deno.test("Fifty sends of one message over both doors are one message with one answer", async () => {
  await using server = await startServer();
  const { call, token } = await startAlice(server);
  const client = await mqtt.connectAsync(server.wsUrl, {
    clientId: "client-alice",
    username: "alice",
    password: token,
    reconnectPeriod: 0,
  });
  const replies: Json[] = [];
  const all = Promise.withResolvers<void>();
  client.on("message", (_topic, payload) => {
    replies.push(JSON.parse(new TextDecoder().decode(payload)));
    if (replies.length === 25) all.resolve();
  });
  await client.subscribeAsync("me/reply", { qos: 1 });
  const overHttp = Array.from({ length: 25 }, () => call("message.send", message("once")));
  for (let i = 0; i < 25; i++) {
    client.publish("im/message.send", JSON.stringify(message("once")), { qos: 1 });
  }
  await within("the replies", all.promise);
  const answers = [
    ...(await Promise.all(overHttp)).map((answer) => answer.json()),
    ...replies,
  ];
  await client.endAsync();
  assert.equal(answers.length, 50);
  assert.equal(new Set(answers.map(({ result }) => `${result.messageId} ${result.seq}`)).size, 1);
  assert.equal(answers.filter(({ result }) => result.repeated !== true).length, 1);
});

Deno.test("What is sent over HTTP reaches every socket of the sender", async () => {
  await using server = await startServer();
  const { call, token } = await startAlice(server);
  const client = await mqtt.connectAsync(server.wsUrl, {
    clientId: "client-alice",
    username: "alice",
    password: token,
    reconnectPeriod: 0,
  });
  await client.subscribeAsync("me/inbox", { qos: 1 });
  const event = new Promise<Json>((resolve) =>
    client.once("message", (_topic, payload) => resolve(JSON.parse(new TextDecoder().decode(payload))))
  );
  const { result } = (await call("message.send", message("m1"))).json();
  const { type, seq, message: told } = await within("the event", event);
  assert.deepEqual([type, seq, told.messageId], ["message", "1", result.messageId]);
  await client.endAsync();
});

Deno.test("A refusal has the code, the name and the HTTP status of the table", async (t) => {
  await using server = await startServer({ RATE_LIMITS: "user.search=1/0" });
  const { call } = await startAlice(server);
  await call("user.search", { keyword: "bob" });
  const cases: readonly (readonly [string, string, unknown, number, number, string, string?])[] = [
    ["an unknown command", "message.sing", {}, 404, 254, "command/unknown"],
    ["the name of a property", "toString", {}, 404, 254, "command/unknown"],
    ["a missing field", "message.pull", {}, 400, 251, "request/invalid", "cursor"],
    ["a wrong type", "message.pull", { cursor: 0 }, 400, 251, "request/invalid", "cursor"],
    [
      "no conversation type",
      "conversation.read",
      { conversation: { type: 9, target: "b" }, messageId: "1" },
      400,
      251,
      "request/invalid",
      "conversation.type",
    ],
    ["a request id that cannot be", "sync", { requestId: "ä" }, 400, 251, "request/invalid", "requestId"],
    [
      "an unknown person",
      "message.send",
      { ...message("m1"), conversation: { ...toBob, target: "nobody" } },
      404,
      253,
      "user/not-found",
      "conversation.target",
    ],
    ["an unknown device", "session.kick", { clientId: "nowhere" }, 404, 253, "session/not-found", "clientId"],
    ["one request too many", "user.search", { keyword: "bob" }, 429, 250, "request/too-often"],
  ];
  for (const [name, command, body, status, code, error, field] of cases) {
    await t.step(name, async () => {
      const answer = await call(command, body);
      const refusal = answer.json();
      assert.deepEqual([answer.status, refusal.code, refusal.error], [status, code, error]);
      assert.equal(refusal.field, field);
      assert.equal(typeof refusal.message, "string");
    });
  }
});

Deno.test("Whoever is not logged in learns nothing, not even which commands there are", async () => {
  await using server = await startServer();
  const known = await send(`${server.url}/im/message.send`, "POST", message("m1"));
  const unknown = await send(`${server.url}/im/message.sing`, "POST", "{ no JSON");
  assert.equal(known.status, 401);
  assert.equal(known.text, unknown.text);
});

Deno.test("A body that is no proper JSON object is refused with 400, and nothing is stored", async (t) => {
  await using server = await startServer();
  const { call } = await startAlice(server);
  const deep = (levels: number) => `{"extra":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
  const cases: readonly (readonly [string, string | Uint8Array])[] = [
    ["nothing", ""],
    ["no JSON", '{"cursor": "0"'],
    ["a list", "[]"],
    ["null", "null"],
    ["a number", "17"],
    ["seventeen levels", deep(17)],
    ["a hundred thousand levels", deep(100_000)],
    ["a NUL", JSON.stringify(message("m1", "a\0b"))],
    ["a NUL in a name", '{"a\\u0000b": 1}'],
    ["half of a surrogate pair", '{"cursor": "\\ud800"}'],
    ["ill-formed UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ];
  for (const [name, body] of cases) {
    await t.step(name, async () => {
      const answer = await call("message.send", body);
      assert.deepEqual([answer.status, answer.json().code], [400, 251]);
    });
  }
  await t.step("sixteen levels are read", async () => {
    assert.equal((await call("sync", deep(16))).status, 200);
  });
  assert.equal((await call("sync", {})).json().result.head, "0");
});

Deno.test("A body larger than a packet is refused with 413: by the length it announces, or when it has grown so far", async (t) => {
  await using server = await startServer({ MAX_PACKET_BYTES: "2000" });
  const { call, headers } = await startAlice(server);
  await t.step("announced", async () => {
    const answer = await call("message.send", message("m1", "x".repeat(3_000)));
    assert.deepEqual([answer.status, answer.json().error], [413, "message/too-large"]);
  });
  await t.step("without a length, and without an end", async () => {
    const { hostname, port } = new URL(server.url);
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const head = `POST /im/sync HTTP/1.1\r\nhost: localhost\r\nauthorization: ${headers.authorization}\r\n`;
    await connection.write(new TextEncoder().encode(`${head}transfer-encoding: chunked\r\n\r\n`));
    const chunk = new TextEncoder().encode(`3e8\r\n${" ".repeat(1_000)}\r\n`);
    const answer = new Uint8Array(4_096);
    const reading = connection.read(answer);
    for (let chunks = 0; chunks < 3; chunks++) await connection.write(chunk);
    // The request has no end, and is answered.
    const bytes = await within("the refusal", reading);
    assert.match(new TextDecoder().decode(answer.subarray(0, bytes ?? 0)), /^HTTP\/1\.1 413 /);
  });
  await t.step("and a smaller one is read", async () => {
    assert.equal((await call("message.send", message("m1", "x".repeat(1_000)))).status, 200);
  });
  await t.step("login paths have a limit of their own", async () => {
    const answer = await send(`${server.url}/login`, "POST", { mobile: "x".repeat(70_000) });
    assert.deepEqual([answer.status, answer.json().code], [413, 15]);
  });
});

Deno.test("A client that leaves in the middle of its request does no harm", async () => {
  await using server = await startServer();
  const { token, call } = await startAlice(server);
  const { hostname, port } = new URL(server.url);
  for (const rest of ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"]) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const head = `POST /im/sync HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n`;
    await connection.write(new TextEncoder().encode(head + rest));
  }
  assert.equal((await call("sync", {})).status, 200);
});

Deno.test("A path is answered in JSON whatever is asked of it", async (t) => {
  await using server = await startServer();
  const cases: readonly (readonly [string, string, number, string | null])[] = [
    ["GET", "/im/message.send", 405, "POST, OPTIONS"],
    ["GET", "/login", 405, "POST, OPTIONS"],
    ["DELETE", "/me", 405, "GET, HEAD, OPTIONS"],
    ["GET", "/nowhere", 404, null],
    ["POST", "/im/", 404, null],
    ["POST", "/im/a/b", 404, null],
  ];
  for (const [method, path, status, allow] of cases) {
    await t.step(`${method} ${path}`, async () => {
      const answer = await send(`${server.url}${path}`, method, undefined);
      assert.equal(answer.status, status);
      assert.equal(answer.json().code, 254);
      assert.match(answer.headers.get("content-type")!, /^application\/json/);
      assert.equal(answer.headers.get("allow"), allow);
    });
  }
  await t.step("HEAD is GET without a body", async () => {
    const answer = await send(`${server.url}/route`, "HEAD", undefined);
    assert.deepEqual([answer.status, answer.text], [200, ""]);
  });
  await t.step("OPTIONS names the methods", async () => {
    const answer = await send(`${server.url}/login`, "OPTIONS", undefined);
    assert.equal(answer.status, 204);
    assert.match(answer.headers.get("allow")!, /POST/);
  });
  await t.step("POST /route is GET /route", async () => {
    const route = await post(server, "/route");
    assert.deepEqual(route, (await send(`${server.url}/route`, "GET", undefined)).json());
    const { hostname, port } = new URL(server.url);
    assert.deepEqual(route, { host: hostname, port: Number(port), wsUrl: server.wsUrl, node: route.node });
  });
});
