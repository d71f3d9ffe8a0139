import assert from "node:assert/strict";
import jsqr from "jsqr";
import { signedHeaders } from "./admin.ts";
import { type Json, logIn, Page, post, send } from "./http.ts";
import { within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

/** A phone that is logged in. */
async function startPhone(server: TestServer, mobile: string) {
  const { userId, appToken } = await logIn(server, mobile);
  const call = (path: string, body: unknown = {}) => post(server, path, body, { authToken: appToken });
  return {
    userId,
    scan: (token: string) => call(`/scan_pc/${token}`),
    confirm: (token: string, number?: string) =>
      call("/confirm_pc", number === undefined ? { token } : { token, number }),
    cancel: (token: string) => call("/cancel_pc", { token }),
  };
}

/** A QR login as a program begins it. */
async function begin(server: TestServer, clientId = "desk-1"): Promise<Json> {
  const { code, message, result } = await post(server, "/pc_session", {
    clientId,
    platform: 3,
    device_name: "Desk",
  });
  assert.equal(code, 0, message);
  return result;
}

/** One poll, as a program makes it. */
function poll(server: TestServer, { token, pollSecret }: Json, more: Json = {}): Promise<Json> {
  return post(server, `/session_login/${token}`, { pollSecret, ...more });
}

/** Waits until the server holds so many polls open. */
async function untilOpenPolls(server: TestServer, count: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const { text } = await send(`${server.url}/metrics`, "GET", undefined);
    const open = Number(/^hearth_qr_polls_open (\d+)$/m.exec(text)?.[1]);
    if (open === count) return;
    assert.ok(performance.now() < deadline, `${open} polls are open`);
  }
}

const wrongFor = (number: string) => number === "00" ? "01" : "00";

/** Draws the picture that an SVG of single modules describes, and reads it as a scanner does. */
function readQr(svg: string): string | null {
  const size = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)?.[1]);
  const scale = 4;
  const width = size * scale;
  const pixels = new Uint8ClampedArray(width * width * 4).fill(255);
  for (const [, left, top] of svg.matchAll(/M(\d+),(\d+)l1,0 0,1 -1,0 0,-1z/g)) {
    for (let y = Number(top) * scale; y < (Number(top) + 1) * scale; y++) {
      for (let x = Number(left) * scale; x < (Number(left) + 1) * scale; x++) {
        pixels.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3);
      }
    }
  }
  // The package is CommonJS, hence the `default`.
  return jsqr.default(pixels, width, width)?.data ?? null;
}

Deno.test("A page shows a QR, a phone scans and confirms, and the page is logged in by cookie", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const page = new Page(server, {
    "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0",
  });
  const { result: session } = await page.post("/pc_session", {
    clientId: "web-1",
    platform: 5,
    device_name: "Web",
  });
  assert.deepEqual({ status: session.status, platform: session.platform }, { status: 0, platform: 5 });
  assert.ok(session.expired > 110_000 && session.expired <= 120_000);
  assert.match(session.number, /^\d\d$/);
  assert.equal("pollSecret" in session, false, "a page has it as a cookie");
  assert.match(page.setCookies[0]!, /; HttpOnly\b/);
  assert.match(page.setCookies[0]!, /; SameSite=Lax\b/);
  assert.ok(page.setCookies[0]!.includes(`; Path=/session_login/${session.token}`));

  const scanning = page.post(`/session_login/${session.token}`);
  const { code, result: scanned } = await phone.scan(session.token);
  assert.equal(code, 0);
  assert.deepEqual(
    { ...scanned, expired: 0, createdAt: 0 },
    {
      token: session.token,
      status: 1,
      expired: 0,
      platform: 5,
      userId: phone.userId,
      device: "Windows 10",
      browser: "Chrome 140",
      ip: "127.0.0.1",
      place: "this-machine",
      createdAt: 0,
    },
  );
  const told = await scanning;
  assert.equal(told.code, 9);
  assert.deepEqual(Object.keys(told.result).sort(), ["portrait", "userName"]);

  const confirming = page.request("POST", `/session_login/${session.token}`, { seen: "scanned" });
  const confirmed = await phone.confirm(session.token, session.number);
  assert.equal(confirmed.code, 0);
  assert.equal(confirmed.result.status, 2);
  const answer = await confirming;
  assert.equal(answer.json().code, 0);
  assert.equal(answer.json().result.userId, phone.userId);
  assert.equal(answer.headers.get("authToken"), null);
  const me = (await page.request("GET", "/me")).json();
  assert.deepEqual([me.userId, me.clientId, me.platform], [phone.userId, "web-1", 5]);
});

