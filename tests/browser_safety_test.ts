import assert from "node:assert/strict";
import { createLogin, signedHeaders } from "./admin.ts";
import { type Answer, logIn, post, send, sendRaw } from "./http.ts";
import { startServer, type TestServer } from "./server.ts";

/** Asks for a WebSocket. */
async function upgrade(
  server: TestServer,
  headers: Record<string, string | null>,
  path = "/mqtt",
): Promise<Answer> {
  const all = {
    upgrade: "websocket",
    connection: "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "mqtt",
    ...headers,
  };
  const given = Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== null);
  return await sendRaw(server, { path, headers: Object.fromEntries(given) });
}

Deno.test("A request with the cookie must be JSON from a page of ours; reading needs neither", async (t) => {
  await using server = await startServer({ ALLOWED_ORIGINS: "https://app.example.org" });
  const { appToken, token } = await logIn(server, "13800000000");
  const cookie = `hearth_session=${appToken}`;
  const json = { "content-type": "application/json" };
  const site = { "sec-fetch-site": "same-origin" };
  const origin = { origin: server.url };
  const cases: readonly (readonly [string, Record<string, string>, boolean])[] = [
    ["JSON from the same origin, as Sec-Fetch-Site says", { ...json, ...site }, true],
    ["JSON from the same origin, as Origin says", { ...json, ...origin }, true],
    ["JSON with a character set", { "content-type": "application/json; charset=UTF-8", ...site }, true],
    ["JSON from nowhere", json, false],
    ["JSON from another page of the site", { ...json, "sec-fetch-site": "same-site" }, false],
    ["JSON from another site", {
      ...json,
      "sec-fetch-site": "cross-site",
      origin: "https://evil.example.org",
    }, false],
    ["JSON from an allowed origin", {
      ...json,
      "sec-fetch-site": "cross-site",
      origin: "https://app.example.org",
    }, false],
    ["JSON from a sandboxed frame", { ...json, origin: "null" }, false],
    ["a text from the same origin", { "content-type": "text/plain", ...site }, false],
    ["a form from the same origin", { "content-type": "application/x-www-form-urlencoded", ...site }, false],
    ["what only begins like JSON", { "content-type": "application/jsonx", ...site }, false],
    ["another site beside the IM token", {
      "content-type": "text/plain",
      authorization: `Bearer ${token}`,
      "sec-fetch-site": "cross-site",
    }, true],
    ["another site beside the app token", {
      "content-type": "text/plain",
      authToken: appToken,
      "sec-fetch-site": "cross-site",
    }, true],
  ];
  for (const [name, headers, allowed] of cases) {
    await t.step(`${name}: ${allowed ? "taken" : "refused"}`, async () => {
      const command = await send(`${server.url}/im/sync`, "POST", "{}", { cookie, ...headers });
      assert.deepEqual([command.status, command.json().code], allowed ? [200, 0] : [403, 248]);
      const login = await send(`${server.url}/cancel_pc`, "POST", `{"token":"x"}`, { cookie, ...headers });
      assert.deepEqual([login.status, login.json().code], allowed ? [200, 8] : [403, 14]);
    });
  }
  await t.step("GET from anywhere is taken", async () => {
    assert.equal((await send(`${server.url}/me`, "GET", undefined, { cookie })).status, 200);
  });
  await t.step("nothing was logged out", async () => {
    const refused = await send(`${server.url}/logout`, "POST", "{}", {
      cookie,
      "sec-fetch-site": "cross-site",
    });
    assert.equal(refused.status, 403);
    assert.equal((await send(`${server.url}/me`, "GET", undefined, { cookie })).status, 200);
  });
});

