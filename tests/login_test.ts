import assert from "node:assert/strict";
import {
  AppError,
  authenticateConnect,
  authenticateToken,
  endLogin,
  getMe,
  type Im,
  ImError,
  issueToken,
  loginByCode,
  sendLoginCode,
} from "../im/mod.ts";
import { findLoginSession, getOrCreateUserByMobile, openSql } from "../store/mod.ts";
import type { AppErrorName, ErrorName } from "../wire.ts";
import { callerOf, createUsers, openIm, request } from "./im.ts";

const HERE = { address: "127.0.0.1", userAgent: "" };
const ELSEWHERE = { address: "203.0.113.5", userAgent: "" };
const MOBILE = "13800000000";
const PHONE = { clientId: "phone", platform: 2 };

async function refused(step: Promise<unknown>, error: AppErrorName | ErrorName): Promise<Error> {
  let thrown: unknown;
  await assert.rejects(step, (refusal) => (thrown = refusal, true));
  assert.ok((thrown instanceof AppError || thrown instanceof ImError) && thrown.error === error, `${thrown}`);
  return thrown;
}

async function logIn(im: Im, mobile = MOBILE, installation = PHONE) {
  const { code } = await sendLoginCode(im, mobile, HERE);
  return await loginByCode(im, { mobile, code, ...installation }, HERE);
}

Deno.test("The first login of a number makes a user, the next one finds him", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const first = await logIn(im);
  assert.equal(first.register, true);
  assert.ok(!first.userName.includes(MOBILE), "the number is nobody's business");
  const second = await logIn(im, "138-0000 0000", { clientId: "tablet", platform: 8 });
  assert.deepEqual([second.register, second.userId], [false, first.userId]);
  const login = await authenticateToken(im, second.appToken, "app");
  assert.deepEqual(await getMe(im, login), {
    userId: first.userId,
    clientId: "tablet",
    platform: 8,
    name: first.userName,
    portrait: "",
  });
});

Deno.test("First logins of a number at the same time make one user", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const made = await Promise.all(
    Array.from({ length: 8 }, () => getOrCreateUserByMobile(im.store, MOBILE, "somebody", im.nowMs())),
  );
  assert.equal(new Set(made.map(({ user }) => user.userId)).size, 1);
  assert.equal(made.filter(({ created }) => created).length, 1);
});

Deno.test("A code works once, only the newest, for five minutes", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const old = await sendLoginCode(im, MOBILE, HERE);
  let { code } = await sendLoginCode(im, MOBILE, HERE);
  while (code === old.code) ({ code } = await sendLoginCode(im, MOBILE, HERE));
  await refused(loginByCode(im, { mobile: MOBILE, code: old.code, ...PHONE }, HERE), "code/wrong");
  await loginByCode(im, { mobile: MOBILE, code, ...PHONE }, HERE);
  await refused(loginByCode(im, { mobile: MOBILE, code, ...PHONE }, HERE), "code/expired");
  const last = await sendLoginCode(im, MOBILE, HERE);
  clock.aheadMs += 5 * 60_000 + 1;
  await refused(loginByCode(im, { mobile: MOBILE, code: last.code, ...PHONE }, HERE), "code/expired");
});

Deno.test("Five wrong codes end a code, also when they come at the same time", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { code } = await sendLoginCode(im, MOBILE, HERE);
  const wrong = code === "000000" ? "000001" : "000000";
  const guesses = await Promise.all(Array.from(
    { length: 20 },
    () => loginByCode(im, { mobile: MOBILE, code: wrong, ...PHONE }, HERE).catch((refusal) => refusal.error),
  ));
  assert.equal(guesses.filter((error) => error === "code/wrong").length, 5, guesses.join());
  assert.equal(guesses.filter((error) => error === "code/expired").length, 15, guesses.join());
  await refused(loginByCode(im, { mobile: MOBILE, code, ...PHONE }, HERE), "code/expired");
});

Deno.test("What is no mobile number is refused", async () => {
  await using opened = await openIm();
  for (const mobile of ["", "1234", "+", "abcdefgh", "1380000000000000", "13800000000;"]) {
    await refused(sendLoginCode(opened.im, mobile, HERE), "mobile/invalid");
  }
});

