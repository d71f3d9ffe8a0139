/**
 * Logins: one makes two secrets, an IM token for MQTT and an app token for the pages and paths around it.
 */

import {
  createLoginSession,
  type EndedLogin,
  getOrCreateUserByMobile,
  getUser,
  type ReplacedLogins,
  revokeLoginSession,
  type User,
} from "../store/mod.ts";
import { AppError } from "./app_error.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { takeCode } from "./login_codes.ts";
import type { CloseNotice, Notice } from "./notice.ts";
import type { Origin } from "./origin.ts";
import { type Login, makeSecret } from "./tokens.ts";

/** A login just made; its secrets are told once. */
export interface NewLogin {
  readonly userId: string;
  readonly clientId: string;
  readonly platform: number;
  /** The MQTT password, and Bearer over HTTP; `id.secret`. */
  readonly imToken: string;
  /** The header `authToken`, or the page's cookie; `id.secret`. */
  readonly appToken: string;
  /** Whether this login made the user. */
  readonly register: boolean;
  readonly userName: string;
  readonly portrait: string;
  /** Logins that ended by it. */
  readonly notices: readonly Notice[];
}

/** What a login is given to. */
export interface Installation {
  readonly clientId: string;
  /** 0 unset, 1 iOS, 2 Android, 3 Windows, 4 macOS, 5 Web, 6 mini program, 7 Linux, 8 iPad, … */
  readonly platform: number;
  readonly deviceName?: string | undefined;
}

/** Platforms of which a user has one login, with `SAME_PLATFORM=kick`; 0 is none of them. */
const PLATFORM_GROUPS: readonly (readonly number[])[] = [[1, 2, 10], [3, 4, 7, 12], [8, 9, 11], [5], [6]];

const MAX_TEXT = 256;

/**
 * Logs in with the code that was sent to a mobile number; the first login of a number makes the user.
 *
 * @throws {AppError} `mobile/invalid`, `code/wrong`, `code/expired`, `user/blocked`
 */
export async function loginByCode(
  im: Im,
  request: Installation & { readonly mobile: string; readonly code: string },
  origin: Origin,
): Promise<NewLogin> {
  const mobile = await takeCode(im, request.mobile, request.code);
  const { user, created } = await getOrCreateUserByMobile(im.store, mobile, nickname(mobile), im.nowMs());
  if (user.deleted) throw new AppError("user/blocked", "This account has been closed.");
  return { ...await makeLogin(im, user, request, origin), register: created };
}

/** What a new user is called until he says otherwise; the number itself is nobody's business. */
function nickname(mobile: string): string {
  return `用户${mobile.slice(-4)}`;
}

/** Makes a login for a user whose identity has been proved. */
export async function makeLogin(
  im: Im,
  user: User,
  installation: Installation,
  origin: Origin,
): Promise<NewLogin> {
  const [imSecret, appSecret] = await Promise.all([makeSecret(), makeSecret()]);
  const { clientId, platform } = installation;
  const group = PLATFORM_GROUPS.find((platforms) => platforms.includes(platform)) ?? [];
  const { id, replaced } = await createLoginSession(im.store, {
    userId: user.userId,
    clientId,
    platform,
    deviceName: (installation.deviceName ?? "").slice(0, MAX_TEXT),
    imTokenHash: imSecret.hash,
    appTokenHash: appSecret.hash,
    address: origin.address,
    userAgent: origin.userAgent.slice(0, MAX_TEXT),
    endPlatforms: im.options.samePlatform === "kick" ? group : [],
  }, im.nowMs());
  return {
    userId: user.userId,
    clientId,
    platform,
    imToken: `${id}.${imSecret.text}`,
    appToken: `${id}.${appSecret.text}`,
    register: false,
    userName: user.displayName,
    portrait: user.portrait,
    notices: [...closeReplaced(replaced), devicesChanged(user.userId)],
  };
}

function closeReplaced(replaced: ReplacedLogins): Notice[] {
  return [
    // The same installation logged in anew: it is not told that it was kicked.
    ...replaced.renewed.map((login) => closeLogin(login, "logout")),
    ...replaced.otherUser.map((login) => closeLogin(login, "other-user")),
    ...replaced.samePlatform.map((login) => closeLogin(login, "same-platform")),
  ];
}

/** Tells the connections of an ended login. */
export function closeLogin(login: EndedLogin, reason: CloseNotice["reason"]): CloseNotice {
  return { kind: "close", userId: login.userId, clientId: login.clientId, loginId: login.id, reason };
}

/** Tells a user's devices that the list of them has changed. */
export function devicesChanged(userId: string): Notice {
  return { kind: "event", userId, event: { type: "devices" }, exceptConnection: null };
}

/** Ends a login: both secrets are refused from now on, and its connections close. */
export async function endLogin(
  im: Im,
  login: Login,
  reason: "logout" | "kicked",
): Promise<readonly Notice[]> {
  const ended = await revokeLoginSession(im.store, login.loginId, reason, im.nowMs());
  return ended === null ? [] : [closeLogin(ended, reason), devicesChanged(ended.userId)];
}

/**
 * Who a login belongs to.
 *
 * @throws {ImError} `token/revoked`
 */
export async function getMe(im: Im, login: Login): Promise<
  {
    readonly userId: string;
    readonly clientId: string;
    readonly platform: number;
    readonly name: string;
    readonly portrait: string;
  }
> {
  const user = await getUser(im.store, login.userId);
  if (user === null) throw new ImError("token/revoked", "This account no longer exists.");
  const { userId, clientId, platform } = login;
  return { userId, clientId, platform, name: user.displayName, portrait: user.portrait };
}