Deno.test("A WebSocket is opened for MQTT, for pages of ours and of allowed origins, and for programs", async (t) => {
  await using server = await startServer({ ALLOWED_ORIGINS: "https://app.example.org" });
  const cases: readonly (readonly [string, Record<string, string | null>, number, string?])[] = [
    ["a program", {}, 101, "mqtt"],
    ["a page of ours", { origin: server.url }, 101, "mqtt"],
    ["a page of an allowed origin", { origin: "https://app.example.org" }, 101, "mqtt"],
    ["a page of another origin", { origin: "https://evil.example.org" }, 403],
    ["a page of the same name over another scheme", { origin: server.url.replace("http", "https") }, 403],
    ["a sandboxed frame", { origin: "null" }, 403],
    ["the older name", { "sec-websocket-protocol": "mqttv3.1" }, 101, "mqttv3.1"],
    ["both names without a space", { "sec-websocket-protocol": "mqttv3.1,mqtt" }, 101, "mqtt"],
    ["others besides", { "sec-websocket-protocol": "chat , mqtt" }, 101, "mqtt"],
    ["no sub-protocol", { "sec-websocket-protocol": null }, 400],
    ["another sub-protocol", { "sec-websocket-protocol": "mqtt2" }, 400],
    ["no key", { "sec-websocket-key": null }, 400],
    ["no upgrade", { upgrade: null }, 400],
  ];
  for (const path of ["/mqtt", "/"]) {
    for (const [name, headers, status, subProtocol] of cases) {
      if (path === "/" && name === "no upgrade") continue;
      await t.step(`${name} at ${path}: ${status}`, async () => {
        const answer = await upgrade(server, headers, path);
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get("sec-websocket-protocol"), subProtocol ?? null);
      });
    }
  }
  await t.step("elsewhere nothing is opened", async () => {
    assert.equal((await upgrade(server, {}, "/elsewhere")).status, 404);
  });
});

Deno.test("An address with too many open connections is told when to come again", async () => {
  await using server = await startServer({ LIMIT_LOOPBACK: "true", MAX_UNAUTHENTICATED_PER_IP: "1" });
  const first = new WebSocket(server.wsUrl, "mqtt");
  await new Promise((resolve) => first.addEventListener("open", resolve, { once: true }));
  const refused = await upgrade(server, {});
  assert.deepEqual([refused.status, refused.json().code], [429, 250]);
  assert.equal(refused.headers.get("retry-after"), "10");
  const closed = new Promise((resolve) => first.addEventListener("close", resolve, { once: true }));
  first.close();
  await closed;
});

Deno.test("Another origin may call and read when ALLOWED_ORIGINS names it, without cookies", async (t) => {
  await using server = await startServer({
    ALLOWED_ORIGINS: "https://app.example.org,https://b.example.org",
  });
  const allowed = { origin: "https://app.example.org", "sec-fetch-site": "cross-site" };
  await t.step("it asks first", async () => {
    const answer = await send(`${server.url}/login`, "OPTIONS", undefined, {
      ...allowed,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,authtoken",
    });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get("access-control-allow-origin"), "https://app.example.org");
    assert.match(answer.headers.get("access-control-allow-methods")!, /POST/);
    assert.match(answer.headers.get("access-control-allow-headers")!, /authToken/i);
    assert.match(answer.headers.get("vary")!, /Origin/);
  });
  await t.step("it reads answers, refusals too", async () => {
    for (const path of ["/route", "/me", "/nowhere"]) {
      const answer = await send(`${server.url}${path}`, "GET", undefined, allowed);
      assert.equal(answer.headers.get("access-control-allow-origin"), "https://app.example.org");
      assert.equal(answer.headers.get("access-control-allow-credentials"), null);
      assert.match(answer.headers.get("access-control-expose-headers")!, /authToken/i);
    }
  });
  await t.step("it gets the secret of a QR login in the answer, since it gets no cookie", async () => {
    const { result } = await post(server, "/pc_session", { clientId: "c" }, allowed);
    assert.match(result.pollSecret, /^[\w-]{43}$/);
  });
  await t.step("one that is not named may not", async () => {
    const stranger = { origin: "https://evil.example.org", "sec-fetch-site": "cross-site" };
    const asked = { ...stranger, "access-control-request-method": "POST" };
    for (
      const answer of [
        await send(`${server.url}/login`, "OPTIONS", undefined, asked),
        await send(`${server.url}/route`, "GET", undefined, stranger),
      ]
    ) {
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
      assert.match(answer.headers.get("vary")!, /Origin/);
    }
    const { result } = await post(server, "/pc_session", { clientId: "c" }, stranger);
    assert.equal("pollSecret" in result, false);
  });
});