Deno.test("Codes to a number come a minute apart and ten a day", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  for (let i = 0; i < 10; i++) {
    await sendLoginCode(im, MOBILE, ELSEWHERE);
    const refusal = await refused(sendLoginCode(im, MOBILE, ELSEWHERE), "request/too-often") as AppError;
    assert.ok(refusal.retryAfterMs! > 0);
    clock.aheadMs += 60_001;
  }
  const refusal = await refused(sendLoginCode(im, MOBILE, ELSEWHERE), "request/too-often") as AppError;
  assert.ok(refusal.retryAfterMs! > 20 * 3_600_000, `${refusal.retryAfterMs}`);
  await sendLoginCode(im, "13900000000", ELSEWHERE);
  clock.aheadMs += 24 * 3_600_000;
  await sendLoginCode(im, MOBILE, ELSEWHERE);
});

Deno.test("An address gets thirty codes a minute, its neighbours of one IPv6 network included", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const origin = (host: number) => ({ address: `2001:db8:0:1::${host.toString(16)}`, userAgent: "" });
  for (let i = 0; i < 30; i++) await sendLoginCode(im, `1390000${1000 + i}`, origin(i));
  await refused(sendLoginCode(im, "13900009999", origin(77)), "request/too-often");
  // What was refused has not been counted for its number.
  await sendLoginCode(im, "13900009999", { address: "2001:db8:0:2::1", userAgent: "" });
});

Deno.test("A code that could not be sent is no code, and may be asked for again at once", async () => {
  await using opened = await openIm({
    smsProvider: "webhook",
    smsWebhookUrl: "http://127.0.0.1:1/",
    smsWebhookSecret: "a secret of the tests",
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  for (let i = 0; i < 2; i++) await refused(sendLoginCode(opened.im, MOBILE, ELSEWHERE), "server/error");
});

Deno.test("The SMS webhook gets the code with a signature over time and body", async () => {
  const received = Promise.withResolvers<{ body: string; headers: Headers }>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    received.resolve({ body: await request.text(), headers: request.headers });
    return new Response("ok");
  });
  const secret = "a secret of the tests";
  await using opened = await openIm({
    smsProvider: "webhook",
    smsWebhookUrl: `http://127.0.0.1:${server.addr.port}/sms`,
    smsWebhookSecret: secret,
  });
  const { code } = await sendLoginCode(opened.im, MOBILE, ELSEWHERE);
  const { body, headers } = await received.promise;
  assert.deepEqual(JSON.parse(body), { mobile: MOBILE, code, purpose: "login" });
  const { createHmac } = await import("node:crypto");
  assert.equal(
    headers.get("signature"),
    createHmac("sha256", secret).update(`${headers.get("timestamp")}.${body}`).digest("hex"),
  );
});

Deno.test("A login has two secrets, each good for its own purpose and for its own client alone", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { imToken, appToken, userId } = await logIn(im);
  await authenticateToken(im, imToken, "im");
  await authenticateToken(im, appToken, "app");
  const [id, secret] = imToken.split(".");
  for (
    const [token, kind] of [
      [appToken, "im"],
      [imToken, "app"],
      [`${id}.${"A".repeat(43)}`, "im"],
      [`unknown.${secret}`, "im"],
      [`${id}.${secret}.`, "im"],
      ["", "im"],
      ["\u{1F600}", "app"],
    ] as const
  ) await refused(authenticateToken(im, token, kind), "token/invalid");
  const connect = { userId, clientId: "phone", password: imToken, appToken: null };
  await authenticateConnect(im, connect);
  await authenticateConnect(im, { ...connect, password: null, appToken });
  for (
    const wrong of [{ userId: "somebody" }, { clientId: "else" }, { password: appToken }, { password: null }]
  ) {
    await refused(authenticateConnect(im, { ...connect, ...wrong }), "token/invalid");
  }
});

Deno.test("A login that has ended is refused at once, cached or not", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const { imToken, appToken } = await logIn(im);
  const login = await authenticateToken(im, imToken, "im");
  const notices = await endLogin(im, login, "logout");
  assert.deepEqual(notices.map((notice) => notice.kind), ["close", "event"]);
  assert.deepEqual(await endLogin(im, login, "logout"), []);
  await refused(authenticateToken(im, imToken, "im"), "token/revoked");
  await refused(authenticateToken(im, appToken, "app"), "token/revoked");
  clock.aheadMs += 11 * 60_000;
  await refused(authenticateToken(im, imToken, "im"), "token/revoked");
});

Deno.test("What was read before a revocation does not come back into the cache after it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { imToken } = await logIn(im);
  const id = imToken.split(".")[0]!;
  const { version } = await im.store.kv.getCachedLogin(id);
  const found = await findLoginSession(im.store, id);
  assert.ok(found.status === "live");
  await im.store.kv.cacheRevocation(id, "kicked");
  await im.store.kv.cacheLogin(found.login, version);
  assert.deepEqual(await findLoginSession(im.store, id), { status: "revoked" });
});

