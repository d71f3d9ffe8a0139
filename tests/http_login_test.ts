import assert from "node:assert/strict";
import mqtt from "mqtt";
import { createLogin } from "./admin.ts";
import { logIn, Page, post, send, sendRaw } from "./http.ts";
import { within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const MOBILE = "13800000000";

/** Connects with MQTT.js; `closed` resolves when the server has closed the connection. */
async function connect(
  server: TestServer,
  options: { clientId: string; username: string; password?: string; headers?: Record<string, string> },
): Promise<{ readonly client: mqtt.MqttClient; readonly closed: Promise<void> }> {
  const { headers = {}, ...login } = options;
  const client = await mqtt.connectAsync(server.wsUrl, {
    ...login,
    protocolVersion: 5,
    reconnectPeriod: 0,
    wsOptions: { headers },
  });
  return { client, closed: new Promise((resolve) => client.once("close", () => resolve())) };
}

/** What every door that takes a login says to these headers: HTTP status and code. */
async function doorsOf(
  server: TestServer,
  headers: Record<string, string>,
): Promise<Record<string, unknown>> {
  const doors: Record<string, unknown> = {};
  for (
    const [method, path] of [["GET", "/me"], ["POST", "/im/sync"], ["POST", "/scan_pc/x"], [
      "POST",
      "/logout",
    ]]
  ) {
    const answer = await send(`${server.url}${path}`, method!, method === "GET" ? undefined : {}, headers);
    doors[path!] = `${answer.status} ${answer.json().code}`;
  }
  return doors;
}

Deno.test("A mobile and the code from its SMS log in; the two secrets each open the doors that are theirs", async () => {
  await using server = await startServer();
  const sent = await post(server, "/send_code", { mobile: MOBILE });
  assert.equal(sent.code, 0);
  assert.match(sent.result.devCode, /^\d{6}$/);

  const request = {
    mobile: MOBILE,
    code: sent.result.devCode,
    clientId: "c1",
    platform: 2,
    device_name: "My phone",
  };
  const answer = await send(`${server.url}/login`, "POST", request);
  const { code, result } = answer.json();
  assert.equal(code, 0);
  assert.equal(result.register, true);
  assert.deepEqual(Object.keys(result).sort(), ["portrait", "register", "token", "userId", "userName"]);
  const appToken = answer.headers.get("authToken")!;
  assert.match(appToken, /^\w+\.[\w-]{43}$/);
  assert.notEqual(appToken, result.token);
  assert.deepEqual(answer.headers.getSetCookie(), [], "a program gets no cookie");

  for (const headers of [{ authToken: appToken }, { authorization: `Bearer ${result.token}` }]) {
    const me = (await send(`${server.url}/me`, "GET", undefined, headers)).json();
    assert.deepEqual({ userId: me.userId, clientId: me.clientId, platform: me.platform }, {
      userId: result.userId,
      clientId: "c1",
      platform: 2,
    });
    const devices = await post(server, "/im/session.devices", {}, headers);
    assert.equal(devices.result.devices[0].name, "My phone");
  }
  // Each in the other's place is worth nothing.
  for (const headers of [{ authToken: result.token }, { authorization: `Bearer ${appToken}` }]) {
    assert.equal((await send(`${server.url}/me`, "GET", undefined, headers)).status, 401);
  }
  const again = await logIn(server, MOBILE, "c2");
  assert.equal(again.userId, result.userId);
});

Deno.test("A code works once, and five wrong ones end it", async () => {
  await using server = await startServer();
  const request = async (code: string) =>
    await post(server, "/login", { mobile: MOBILE, code, clientId: "c1" });
  const newCode = async () => (await post(server, "/send_code", { mobile: MOBILE })).result.devCode as string;
  const wrong = (code: string) => code === "111111" ? "222222" : "111111";

  const first = await newCode();
  assert.equal((await request(first)).code, 0);
  assert.equal((await request(first)).code, 5);

  const second = await newCode();
  for (let guess = 0; guess < 5; guess++) assert.equal((await request(wrong(second))).code, 6);
  assert.equal((await request(second)).code, 5, "the right one comes too late");
});

Deno.test("Codes asked for too often are refused with 429 and the time to wait", async () => {
  // Loopback is exempt in development; a proxy says that the clients are elsewhere.
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1", LOGIN_CODES_PER_IP_MINUTE: "3" });
  const ask = (mobile: string, address: string) =>
    send(`${server.url}/send_code`, "POST", { mobile }, { "x-forwarded-for": address });

  const first = await ask(MOBILE, "203.0.113.1");
  assert.deepEqual(first.json(), { code: 0, message: "success", result: "SUCCESS" });
  const again = await ask(MOBILE, "203.0.113.2");
  assert.equal(again.status, 429);
  assert.equal(again.json().code, 3);
  assert.ok(again.json().retryAfterMs > 50_000 && again.json().retryAfterMs <= 60_000);
  assert.equal(again.headers.get("retry-after"), String(Math.ceil(again.json().retryAfterMs / 1000)));

  for (const mobile of ["13800000001", "13800000002"]) {
    assert.equal((await ask(mobile, "203.0.113.1")).status, 200);
  }
  assert.equal((await ask("13800000003", "203.0.113.1")).status, 429);
  assert.equal((await ask("13800000003", "203.0.113.9")).status, 200);
});

Deno.test("The code is shown to this machine alone", async (t) => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  let mobile = 13_900_000_000;
  const shows = async (headers: Record<string, string>) => {
    const { code, result } = await post(server, "/send_code", { mobile: String(mobile++) }, headers);
    assert.equal(code, 0);
    return typeof result === "object" && "devCode" in result;
  };
  await t.step("on this machine it is", async () => assert.equal(await shows({}), true));
  await t.step("under a name that others use it is not", async () => {
    // A page whose name was made to point here asks from this machine too.
    const body = JSON.stringify({ mobile: MOBILE });
    const headers = { host: "rebound.example.org", "content-type": "application/json" };
    const answer = await sendRaw(server, { method: "POST", path: "/send_code", headers, body });
    assert.equal(answer.json().result, "SUCCESS");
  });
  for (
    const header of [
      "forwarded",
      "via",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-real-ip",
    ]
  ) {
    await t.step(`behind a proxy that says ${header} it is not`, async () => {
      assert.equal(await shows({ [header]: "127.0.0.1" }), false);
    });
  }
});

