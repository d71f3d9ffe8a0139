/**
 * QR login: a page shows a QR and a number, a phone that is logged in scans and confirms, the page takes the login.
 *
 * pending → scanned (by one phone) → confirmed → claimed (once), or cancelled, or expired. Every step is a
 * compare-and-set on what was read, so that two at once are one after the other; only the page knows the poll secret,
 * so the QR alone lets nobody take the login. A login that cannot be made goes back from claimed to confirmed.
 */

import {
  findLoginSession,
  getUser,
  type QrSession,
  randomId,
  sameBytes,
  type User,
  type Versioned,
} from "../store/mod.ts";
import { isLoopback, isPrivate } from "./address.ts";
import { AppError } from "./app_error.ts";
import type { Im } from "./im.ts";
import { type Installation, makeLogin, type NewLogin } from "./login.ts";
import { randomDigits } from "./login_codes.ts";
import type { Origin } from "./origin.ts";
import { hashSecret, type Login, makeSecret } from "./tokens.ts";
import { describeUserAgent } from "./user_agent.ts";

/** From the picture to the scan, and again from the scan to the confirmation. */
const STEP_MS = 120_000;
/** From the confirmation until the page has taken the login. */
const CLAIM_MS = 60_000;
/** A poll is answered after this long, whatever happens. */
const POLL_MS = 50_000;
/** A watch tells of changes at once; reading again is for what it should have missed. */
const REREAD_MS = 2_000;
const MAX_WRONG_NUMBERS = 3;

/** A QR login for the page that asked. */
export interface QrLogin {
  /** Public: what stands in the QR. */
  readonly qrId: string;
  /** For the page alone. */
  readonly pollSecret: string;
  /** Two digits to show beside the QR. */
  readonly number: string;
  readonly expiresInMs: number;
}