Deno.test("A revocation that Postgres does not store refuses the login all the same, until it is stored", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { imToken } = await logIn(im);
  const login = await authenticateToken(im, imToken, "im");
  const unreachable = openSql("postgres://nobody@127.0.0.1:1/none", {
    maxConnections: 1,
    log: im.log,
    applicationName: "hearth test",
  });
  await assert.rejects(endLogin({ ...im, store: { ...im.store, sql: unreachable } }, login, "logout"));
  await unreachable.end();
  await refused(authenticateToken(im, imToken, "im"), "token/revoked");
  assert.equal((await endLogin(im, login, "logout")).length, 2);
});

Deno.test("A new login of an installation ends its former one, whoever's it was", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const first = await issueToken(im, { userId: "ann", ...PHONE }, HERE);
  const second = await issueToken(im, { userId: "ann", ...PHONE }, HERE);
  assert.deepEqual(second.notices.map((notice) => notice.kind === "close" && notice.reason), [
    "logout",
    false,
  ]);
  await refused(authenticateToken(im, first.imToken, "im"), "token/revoked");
  const third = await issueToken(im, { userId: "ben", ...PHONE }, HERE);
  assert.deepEqual(third.notices.map((notice) => notice.kind === "close" && notice.reason), [
    "other-user",
    false,
  ]);
  await refused(authenticateToken(im, second.imToken, "im"), "token/revoked");
  await authenticateToken(im, third.imToken, "im");
});

Deno.test("Many logins of one installation at the same time leave one", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  const logins = await Promise.all(
    Array.from({ length: 8 }, () => issueToken(im, { userId: "ann", ...PHONE }, HERE)),
  );
  const answers = await Promise.all(
    logins.map((login) => authenticateToken(im, login.imToken, "im").then(() => "live", () => "ended")),
  );
  assert.equal(answers.filter((answer) => answer === "live").length, 1, answers.join());
});

Deno.test("SAME_PLATFORM=kick keeps one login of each platform group; keep keeps them all", async () => {
  for (const [samePlatform, left] of [["kick", ["mac", "none1", "none2", "pad"]], ["keep", null]] as const) {
    await using opened = await openIm({ samePlatform });
    const { im } = opened;
    await createUsers(im, "ann");
    const installations = [["windows", 3], ["pad", 8], ["mac", 4], ["none1", 0], ["none2", 0]] as const;
    for (const [clientId, platform] of installations) {
      await issueToken(im, { userId: "ann", clientId, platform }, HERE);
    }
    const { devices } = await request(im, callerOf("ann"), "session.devices", {});
    const expected = left ?? installations.map(([clientId]) => clientId).sort();
    assert.deepEqual(devices.map((device) => device.clientId).sort(), expected);
  }
});

Deno.test("My devices are listed, and any of them can be ended; nobody else's", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const phone = await issueToken(im, { userId: "ann", ...PHONE, deviceName: "Pixel" }, HERE);
  const laptop = await issueToken(im, { userId: "ann", clientId: "laptop", platform: 4 }, HERE);
  await issueToken(im, { userId: "ben", clientId: "ben-phone", platform: 1 }, HERE);
  const caller = callerOf("ann", { clientId: "phone", loginId: phone.imToken.split(".")[0]! });
  const { devices } = await request(im, caller, "session.devices", {});
  assert.deepEqual(
    devices.map(({ clientId, name, current, online }) => ({ clientId, name, current, online }))
      .sort((a, b) => a.clientId < b.clientId ? -1 : 1),
    [
      { clientId: "laptop", name: "", current: false, online: false },
      { clientId: "phone", name: "Pixel", current: true, online: false },
    ],
  );
  const { notices } = await request(im, caller, "session.kick", { clientId: "laptop" });
  assert.deepEqual(notices[0], {
    kind: "close",
    userId: "ann",
    clientId: "laptop",
    loginId: laptop.imToken.split(".")[0],
    reason: "kicked",
  });
  await refused(authenticateToken(im, laptop.imToken, "im"), "token/revoked");
  for (const clientId of ["laptop", "ben-phone", "nothing"]) {
    await refused(request(im, caller, "session.kick", { clientId }), "session/not-found");
  }
  await request(im, caller, "session.logout", {});
  await refused(authenticateToken(im, phone.appToken, "app"), "token/revoked");
});