Deno.test("Without an SMS provider login by code is off, and says so", async () => {
  await using server = await startServer({ SMS_PROVIDER: "none" });
  assert.equal((await post(server, "/send_code", { mobile: MOBILE })).code, 11);
});

Deno.test("What is no login request is refused by its code, with HTTP 200", async (t) => {
  await using server = await startServer();
  const cases: readonly (readonly [string, string, unknown, number])[] = [
    ["no mobile number", "/send_code", { mobile: "twelve" }, 1],
    ["no mobile at all", "/send_code", {}, 15],
    ["a mobile that is no text", "/send_code", { mobile: 13_800_000_000 }, 15],
    ["a client id with a space", "/login", { mobile: MOBILE, code: "123456", clientId: "a b" }, 15],
    [
      "a platform that is none",
      "/login",
      { mobile: MOBILE, code: "123456", clientId: "a", platform: "5" },
      15,
    ],
    ["a code nobody was sent", "/login", { mobile: MOBILE, code: "123456", clientId: "a" }, 5],
  ];
  for (const [name, path, body, code] of cases) {
    await t.step(name, async () => {
      const answer = await send(`${server.url}${path}`, "POST", body);
      assert.equal(answer.status, 200);
      assert.equal(answer.json().code, code);
      assert.equal(typeof answer.json().message, "string");
    });
  }
});

Deno.test("A page gets its app token as a cookie that no script reads, and no header", async () => {
  await using server = await startServer();
  const page = new Page(server);
  const { devCode } = (await page.post("/send_code", { mobile: MOBILE })).result;
  const answer = await page.request("POST", "/login", {
    mobile: MOBILE,
    code: devCode,
    clientId: "web-1",
    platform: 5,
  });
  const { userId } = answer.json().result;
  assert.equal(answer.headers.get("authToken"), null);
  const cookie = page.setCookies.at(-1)!;
  assert.match(cookie, /^hearth_session=\w+\.[\w-]{43};/);
  assert.match(cookie, /; HttpOnly\b/);
  assert.match(cookie, /; SameSite=Lax\b/);
  assert.match(cookie, /; Path=\/(?:;|$)/);
  assert.match(cookie, /; Max-Age=7776000\b/);
  assert.doesNotMatch(cookie, /Secure/, "this server is not reached over https");
  assert.equal((await page.request("GET", "/me")).json().userId, userId);

  assert.equal((await page.post("/logout")).code, 0);
  assert.equal(page.cookieHeader("/"), "");
  const after = await page.request("GET", "/me");
  assert.equal(after.status, 401);
  assert.equal(after.json().code, 6);
});

Deno.test("Behind a trusted proxy that speaks https, cookies are Secure and the browser is told to stay there", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  const origin = "https://chat.example.org";
  const page = new Page(server, {
    origin,
    "x-forwarded-proto": "https",
    "x-forwarded-host": "chat.example.org",
  });
  await page.post("/pc_session", { clientId: "web-1" });
  assert.match(page.setCookies[0]!, /; Secure\b/);
  const answer = await page.request("GET", "/route");
  assert.equal(answer.json().wsUrl, "wss://chat.example.org/mqtt");
  assert.match(answer.headers.get("strict-transport-security")!, /^max-age=\d{8}/);
  const plain = await new Page(server).request("GET", "/route");
  assert.equal(plain.headers.get("strict-transport-security"), null);
});