Deno.test("Every answer forbids framing, sniffing, referrers and caching", async (t) => {
  await using server = await startServer();
  for (const path of ["/", "/m/scan", "/docs", "/openapi.json", "/me", "/healthz", "/nowhere", "/admin/x"]) {
    await t.step(path, async () => {
      const { headers } = await send(`${server.url}${path}`, "GET", undefined);
      assert.match(headers.get("content-security-policy")!, /default-src 'none'.*frame-ancestors 'none'/);
      assert.doesNotMatch(headers.get("content-security-policy")!, /unsafe|\*/);
      assert.equal(headers.get("x-content-type-options"), "nosniff");
      assert.equal(headers.get("referrer-policy"), "no-referrer");
      assert.match(headers.get("cache-control")!, /^no-(?:store|cache)$/);
      assert.match(headers.get("x-request-id")!, /^[0-9a-f]{16}$/);
    });
  }
});

Deno.test("In production one name is answered to, and another gets 421; probes may ask for an address", async (t) => {
  await using server = await startServer({
    HEARTH_ENV: "production",
    PUBLIC_URL: "https://chat.example.org",
    HOST: "127.0.0.1",
  });
  const ask = (host: string, path = "/route") => sendRaw(server, { path, headers: { host } });
  for (const host of ["chat.example.org", "CHAT.example.org", "chat.example.org:443"]) {
    await t.step(`${host} is answered`, async () => {
      const answer = await ask(host);
      assert.equal(answer.status, 200);
      assert.equal(answer.json().wsUrl, "wss://chat.example.org/mqtt");
    });
  }
  for (
    const host of [
      "127.0.0.1",
      "evil.example.org",
      "chat.example.org:8000",
      "chat.example.org.",
      "x@chat.example.org",
      "",
    ]
  ) {
    await t.step(`"${host}" is not`, async () => {
      for (const path of ["/route", "/", "/me", "/admin/user/create"]) {
        const answer = await ask(host, path);
        assert.deepEqual([path, answer.status], [path, 421]);
      }
      const socket = await upgrade(server, { host });
      assert.equal(socket.status, 421);
    });
  }
  await t.step("what a stranger forwards changes nothing", async () => {
    const headers = { host: "evil.example.org", "x-forwarded-host": "chat.example.org" };
    assert.equal((await sendRaw(server, { path: "/route", headers })).status, 421);
  });
  await t.step("probes are answered", async () => {
    for (const path of ["/healthz", "/readyz", "/version"]) {
      assert.equal((await ask("10.0.0.5:8000", path)).status, 200);
    }
  });
  await t.step("cookies are Secure", async () => {
    const answer = await sendRaw(server, {
      method: "POST",
      path: "/pc_session",
      headers: { host: "chat.example.org", "content-type": "application/json" },
      body: '{"clientId":"c"}',
    });
    assert.match(answer.headers.get("set-cookie")!, /; Secure\b/);
  });
  await t.step("code login is off", async () => {
    const answer = await sendRaw(server, {
      method: "POST",
      path: "/send_code",
      headers: { host: "chat.example.org" },
      body: '{"mobile":"13800000000"}',
    });
    assert.equal(answer.json().code, 11);
  });
});

Deno.test("What a stranger says of forwarding is not believed", async () => {
  await using server = await startServer();
  const forwarded = {
    "x-forwarded-for": "203.0.113.1",
    "x-forwarded-host": "evil.example.org",
    "x-forwarded-proto": "https",
    "x-real-ip": "203.0.113.1",
    forwarded: "for=203.0.113.1;host=evil.example.org;proto=https",
  };
  const route = (await send(`${server.url}/route`, "GET", undefined, forwarded)).json();
  assert.equal(route.wsUrl, server.wsUrl);
  const answer = await send(`${server.url}/pc_session`, "POST", { clientId: "c" }, forwarded);
  assert.doesNotMatch(answer.headers.getSetCookie()[0]!, /Secure/);
  assert.equal(answer.headers.get("strict-transport-security"), null);
  const token = await createLogin(server, "alice");
  const phone = { authorization: `Bearer ${token}` };
  const { result } = await post(server, `/scan_pc/${answer.json().result.token}`, {}, phone);
  assert.equal(result.ip, "127.0.0.1");
});

Deno.test("A server-API signature counts for the server API alone, whatever cookies come with it", async () => {
  await using server = await startServer();
  const headers = {
    ...signedHeaders(server.adminSecret),
    "sec-fetch-site": "cross-site",
    cookie: "hearth_session=x",
  };
  const made = await post(server, "/admin/user/create", { name: "alice" }, headers);
  assert.equal(made.code, 0);
  assert.equal(
    (await send(`${server.url}/im/sync`, "POST", {}, signedHeaders(server.adminSecret))).status,
    401,
  );
});
