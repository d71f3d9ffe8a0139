/**
 * Login codes by SMS: six digits, single use, only the newest works, five minutes, five tries.
 */

import { addressKey, isLoopback } from "./address.ts";
import { AppError } from "./app_error.ts";
import type { Im } from "./im.ts";
import type { Origin } from "./origin.ts";
import { sendSms } from "./sms.ts";

const PURPOSE = "login";
const CODE_MS = 5 * 60_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * Makes a code and sends it. The code is returned for the development page alone: the caller decides whether it may
 * be shown. Known and unknown numbers get the same answer.
 *
 * @throws {AppError} `login/code-off`, `mobile/invalid`, `request/too-often`, `server/error`
 */
export async function sendLoginCode(
  im: Im,
  mobile: string,
  origin: Origin,
): Promise<{ readonly code: string }> {
  const { smsProvider } = im.options;
  if (smsProvider === "none") throw new AppError("login/code-off", "Login by code is switched off here.");
  const number = requireMobile(mobile);
  await countCode(im, number, origin);
  const code = randomDigits(6);
  await im.store.kv.putLoginCode(PURPOSE, number, code, CODE_MS);
  try {
    await sendSms(im, number, code);
  } catch (cause) {
    im.log.error("login code not sent", cause);
    // It reached nobody, so the same person may ask again at once.
    await im.store.kv.removeLoginCode(PURPOSE, number);
    await im.store.kv.forgetCount("code_pause", number);
    throw new AppError("server/error", "The code could not be sent. Try again.");
  }
  return { code };
}

/** On a development server this machine's own requests are not limited. */
async function countCode(im: Im, mobile: string, origin: Origin): Promise<void> {
  if (im.options.mode === "development" && isLoopback(origin.address)) return;
  const { codePauseSeconds, codesPerMobileDay, codesPerIpMinute, codesPerHour } = im.options.loginLimits;
  const retryAfterMs = await im.store.kv.countWithin([
    { kind: "code_pause", subject: mobile, limit: 1, windowMs: codePauseSeconds * 1_000 },
    { kind: "codes_a_day", subject: mobile, limit: codesPerMobileDay, windowMs: DAY_MS },
    {
      kind: "codes_of_address",
      subject: addressKey(origin.address),
      limit: codesPerIpMinute,
      windowMs: MINUTE_MS,
    },
    { kind: "codes_an_hour", subject: "all", limit: codesPerHour, windowMs: HOUR_MS },
  ]);
  if (retryAfterMs > 0) {
    throw new AppError("request/too-often", "Too many codes were asked for. Try again later.", {
      retryAfterMs,
    });
  }
}

/**
 * Uses up a code; gives the mobile number as it is stored.
 *
 * @throws {AppError} `mobile/invalid`, `code/wrong`, `code/expired`
 */
export async function takeCode(im: Im, mobile: string, code: string): Promise<string> {
  const number = requireMobile(mobile);
  switch (await im.store.kv.takeLoginCode(PURPOSE, number, code)) {
    case "right":
      return number;
    case "wrong":
      throw new AppError("code/wrong", "The code is wrong.");
    case "expired":
      throw new AppError("code/expired", "The code has expired. Ask for a new one.");
  }
}

/** Digits, with a `+` for numbers that name their country; spaces and hyphens are dropped. */
function requireMobile(mobile: string): string {
  const number = mobile.replaceAll(/[\s-]/g, "");
  if (!/^\+?[0-9]{5,15}$/.test(number)) throw new AppError("mobile/invalid", "This is no mobile number.");
  return number;
}

/** So many decimal digits, each equally likely. */
export function randomDigits(count: number): string {
  let digits = "";
  while (digits.length < count) {
    for (const byte of crypto.getRandomValues(new Uint8Array(2 * count))) {
      // 250 is the largest multiple of 10 in a byte.
      if (byte < 250 && digits.length < count) digits += byte % 10;
    }
  }
  return digits;
}