Deno.test("A page of another origin gets the header and no cookie", async () => {
  await using server = await startServer();
  const page = new Page(server, { "sec-fetch-site": "cross-site", origin: "https://app.example.org" });
  const { devCode } = (await post(server, "/send_code", { mobile: MOBILE })).result;
  const answer = await page.request("POST", "/login", { mobile: MOBILE, code: devCode, clientId: "web-1" });
  assert.match(answer.headers.get("authToken")!, /^\w+\.[\w-]{43}$/);
  assert.deepEqual(page.setCookies, []);
});

Deno.test("Logging out with any proof ends both secrets and closes the connections", async (t) => {
  await using server = await startServer();
  for (const proof of ["app token", "IM token", "cookie"] as const) {
    await t.step(`by ${proof}`, async () => {
      const page = new Page(server);
      const { devCode } = (await page.post("/send_code", { mobile: MOBILE })).result;
      const request = { mobile: MOBILE, code: devCode, clientId: "c1" };
      const answer = proof === "cookie"
        ? await page.request("POST", "/login", request)
        : await send(`${server.url}/login`, "POST", request);
      const { userId, token } = answer.json().result;
      const appToken = answer.headers.get("authToken") ?? page.cookieHeader("/").split("=")[1]!;
      const { client, closed } = await connect(server, { clientId: "c1", username: userId, password: token });

      const out = proof === "cookie" ? await page.post("/logout") : await post(
        server,
        "/logout",
        {},
        proof === "app token" ? { authToken: appToken } : { authorization: `Bearer ${token}` },
      );
      assert.equal(out.code, 0);
      await within("the end of the connection", closed);
      await client.endAsync(true);
      for (const headers of [{ authToken: appToken }, { authorization: `Bearer ${token}` }]) {
        assert.equal((await send(`${server.url}/me`, "GET", undefined, headers)).status, 401);
      }
      await assert.rejects(
        connect(server, { clientId: "c1", username: userId, password: token }),
        /Bad User Name or Password/i,
      );
    });
  }
});

Deno.test("A page connects with its cookie in place of a password; from anywhere else the cookie is worth nothing", async (t) => {
  await using server = await startServer();
  const page = new Page(server);
  const { devCode } = (await page.post("/send_code", { mobile: MOBILE })).result;
  const { result } = await page.post("/login", {
    mobile: MOBILE,
    code: devCode,
    clientId: "web-1",
    platform: 5,
  });
  const username = result.userId as string;
  const cookie = page.cookieHeader("/mqtt");

  await t.step("with the page's origin it does", async () => {
    const headers = { cookie, origin: server.url };
    const { client } = await connect(server, { clientId: "web-1", username, headers });
    await client.endAsync();
  });
  const refused:
    readonly (readonly [string, { clientId: string; username: string; headers: Record<string, string> }])[] =
      [
        ["without an origin", { clientId: "web-1", username, headers: { cookie } }],
        ["as another client", { clientId: "web-2", username, headers: { cookie, origin: server.url } }],
        ["as another user", { clientId: "web-1", username: "eve", headers: { cookie, origin: server.url } }],
        ["without a cookie", { clientId: "web-1", username, headers: { origin: server.url } }],
      ];
  for (const [name, options] of refused) {
    await t.step(`${name} it does not`, async () => {
      await assert.rejects(connect(server, options), /Bad User Name or Password/i);
    });
  }
});

Deno.test("Every door says the same to a wrong, an ended and a missing login", async (t) => {
  await using server = await startServer();
  const token = await createLogin(server, "alice", "c1");
  const id = token.split(".")[0];
  await createLogin(server, "alice", "c1");
  const { appToken } = await logIn(server, MOBILE);
  const nobody = { "/me": "401 6", "/im/sync": "401 6", "/scan_pc/x": "200 13", "/logout": "200 13" };
  const ended = { ...nobody, "/me": "401 7", "/im/sync": "401 7" };
  const cases: readonly (readonly [string, Record<string, string>, Record<string, string>])[] = [
    ["none", {}, nobody],
    ["no token", { authorization: "Basic YTpi" }, nobody],
    ["a text", { authToken: "x" }, nobody],
    ["an unknown login", { authorization: `Bearer ${"a".repeat(20)}.${"b".repeat(43)}` }, nobody],
    ["a login that has ended", { authorization: `Bearer ${token}` }, ended],
    ["the same with another secret", { authorization: `Bearer ${id}.${"b".repeat(43)}` }, ended],
    ["a header beside a good cookie", { authToken: "x", cookie: `hearth_session=${appToken}` }, nobody],
  ];
  for (const [name, headers, expected] of cases) {
    await t.step(name, async () => assert.deepEqual(await doorsOf(server, headers), expected));
  }
});
