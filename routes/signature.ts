/** The signature of the server API: `sign = sha1hex(nonce|secret|timestamp)` in headers, as its SDKs make it. */

import { type Im, ImError } from "../im/mod.ts";
import { sameBytes } from "../store/mod.ts";

/** A signature counts this long before and after its timestamp. */
const WINDOW_MS = 5 * 60_000;

const utf8 = new TextEncoder();

/**
 * Checks who signed a request; a signature is accepted once.
 *
 * @throws {ImError} `signature/missing`, `signature/wrong`, `signature/expired`
 */
export async function requireSignature(im: Im, headers: Headers, secret: string): Promise<void> {
  const nonce = headers.get("nonce");
  const timestamp = headers.get("timestamp");
  const sign = headers.get("sign");
  if (nonce === null || timestamp === null || sign === null || !/^\d{1,15}$/.test(timestamp)) {
    throw new ImError("signature/missing", "The headers nonce, timestamp (ms) and sign are required.");
  }
  const expected = await sha1Hex(`${nonce}|${secret}|${timestamp}`);
  if (!sameBytes(utf8.encode(sign.toLowerCase()), utf8.encode(expected))) {
    throw new ImError("signature/wrong", "The signature is wrong.");
  }
  if (Math.abs(im.nowMs() - Number(timestamp)) > WINDOW_MS) {
    throw new ImError(
      "signature/expired",
      "The timestamp is more than five minutes off this server's clock.",
    );
  }
  // A timestamp may lie a whole window ahead, and counts for another one after that.
  if (!await im.store.kv.useOnce("server_api", expected, 2 * WINDOW_MS)) {
    throw new ImError("signature/wrong", "This signature has been used. Sign every request anew.");
  }
}

async function sha1Hex(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-1", utf8.encode(text))).toHex();
}
