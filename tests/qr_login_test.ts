import assert from "node:assert/strict";
import {
  AppError,
  authenticateToken,
  cancelQrLogin,
  confirmQrLogin,
  createQrLogin,
  type Im,
  issueToken,
  type Login,
  pollQrLogin,
  type QrLogin,
  scanQrLogin,
} from "../im/mod.ts";
import { QrPolls } from "../im/qr_polls.ts";
import type { AppErrorName } from "../wire.ts";
import { createUsers, openIm } from "./im.ts";
import { within } from "./mqtt_client.ts";

const PAGE = {
  address: "192.168.7.9",
  userAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0",
};
const BROWSER = { clientId: "browser", platform: 5, deviceName: "Web" };
const NOBODY_LEFT = new AbortController().signal;

async function phoneOf(im: Im, userId: string, clientId = `phone-${userId}`): Promise<Login> {
  const { imToken } = await issueToken(im, { userId, clientId, platform: 2 }, PAGE);
  return await authenticateToken(im, imToken, "im");
}

async function openQr(im: Im): Promise<{ qr: QrLogin; ann: Login; ben: Login }> {
  await createUsers(im, "ann", "ben");
  return {
    qr: await createQrLogin(im, BROWSER, PAGE),
    ann: await phoneOf(im, "ann"),
    ben: await phoneOf(im, "ben"),
  };
}

function poll(im: Im, qr: QrLogin, seen = false, signal = NOBODY_LEFT) {
  return pollQrLogin(im, { qrId: qr.qrId, pollSecret: qr.pollSecret, seen }, signal);
}

async function refused(step: Promise<unknown>, error: AppErrorName): Promise<void> {
  await assert.rejects(step, (thrown) => thrown instanceof AppError && thrown.error === error);
}

Deno.test("A page waits, learns of the scan, and takes the login once when the phone has confirmed", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  const first = poll(im, qr);
  const scanned = await scanQrLogin(im, ann, qr.qrId);
  assert.deepEqual(
    { ...scanned, expiresInMs: 0, createdAt: 0 },
    {
      qrId: qr.qrId,
      expiresInMs: 0,
      platform: 5,
      device: "Windows 10",
      browser: "Firefox 130",
      ip: "192.168.7.9",
      place: "local-network",
      createdAt: 0,
    },
  );
  assert.ok(!JSON.stringify(scanned).includes(`"${qr.number}"`), "the phone never sees the number");
  assert.deepEqual(await first, { state: "scanned", userName: "ann", portrait: "" });

  const second = poll(im, qr, true);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  const taken = await second;
  assert.equal(taken.state, "confirmed");
  if (taken.state !== "confirmed") return;
  const login = await authenticateToken(im, taken.login.imToken, "im");
  assert.deepEqual({ ...login, loginId: "" }, {
    userId: "ann",
    clientId: "browser",
    loginId: "",
    platform: 5,
  });
  assert.deepEqual(await poll(im, qr), { state: "expired" });
});

Deno.test("Scan and confirm in the same instant still log the page in", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  const waiting = poll(im, qr);
  await Promise.all([
    scanQrLogin(im, ann, qr.qrId).then(() => confirmQrLogin(im, ann, qr.qrId, qr.number)),
    waiting,
  ]);
  const seen = await waiting;
  const last = seen.state === "scanned" ? await poll(im, qr, true) : seen;
  assert.equal(last.state, "confirmed");
});

Deno.test("Of many polls at the same time one gets the login", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  const polls = Array.from({ length: 8 }, () => poll(im, qr, true));
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  const states = (await Promise.all(polls)).map(({ state }) => state);
  assert.equal(states.filter((state) => state === "confirmed").length, 1, states.join());
});

Deno.test("A newer poll ends the older one, which leaves the login to it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  const older = poll(im, qr, true);
  const newer = poll(im, qr, true);
  assert.deepEqual(await within("the older answer", older), { state: "waiting" });
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  assert.equal((await newer).state, "confirmed");
});

Deno.test("A poll that nobody waits for any more leaves a confirmed login to the next", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  const left = AbortSignal.abort();
  assert.deepEqual(await poll(im, qr, true, left), { state: "waiting" });
  assert.equal((await poll(im, qr, true)).state, "confirmed");
});