Deno.test("The QR holds the address of the phone's page under this server's own name", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  const here = await begin(server);
  assert.equal(readQr(here.qr), `${server.url}/m/scan?token=${here.token}`);
  const headers = { "x-forwarded-host": "chat.example.org", "x-forwarded-proto": "https" };
  const { result } = await post(server, "/pc_session", { clientId: "desk-2" }, headers);
  assert.equal(readQr(result.qr), `https://chat.example.org/m/scan?token=${result.token}`);
  assert.doesNotMatch(here.qr, new RegExp(here.pollSecret));
});

Deno.test("A program polls with the secret of the answer, and gets the app token as a header", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  await phone.confirm(session.token, session.number);
  const path = `${server.url}/session_login/${session.token}`;
  const answer = await send(path, "POST", { pollSecret: session.pollSecret });
  assert.equal(answer.json().result.userId, phone.userId);
  const authToken = answer.headers.get("authToken")!;
  assert.equal((await send(`${server.url}/me`, "GET", undefined, { authToken })).json().clientId, "desk-1");
  assert.equal((await poll(server, session)).code, 8, "the login is given once");
});

Deno.test("Scan and confirm in the same instant still log the page in", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  const polling = poll(server, session);
  await phone.scan(session.token);
  const [confirmed, first] = await Promise.all([phone.confirm(session.token, session.number), polling]);
  assert.equal(confirmed.code, 0);
  // Whichever of the two states the poll met, the login is there for the next one.
  const last = first.code === 9 ? await poll(server, session, { seen: "scanned" }) : first;
  assert.equal(last.code, 0);
  assert.equal(last.result.userId, phone.userId);
});

Deno.test("A poll that nobody may make is refused at once with 8", async (t) => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  const other = await begin(server, "desk-2");
  const claimed = await begin(server, "desk-3");
  await phone.scan(claimed.token);
  await phone.confirm(claimed.token, claimed.number);
  assert.equal((await poll(server, claimed)).code, 0);
  const expired = await begin(server, "desk-4");
  const { kv } = server.hearth.store;
  const found = await kv.getQrSession(expired.token);
  assert.ok(await kv.moveQrSession(found!, { ...found!.value, expiresAtMs: Date.now() - 1 }));

  const cases: readonly (readonly [string, string, Json])[] = [
    ["an unknown QR", "0123456789abcdefghjkmnpqrs", { pollSecret: session.pollSecret }],
    ["what is no id", "%E0%A4%A", { pollSecret: session.pollSecret }],
    ["an id longer than any key", "a".repeat(5_000), { pollSecret: session.pollSecret }],
    ["no secret", session.token, {}],
    ["a wrong secret", session.token, { pollSecret: "x".repeat(43) }],
    ["an empty secret", session.token, { pollSecret: "" }],
    ["the secret of another QR", session.token, { pollSecret: other.pollSecret }],
    ["a login that was taken", claimed.token, { pollSecret: claimed.pollSecret }],
    ["a QR that has expired", expired.token, { pollSecret: expired.pollSecret }],
  ];
  for (const [name, token, body] of cases) {
    await t.step(name, async () => {
      const startedAt = performance.now();
      assert.equal((await post(server, `/session_login/${token}`, body)).code, 8);
      assert.ok(performance.now() - startedAt < 5_000, "a poll that waits takes 50 s");
    });
  }
  await t.step("the phone is told the same of an expired one", async () => {
    assert.equal((await phone.scan(expired.token)).code, 8);
    assert.equal((await phone.confirm("0123456789abcdefghjkmnpqrs")).code, 8);
    assert.equal((await phone.cancel("no such thing")).code, 8);
  });
  await t.step("the right secret still waits", async () => {
    const polling = poll(server, session);
    await phone.scan(session.token);
    assert.equal((await polling).code, 9);
  });
});

