/** What a request proves itself with: a header, or the cookie of a page of ours. */

import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { authenticateToken, type Im, ImError, type Login } from "../im/mod.ts";
import { isSecure, requireOwnPage } from "./browser_safety.ts";
import type { RouteContext } from "./context.ts";

/** A secret, and which of a login's two it claims to be. */
export interface Credentials {
  readonly token: string;
  readonly kind: "im" | "app";
  readonly via: "header" | "cookie";
}

const SESSION_COOKIE = "hearth_session";
const SESSION_SECONDS = 90 * 86_400;

/** A header goes before the cookie, which is then ignored; null when there is neither. */
export function readCredentials(c: RouteContext): Credentials | null {
  const appToken = c.req.header("authToken");
  if (appToken !== undefined) return { token: appToken, kind: "app", via: "header" };
  const authorization = c.req.header("authorization");
  if (authorization !== undefined) {
    return { token: /^bearer +(\S+)$/i.exec(authorization)?.[1] ?? "", kind: "im", via: "header" };
  }
  const cookie = getSessionCookie(c);
  return cookie === null ? null : { token: cookie, kind: "app", via: "cookie" };
}

/**
 * The login a request was made with.
 *
 * @throws {ImError} `token/invalid`, `token/revoked`, `user/forbidden`, `request/no-right`
 */
export async function requireLogin(c: RouteContext, im: Im): Promise<Login> {
  const credentials = readCredentials(c);
  if (credentials === null) throw new ImError("token/invalid", "Log in first.");
  if (credentials.via === "cookie") requireOwnPage(c);
  return await authenticateToken(im, credentials.token, credentials.kind);
}

/** The app token of a page of ours. */
export function getSessionCookie(c: RouteContext): string | null {
  return getCookie(c, SESSION_COOKIE) ?? null;
}

/** Gives a page of ours its app token. */
export function setSessionCookie(c: RouteContext, appToken: string): void {
  setCookie(c, SESSION_COOKIE, appToken, { ...cookieAttributes(c), maxAge: SESSION_SECONDS });
}

/** Takes the app token from a page of ours. */
export function clearSessionCookie(c: RouteContext): void {
  deleteCookie(c, SESSION_COOKIE, cookieAttributes(c));
}

function cookieAttributes(c: RouteContext) {
  return { path: "/", httpOnly: true, sameSite: "Lax", secure: isSecure(c) } as const;
}