/** A QR login as the phone sees it; never with the number. */
export interface ScannedQrLogin {
  readonly qrId: string;
  readonly expiresInMs: number;
  readonly platform: number;
  /** The kind of device, as in `Windows`; "" when unknown. */
  readonly device: string;
  /** As in `Firefox 130`; "" when unknown. */
  readonly browser: string;
  readonly ip: string;
  /** Where the address is, as far as it tells. */
  readonly place: "this-machine" | "local-network" | "";
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** What a poll brought; `expired` stands for every end there is nothing to say about. */
export type QrPoll =
  | { readonly state: "confirmed"; readonly login: NewLogin }
  | { readonly state: "scanned"; readonly userName: string; readonly portrait: string }
  | { readonly state: "waiting" | "cancelled" | "expired" };

/** Begins a QR login for an installation. */
export async function createQrLogin(
  im: Im,
  installation: Installation,
  origin: Origin,
): Promise<QrLogin> {
  const secret = await makeSecret();
  const nowMs = im.nowMs();
  const session: QrSession = {
    qrId: randomId(26),
    pollSecretHash: secret.hash,
    number: randomDigits(2),
    clientId: installation.clientId,
    platform: installation.platform,
    deviceName: (installation.deviceName ?? "").slice(0, 256),
    userAgent: origin.userAgent.slice(0, 512),
    address: origin.address,
    createdAtMs: nowMs,
    state: "pending",
    scannedBy: null,
    wrongNumbers: 0,
    expiresAtMs: nowMs + STEP_MS,
  };
  await im.store.kv.createQrSession(session);
  return { qrId: session.qrId, pollSecret: secret.text, number: session.number, expiresInMs: STEP_MS };
}

/**
 * A phone has scanned: from now on it alone may go on. Scanning again changes nothing.
 *
 * @throws {AppError} `qr/gone`, `qr/other-phone`, `qr/cancelled`
 */
export async function scanQrLogin(im: Im, phone: Login, qrId: string): Promise<ScannedQrLogin> {
  const session = await advance(im, qrId, (session) => {
    if (session.state === "claimed") throw gone();
    if (session.state === "cancelled") throw cancelled();
    if (session.state !== "pending") {
      requireScanner(session, phone);
      return session;
    }
    const { userId, loginId } = phone;
    return {
      ...session,
      state: "scanned",
      scannedBy: { userId, loginId },
      expiresAtMs: im.nowMs() + STEP_MS,
    };
  });
  const { device, browser } = describeUserAgent(session.userAgent);
  return {
    qrId,
    expiresInMs: session.expiresAtMs - im.nowMs(),
    platform: session.platform,
    device: device || session.deviceName,
    browser,
    ip: session.address,
    place: isLoopback(session.address) ? "this-machine" : isPrivate(session.address) ? "local-network" : "",
    createdAt: session.createdAtMs,
  };
}

/**
 * The phone's user lets the page in, having typed the number that the page shows; three wrong ones cancel. A second
 * confirmation by the same phone changes nothing.
 *
 * @param number may be left out in development
 * @throws {AppError} `qr/gone`, `qr/not-scanned`, `qr/other-phone`, `qr/cancelled`, `number/missing`, `number/wrong`
 */
export async function confirmQrLogin(
  im: Im,
  phone: Login,
  qrId: string,
  number: string | undefined,
): Promise<{ readonly platform: number; readonly expiresInMs: number }> {
  let isWrong = false;
  const session = await advance(im, qrId, (session) => {
    isWrong = false;
    if (session.state === "pending") throw notScanned();
    requireScanner(session, phone);
    if (session.state === "cancelled") throw cancelled();
    if (session.state !== "scanned") return session;
    if (number === undefined) {
      if (im.options.mode === "production") {
        throw new AppError("number/missing", "Type the number that the other screen shows.");
      }
    } else if (number !== session.number) {
      isWrong = true;
      const wrongNumbers = session.wrongNumbers + 1;
      return { ...session, wrongNumbers, state: wrongNumbers < MAX_WRONG_NUMBERS ? "scanned" : "cancelled" };
    }
    return { ...session, state: "confirmed", expiresAtMs: im.nowMs() + CLAIM_MS };
  });
  if (isWrong) throw new AppError("number/wrong", "This is not the number that the other screen shows.");
  return { platform: session.platform, expiresInMs: Math.max(0, session.expiresAtMs - im.nowMs()) };
}

/**
 * The phone's user refuses the page, after having let it in too, until the page has taken the login; doing it again
 * changes nothing.
 *
 * @throws {AppError} `qr/gone`, `qr/not-scanned`, `qr/other-phone`
 */
export async function cancelQrLogin(im: Im, phone: Login, qrId: string): Promise<void> {
  await advance(im, qrId, (session) => {
    if (session.state === "claimed") throw gone();
    if (session.state === "pending") throw notScanned();
    requireScanner(session, phone);
    return session.state === "cancelled" ? session : { ...session, state: "cancelled" };
  });
}

/** Moves a QR login on; `step` gives the same object back when there is nothing to change. */
async function advance(
  im: Im,
  qrId: string,
  step: (session: QrSession) => QrSession,
): Promise<QrSession> {
  for (;;) {
    const found = await im.store.kv.getQrSession(qrId);
    if (found === null || hasExpired(found.value, im.nowMs())) throw gone();
    const next = step(found.value);
    if (next === found.value || await im.store.kv.moveQrSession(found, next)) return next;
  }
}

/** Cancelled and claimed ones are remembered as such for a while. */
function hasExpired({ state, expiresAtMs }: QrSession, nowMs: number): boolean {
  return state !== "cancelled" && state !== "claimed" && expiresAtMs <= nowMs;
}

function requireScanner(session: QrSession, phone: Login): void {
  if (session.scannedBy?.loginId !== phone.loginId) {
    throw new AppError("qr/other-phone", "Another phone has scanned this code.");
  }
}

function gone(): AppError {
  return new AppError("qr/gone", "This QR code is no longer valid.");
}

function cancelled(): AppError {
  return new AppError("qr/cancelled", "This login was cancelled.");
}

function notScanned(): AppError {
  return new AppError("qr/not-scanned", "Scan the QR code first.");
}

/**
 * Waits for what happens to a QR login, up to 50 s. The credentials are given once; when they cannot be made, the next
 * poll may try again. A newer poll of the page ends an older one, which takes nothing any more.
 *
 * @param poll.seen the page knows of the scan already
 * @param signal ends the waiting when nobody waits for the answer any more
 */
export async function pollQrLogin(
  im: Im,
  poll: { readonly qrId: string; readonly pollSecret: string; readonly seen: boolean },
  signal: AbortSignal,
): Promise<QrPoll> {
  const { qrId, seen } = poll;
  const order = im.qrPolls.nextOrder();
  const hash = await hashSecret(poll.pollSecret);
  const found = await im.store.kv.getQrSession(qrId);
  // Who only guesses must not end the page's poll.
  if (found === null || !sameBytes(found.value.pollSecretHash, hash)) return { state: "expired" };
  return await im.qrPolls.hold(
    { qrId, order },
    signal,
    async (signal) => await answerPoll(im, found, seen, signal) ?? await awaitChange(im, qrId, seen, signal),
  );
}

async function awaitChange(im: Im, qrId: string, seen: boolean, signal: AbortSignal): Promise<QrPoll> {
  const { kv } = im.store;
  const changes = kv.watchQrSession(qrId).getReader();
  const deadlineMs = im.nowMs() + POLL_MS;
  try {
    let change = changes.read();
    while (!signal.aborted && im.nowMs() < deadlineMs) {
      const patience = new Patience(Math.min(REREAD_MS, deadlineMs - im.nowMs()), signal);
      const changed = await Promise.race([change, patience.over]);
      patience.end();
      // Whoever is gone must not take the login from a page that still waits.
      if (changed?.done === true || signal.aborted) break;
      if (changed !== null) change = changes.read();
      const found = changed?.value ?? await kv.getQrSession(qrId);
      if (found === null) return { state: "expired" };
      const result = await answerPoll(im, found, seen, signal);
      if (result !== null) return result;
    }
    return { state: "waiting" };
  } finally {
    await changes.cancel();
  }
}

/** What there is to say now; null when there is nothing. */
async function answerPoll(
  im: Im,
  found: Versioned<QrSession>,
  seen: boolean,
  signal: AbortSignal,
): Promise<QrPoll | null> {
  const session = found.value;
  if (hasExpired(session, im.nowMs())) return { state: "expired" };
  switch (session.state) {
    case "pending":
      return null;
    case "scanned": {
      if (seen) return null;
      const user = await requireScannedBy(im, session);
      return { state: "scanned", userName: user.displayName, portrait: user.portrait };
    }
    case "confirmed": {
      // A phone whose own login has ended since lets nobody in.
      const phone = await findLoginSession(im.store, session.scannedBy?.loginId ?? "");
      if (phone.status !== "live") return { state: "expired" };
      const user = await requireScannedBy(im, session);
      if (signal.aborted) return null;
      // Whoever moves it to claimed makes the login; anybody else looks again and finds it gone.
      if (!await im.store.kv.moveQrSession(found, { ...session, state: "claimed" })) return null;
      const origin = { address: session.address, userAgent: session.userAgent };
      try {
        return { state: "confirmed", login: await makeLogin(im, user, session, origin) };
      } catch (error) {
        await unclaim(im, session.qrId);
        throw error;
      }
    }
    case "cancelled":
      return { state: "cancelled" };
    case "claimed":
      return { state: "expired" };
  }
}

/** The login could not be made: the page may try again for as long as the confirmation holds. */
async function unclaim(im: Im, qrId: string): Promise<void> {
  try {
    await advance(im, qrId, (session) => (
      session.state === "claimed" ? { ...session, state: "confirmed" } : session
    ));
  } catch (cause) {
    im.log.error("QR login not given back", cause, { qrId });
  }
}

async function requireScannedBy(im: Im, session: QrSession): Promise<User> {
  const user = session.scannedBy === null ? null : await getUser(im.store, session.scannedBy.userId);
  if (user === null || user.deleted) throw gone();
  return user;
}

/** A moment of waiting that ends by itself or with a signal, and leaves nothing behind. */
class Patience {
  readonly over: Promise<null>;
  readonly end: () => void;

  constructor(ms: number, signal: AbortSignal) {
    const { promise, resolve } = Promise.withResolvers<null>();
    const finish = () => resolve(null);
    const timer = setTimeout(finish, ms);
    signal.addEventListener("abort", finish);
    this.over = promise;
    this.end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
    };
  }
}
