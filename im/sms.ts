import type { Im } from "./im.ts";

const WEBHOOK_TIMEOUT_MS = 10_000;

/**
 * Sends a login code: into the log of a development server, or to `SMS_WEBHOOK_URL` as
 * `{"mobile", "code", "purpose": "login"}` with the headers `timestamp` (ms) and `signature`: the hexadecimal
 * HMAC-SHA256 of `timestamp.body` under the server API's secret.
 *
 * @throws when the webhook cannot be reached or answers anything but 2xx
 */
export async function sendSms(im: Im, mobile: string, code: string): Promise<void> {
  const { smsProvider, smsWebhookUrl, smsWebhookSecret } = im.options;
  if (smsProvider === "log") return im.log.info(`login code ${code} for ${mobile}`);
  if (smsWebhookUrl === null || smsWebhookSecret === null) throw new Error("the SMS webhook is not set up");
  const body = JSON.stringify({ mobile, code, purpose: "login" });
  const timestamp = String(im.nowMs());
  const response = await fetch(smsWebhookUrl, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      timestamp,
      signature: await hmacHex(smsWebhookSecret, `${timestamp}.${body}`),
    },
    body,
    redirect: "error",
    signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the SMS webhook answered ${response.status}`);
}

async function hmacHex(secret: string, text: string): Promise<string> {
  const utf8 = new TextEncoder();
  const key = await crypto.subtle.importKey(
    "raw",
    utf8.encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8.encode(text))).toHex();
}