Deno.test("Confirming or cancelling before the scan is refused with 10", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  assert.equal((await phone.confirm(session.token, session.number)).code, 10);
  assert.equal((await phone.cancel(session.token)).code, 10);
  assert.equal((await phone.scan(session.token)).code, 0, "nothing has changed");
});

Deno.test("Another phone is refused with 14 whatever it tries", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const other = await startPhone(server, "13800000001");
  const session = await begin(server);
  await phone.scan(session.token);
  assert.equal((await other.scan(session.token)).code, 14);
  assert.equal((await other.confirm(session.token, session.number)).code, 14);
  assert.equal((await other.cancel(session.token)).code, 14);
  assert.equal((await phone.confirm(session.token, session.number)).code, 0);
  assert.equal((await other.scan(session.token)).code, 14);
  assert.equal((await poll(server, session)).result.userId, phone.userId);
});

Deno.test("After a cancellation everybody is told 18", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  const polling = poll(server, session, { seen: "scanned" });
  assert.equal((await phone.cancel(session.token)).code, 0);
  assert.equal((await polling).code, 18);
  assert.equal((await phone.scan(session.token)).code, 18);
  assert.equal((await phone.confirm(session.token, session.number)).code, 18);
  assert.equal((await phone.cancel(session.token)).code, 0, "a second cancellation changes nothing");
  assert.equal((await poll(server, session)).code, 18);
});

Deno.test("A wrong number is refused with 6, and three of them cancel", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  for (let guess = 0; guess < 3; guess++) {
    assert.equal((await phone.confirm(session.token, wrongFor(session.number))).code, 6);
  }
  assert.equal((await phone.confirm(session.token, session.number)).code, 18);
  assert.equal((await poll(server, session)).code, 18);
});

Deno.test("A second confirmation by the same phone is answered with 0 and changes nothing", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  assert.equal((await phone.confirm(session.token, session.number)).code, 0);
  const again = await phone.confirm(session.token, wrongFor(session.number));
  assert.equal(again.code, 0);
  assert.ok(again.result.expired <= 60_000);
  assert.equal((await poll(server, session)).code, 0);
});

Deno.test("The number may be left out in development", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  assert.equal((await phone.confirm(session.token)).code, 0);
});

Deno.test("In production a missing number is refused with 15, a wrong one with 6, the right one with nothing", async () => {
  await using server = await startServer({
    HEARTH_ENV: "production",
    PUBLIC_URL: "http://chat.example.org",
    HOST: "127.0.0.1",
    TRUSTED_PROXIES: "127.0.0.1",
  });
  const host = { "x-forwarded-host": "chat.example.org" };
  const admin = (path: string, body: Json) =>
    post(server, path, body, { ...signedHeaders(server.adminSecret), ...host });
  await admin("/admin/user/create", { userId: "alice", name: "alice" });
  const { result: { token } } = await admin("/admin/user/get_token", { userId: "alice", clientId: "phone" });
  const phone = (path: string, body: Json = {}) =>
    post(server, path, body, { ...host, authorization: `Bearer ${token}` });

  const { result: session } = await post(server, "/pc_session", { clientId: "desk-1" }, host);
  assert.equal((await phone(`/scan_pc/${session.token}`)).code, 0);
  assert.equal((await phone("/confirm_pc", { token: session.token })).code, 15);
  assert.equal((await phone("/confirm_pc", { token: session.token, number: "" })).code, 15);
  assert.equal((await phone("/confirm_pc", { token: session.token, number: null })).code, 15);
  const wrong = wrongFor(session.number);
  assert.equal((await phone("/confirm_pc", { token: session.token, number: wrong })).code, 6);
  const { number } = session;
  assert.equal((await phone("/confirm_pc", { token: session.token, number })).code, 0);
});