Deno.test("Of two polls the one that arrived later is the newer, whichever is proved first", async () => {
  const polls = new QrPolls();
  const [first, second] = [polls.nextOrder(), polls.nextOrder()];
  const hold = (order: number, run: (signal: AbortSignal) => Promise<void>) =>
    polls.hold({ qrId: "qr", order }, NOBODY_LEFT, run);
  await hold(second, async (signal) => {
    await hold(first, (older) => Promise.resolve(assert.ok(older.aborted)));
    assert.ok(!signal.aborted);
    await hold(polls.nextOrder(), (newest) => Promise.resolve(assert.ok(!newest.aborted)));
    assert.ok(signal.aborted);
  });
});

Deno.test("A poll with a wrong secret ends nobody's", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  const older = poll(im, qr);
  const waiting = poll(im, qr);
  assert.equal((await within("the older answer", older)).state, "waiting");
  assert.deepEqual(await poll(im, { ...qr, pollSecret: "guess" }), { state: "expired" });
  await scanQrLogin(im, ann, qr.qrId);
  assert.equal((await waiting).state, "scanned");
});

Deno.test("When the login cannot be made, the next poll makes it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await im.store.sql`
    ALTER TABLE t_user_session ADD CONSTRAINT no_browser CHECK (client_id <> 'browser') NOT VALID`;
  await assert.rejects(poll(im, qr, true), /no_browser/);
  await im.store.sql`ALTER TABLE t_user_session DROP CONSTRAINT no_browser`;
  const taken = await poll(im, qr, true);
  assert.equal(taken.state === "confirmed" && taken.login.userId, "ann");
  assert.deepEqual(await poll(im, qr), { state: "expired" }, "once");
});

Deno.test("A login that could not be made can still be cancelled, and is gone when its minute is over", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const { qr, ann } = await openQr(im);
  const late = await createQrLogin(im, BROWSER, PAGE);
  await im.store.sql`
    ALTER TABLE t_user_session ADD CONSTRAINT no_browser CHECK (client_id <> 'browser') NOT VALID`;
  for (const each of [qr, late]) {
    await scanQrLogin(im, ann, each.qrId);
    await confirmQrLogin(im, ann, each.qrId, each.number);
    await assert.rejects(poll(im, each, true), /no_browser/);
  }
  await cancelQrLogin(im, ann, qr.qrId);
  assert.deepEqual(await poll(im, qr), { state: "cancelled" });
  clock.aheadMs = 60_001;
  assert.deepEqual(await poll(im, late), { state: "expired" });
});

Deno.test("A page whose user was deleted meanwhile gets nothing", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await im.store.sql`UPDATE t_user SET deleted = true WHERE uid = 'ann'`;
  await refused(poll(im, qr, true), "qr/gone");
});

Deno.test("A confirmed login may be cancelled by its phone until the page takes it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann, ben } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await refused(cancelQrLogin(im, ben, qr.qrId), "qr/other-phone");
  await cancelQrLogin(im, ann, qr.qrId);
  assert.deepEqual(await poll(im, qr), { state: "cancelled" });
});

Deno.test("Without the page's secret nobody takes the login, and is told so at once", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  const other = await createQrLogin(im, BROWSER, PAGE);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  for (const pollSecret of ["", "guess", other.pollSecret]) {
    assert.deepEqual(await pollQrLogin(im, { qrId: qr.qrId, pollSecret, seen: false }, NOBODY_LEFT), {
      state: "expired",
    });
  }
  assert.equal((await poll(im, qr)).state, "confirmed");
});

Deno.test("An unknown QR login is gone for everybody", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await refused(scanQrLogin(im, ann, "nothing"), "qr/gone");
  await refused(confirmQrLogin(im, ann, "nothing", "12"), "qr/gone");
  await refused(cancelQrLogin(im, ann, "nothing"), "qr/gone");
  assert.deepEqual(await poll(im, { ...qr, qrId: "nothing" }), { state: "expired" });
});

Deno.test("A QR login that nobody scanned in two minutes is gone", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const { qr, ann } = await openQr(im);
  clock.aheadMs = 119_000;
  assert.equal(qr.expiresInMs, 120_000);
  clock.aheadMs = 120_001;
  await refused(scanQrLogin(im, ann, qr.qrId), "qr/gone");
  assert.deepEqual(await poll(im, qr), { state: "expired" });
});

Deno.test("A scan gives two minutes more, once; scanning again gives none", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const { qr, ann } = await openQr(im);
  clock.aheadMs = 100_000;
  await scanQrLogin(im, ann, qr.qrId);
  clock.aheadMs = 200_000;
  const { expiresInMs } = await scanQrLogin(im, ann, qr.qrId);
  assert.ok(expiresInMs <= 20_000 && expiresInMs > 0, `${expiresInMs}`);
  clock.aheadMs = 220_001;
  await refused(confirmQrLogin(im, ann, qr.qrId, qr.number), "qr/gone");
});

Deno.test("A confirmed login that the page does not take within a minute is gone", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  clock.aheadMs = 60_001;
  assert.deepEqual(await poll(im, qr), { state: "expired" });
});

Deno.test("Confirming or cancelling before a scan is refused", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await refused(confirmQrLogin(im, ann, qr.qrId, qr.number), "qr/not-scanned");
  await refused(cancelQrLogin(im, ann, qr.qrId), "qr/not-scanned");
});

Deno.test("Another phone can neither scan, confirm nor cancel, at any time; nor can another phone of the same user", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann, ben } = await openQr(im);
  const tablet = await phoneOf(im, "ann", "tablet-ann");
  await scanQrLogin(im, ann, qr.qrId);
  for (const other of [ben, tablet]) {
    await refused(scanQrLogin(im, other, qr.qrId), "qr/other-phone");
    await refused(confirmQrLogin(im, other, qr.qrId, qr.number), "qr/other-phone");
    await refused(cancelQrLogin(im, other, qr.qrId), "qr/other-phone");
  }
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await refused(scanQrLogin(im, ben, qr.qrId), "qr/other-phone");
  await refused(confirmQrLogin(im, ben, qr.qrId, qr.number), "qr/other-phone");
  const taken = await poll(im, qr);
  assert.equal(taken.state === "confirmed" && taken.login.userId, "ann");
});

Deno.test("After a cancellation nothing brings the login back", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  const waiting = poll(im, qr, true);
  await cancelQrLogin(im, ann, qr.qrId);
  assert.deepEqual(await waiting, { state: "cancelled" });
  await cancelQrLogin(im, ann, qr.qrId);
  await refused(scanQrLogin(im, ann, qr.qrId), "qr/cancelled");
  await refused(confirmQrLogin(im, ann, qr.qrId, qr.number), "qr/cancelled");
  assert.deepEqual(await poll(im, qr), { state: "cancelled" });
});

Deno.test("A claimed login can be neither scanned nor cancelled; a second confirmation by its phone does nothing", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann, ben } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  assert.equal((await poll(im, qr)).state, "confirmed");
  await confirmQrLogin(im, ann, qr.qrId, qr.number);
  await refused(confirmQrLogin(im, ben, qr.qrId, qr.number), "qr/other-phone");
  await refused(scanQrLogin(im, ann, qr.qrId), "qr/gone");
  await refused(cancelQrLogin(im, ann, qr.qrId), "qr/gone");
  assert.deepEqual(await poll(im, qr), { state: "expired" });
});

Deno.test("A wrong number is refused, and three of them cancel", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  const wrong = qr.number === "00" ? "01" : "00";
  for (let i = 0; i < 3; i++) await refused(confirmQrLogin(im, ann, qr.qrId, wrong), "number/wrong");
  await refused(confirmQrLogin(im, ann, qr.qrId, qr.number), "qr/cancelled");
  assert.deepEqual(await poll(im, qr), { state: "cancelled" });
});

Deno.test("Wrong numbers sent at the same time are all counted", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr, ann } = await openQr(im);
  await scanQrLogin(im, ann, qr.qrId);
  const wrong = qr.number === "00" ? "01" : "00";
  const errors = await Promise.all(Array.from(
    { length: 10 },
    () => confirmQrLogin(im, ann, qr.qrId, wrong).then(() => "none", (refusal: AppError) => refusal.error),
  ));
  assert.equal(errors.filter((error) => error === "number/wrong").length, 3, errors.join());
  assert.equal(errors.filter((error) => error === "qr/cancelled").length, 7, errors.join());
});

Deno.test("The number may be left out in development and must be typed in production", async () => {
  await using development = await openIm();
  {
    const { qr, ann } = await openQr(development.im);
    await scanQrLogin(development.im, ann, qr.qrId);
    await confirmQrLogin(development.im, ann, qr.qrId, undefined);
  }
  await using production = await openIm({ mode: "production" });
  const { qr, ann } = await openQr(production.im);
  await scanQrLogin(production.im, ann, qr.qrId);
  await refused(confirmQrLogin(production.im, ann, qr.qrId, undefined), "number/missing");
  await confirmQrLogin(production.im, ann, qr.qrId, qr.number);
});

Deno.test("A poll ends at once when nobody waits for it any more", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { qr } = await openQr(im);
  const left = new AbortController();
  const waiting = poll(im, qr, false, left.signal);
  left.abort();
  assert.deepEqual(await waiting, { state: "waiting" });
});
