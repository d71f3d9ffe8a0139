/**
 * `session.*`: where I am logged in, and ending a login.
 */

import { type ClientRequest, kickLogin, listDeviceLogins, revokeLoginSession } from "../store/mod.ts";
import type { Device } from "../wire.ts";
import type { Caller } from "./caller.ts";
import type { OnceOutcome } from "./once.ts";
import type { Outcome } from "./outcome.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { closeLogin, devicesChanged } from "./login.ts";

/** My live logins, the most recently used first. */
export async function listDevices(im: Im, caller: Caller): Promise<Outcome> {
  const logins = await listDeviceLogins(im.store, caller.userId);
  const devices = logins.map((login): Device => ({
    clientId: login.clientId,
    platform: login.platform,
    name: login.deviceName,
    lastActiveAt: login.lastActiveAtMs,
    online: login.online,
    current: login.id === caller.loginId,
  }));
  return { resultJson: JSON.stringify({ devices }), notices: [] };
}

/**
 * Ends one of my logins, this one included.
 *
 * Refusals: `session/not-found`.
 */
export async function kickDevice(
  im: Im,
  caller: Caller,
  request: { clientId: string },
  identity: ClientRequest | null,
): Promise<OnceOutcome> {
  const kicked = await kickLogin(im.store, caller.userId, request.clientId, identity, im.nowMs());
  if (kicked === null) {
    throw new ImError("session/not-found", "You are not logged in there.", { field: "clientId" });
  }
  return {
    resultJson: "{}",
    notices: [closeLogin(kicked.ended, "kicked"), devicesChanged(caller.userId)],
    repeated: kicked.repeated,
  };
}

/** Ends the login this request was made with. */
export async function logoutDevice(im: Im, caller: Caller): Promise<Outcome> {
  const ended = await revokeLoginSession(im.store, caller.loginId, "logout", im.nowMs());
  if (ended === null) return { resultJson: "{}", notices: [] };
  return { resultJson: "{}", notices: [closeLogin(ended, "logout"), devicesChanged(caller.userId)] };
}