Deno.test("A phone that is not logged in is refused with 13", async () => {
  await using server = await startServer();
  const session = await begin(server);
  assert.equal((await post(server, `/scan_pc/${session.token}`)).code, 13);
  assert.equal((await post(server, "/confirm_pc", { token: session.token })).code, 13);
  assert.equal((await post(server, "/cancel_pc", { token: session.token })).code, 13);
});

Deno.test("The cookie of a poll is for pages of ours: another page is refused, a secret in the body is not", async () => {
  await using server = await startServer();
  const page = new Page(server);
  const { result: session } = await page.post("/pc_session", { clientId: "web-1" });
  const foreign = page.withHeaders({ "sec-fetch-site": "cross-site", origin: "https://evil.example.org" });
  const path = `/session_login/${session.token}`;
  const answer = await foreign.request("POST", path, {});
  assert.equal(answer.status, 403);
  assert.equal(answer.json().code, 14);
  // The secret of the body counts, and the good cookie beside it does not.
  assert.equal((await foreign.post(path, { pollSecret: "x".repeat(43) })).code, 8);
});

Deno.test("A newer poll of a page has the older one answered, and gets the login", async () => {
  await using server = await startServer();
  const phone = await startPhone(server, "13800000000");
  const session = await begin(server);
  await phone.scan(session.token);
  const older = poll(server, session, { seen: "scanned" });
  await untilOpenPolls(server, 1);
  const newer = poll(server, session, { seen: "scanned" });
  assert.equal((await within("the older answer", older)).code, 10);
  await phone.confirm(session.token, session.number);
  assert.equal((await newer).result.userId, phone.userId);
});

Deno.test("An address holds 64 polls open, a further one is told when to come again, and one that is left frees its place", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  // One poll of a QR login waits at a time.
  const [first, second, third, surplus] = [
    await begin(server),
    await begin(server),
    await begin(server),
    await begin(server),
  ];
  const crowd: Json[] = [];
  for (let i = 0; i < 64; i++) crowd.push(await begin(server));
  const leave = new AbortController();
  const open = ({ token, pollSecret }: Json, address: string, signal?: AbortSignal) =>
    fetch(`${server.url}/session_login/${token}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": address },
      body: JSON.stringify({ pollSecret }),
      ...(signal === undefined ? {} : { signal }),
    });
  const left = Promise.allSettled(crowd.map((session) => open(session, "203.0.113.1", leave.signal)));
  await untilOpenPolls(server, 64);
  const refused = await open(surplus, "203.0.113.1");
  assert.equal(refused.status, 429);
  const { code, retryAfterMs } = await refused.json();
  assert.equal(code, 3);
  assert.ok(retryAfterMs > 0);

  // Somebody else is not affected; loopback is not counted in development.
  const others = Promise.all([open(first, "203.0.113.2"), open(second, "127.0.0.1")]);
  await untilOpenPolls(server, 66);
  leave.abort();
  await left;
  await untilOpenPolls(server, 2);
  const again = open(third, "203.0.113.1");
  await untilOpenPolls(server, 3);
  const phone = await startPhone(server, "13800000000");
  for (const { token } of [first, second, third]) await phone.scan(token);
  for (const answer of [...await others, await again]) assert.equal((await answer.json()).code, 9);
});

Deno.test("An address begins 120 QR logins a minute", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  const beginFrom = (address: string) =>
    send(`${server.url}/pc_session`, "POST", { clientId: "desk-1" }, { "x-forwarded-for": address });
  for (let i = 0; i < 120; i++) assert.equal((await beginFrom("2001:db8::1")).status, 200);
  const refused = await beginFrom("2001:db8::2");
  assert.equal(refused.status, 429, "an IPv6 network is one address");
  assert.equal(refused.json().code, 3);
  assert.ok(refused.json().retryAfterMs <= 60_000);
  assert.equal((await beginFrom("2001:db8:1::1")).status, 200);
});

Deno.test("A server that stops ends the polls at once", async () => {
  const server = await startServer();
  const polling = poll(server, await begin(server));
  await untilOpenPolls(server, 1);
  const startedAt = performance.now();
  await server[Symbol.asyncDispose]();
  assert.ok(performance.now() - startedAt < 2_500, "a stop waits 3 s for open requests");
  assert.equal((await polling).code, 10);
});
