/** The server API as an outside tool calls it: signed headers, JSON. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

/** Where a server is and what its secret is. */
export interface AdminTarget {
  readonly url: string;
  readonly adminSecret: string;
}

/** Headers that sign a request: `sign = sha1hex(nonce|secret|timestamp)`. */
export function signedHeaders(secret: string, timestampMs = Date.now()): Record<string, string> {
  const nonce = crypto.randomUUID();
  const sign = createHash("sha1").update(`${nonce}|${secret}|${timestampMs}`).digest("hex");
  return { nonce, timestamp: String(timestampMs), sign, "content-type": "application/json" };
}

/** Makes a signed request that must succeed; the answer is its `result`. */
export async function adminRequest(server: AdminTarget, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${server.url}${path}`, {
    method: "POST",
    headers: signedHeaders(server.adminSecret),
    body: JSON.stringify(body),
  });
  const answer = await response.json() as { code: number; msg: string; result?: unknown };
  assert.equal(answer.code, 0, `${path}: ${answer.msg}`);
  return answer.result;
}

/** Makes a user, and a login of his for one client; the answer is the IM token. */
export async function createLogin(
  server: AdminTarget,
  userId: string,
  clientId = `client-${userId}`,
  platform = 2,
): Promise<string> {
  await adminRequest(server, "/admin/user/create", { userId, name: userId, displayName: userId });
  const { token } = await adminRequest(server, "/admin/user/get_token", { userId, clientId, platform }) as {
    token: string;
  };
  return token;
}
