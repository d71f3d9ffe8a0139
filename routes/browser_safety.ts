/**
 * What keeps pages of other origins from acting for somebody who is logged in here, and what this server's own pages
 * may do.
 */

import type { Context, MiddlewareHandler } from "hono";
import { ImError } from "../im/mod.ts";
import { originOf } from "./client.ts";
import type { RouteContext, RouteEnv } from "./context.ts";
import type { RouteConfig } from "./route_config.ts";

const YEAR_SECONDS = 31_536_000;
/** How long a browser remembers what another origin may do. */
const PREFLIGHT_SECONDS = 600;

/** What an answer that is no page may do when it is opened as one: nothing. */
const BARE_POLICY = "default-src 'none'; frame-ancestors 'none'";

/** In production one name is answered to: another one is a mistake, or a page that had its name point here. */
export function requireOwnHost(config: RouteConfig, exempt: readonly string[]): MiddlewareHandler<RouteEnv> {
  const { mode, publicUrl } = config;
  if (mode !== "production" || publicUrl === null) return (_, next) => next();
  const scheme = new URL(publicUrl).protocol.slice(0, -1);
  return async (c, next) => {
    if (originOf(scheme, c.var.client.host) !== publicUrl && !exempt.includes(c.req.path)) {
      throw new ImError("request/wrong-host", `This server answers to ${publicUrl} alone.`);
    }
    await next();
  };
}

/** CORS: the origins allowed by the configuration may call and read; never with cookies. */
export function allowOrigins(config: RouteConfig): MiddlewareHandler<RouteEnv> {
  return async (c, next) => {
    const origin = c.req.header("origin");
    const allowed = origin !== undefined && config.allowedOrigins.includes(origin) ? origin : null;
    if (c.req.method === "OPTIONS") c.res = answerOptions(c, allowed);
    else await next();
    if (isUpgraded(c) || config.allowedOrigins.length === 0) return;
    c.res.headers.append("vary", "Origin");
    if (allowed === null) return;
    c.res.headers.set("access-control-allow-origin", allowed);
    c.res.headers.set("access-control-expose-headers", "authToken, Retry-After, X-Request-Id");
  };
}

function answerOptions(c: Context, allowed: string | null): Response {
  const headers = new Headers({ allow: "GET, HEAD, POST, OPTIONS" });
  if (allowed !== null && c.req.header("access-control-request-method") !== undefined) {
    headers.set("access-control-allow-methods", "GET, POST");
    headers.set("access-control-allow-headers", "Content-Type, authToken, Authorization");
    headers.set("access-control-max-age", String(PREFLIGHT_SECONDS));
  }
  return new Response(null, { status: 204, headers });
}

/** Headers of every answer; what a route has set itself stands. */
export const secureHeaders: MiddlewareHandler<RouteEnv> = async (c, next) => {
  await next();
  if (isUpgraded(c)) return;
  const { headers } = c.res;
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  headers.set("cross-origin-opener-policy", "same-origin");
  if (!headers.has("content-security-policy")) headers.set("content-security-policy", BARE_POLICY);
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
  if (isSecure(c)) headers.set("strict-transport-security", `max-age=${YEAR_SECONDS}`);
};

/** What the chat page may do: its own files and connection, and pictures from anywhere, as portraits are. */
export function pagePolicy(c: RouteContext): string {
  const socket = c.var.client.origin.replace(/^http/, "ws");
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob: https:",
    "media-src 'self' blob:",
    // Not every browser takes 'self' for a WebSocket too.
    `connect-src 'self' ${socket}`,
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}

/** Whether people reach this server over https. */
export function isSecure(c: RouteContext): boolean {
  return c.var.client.origin.startsWith("https:");
}

/**
 * Whether a page of ours made the request: its secrets then travel in cookies that no script can read.
 *
 * Browsers tell by `Sec-Fetch-Site`, but only over https and on this machine; elsewhere `Origin` says it.
 */
export function isOwnPage(c: RouteContext): boolean {
  const site = c.req.header("sec-fetch-site");
  return site === undefined ? hasOwnOrigin(c) : site === "same-origin";
}

/** Whether the request names one of our own origins as the page that made it. */
export function hasOwnOrigin(c: RouteContext): boolean {
  const origin = c.req.header("origin");
  return origin !== undefined && c.var.client.ownOrigins.includes(origin);
}

/** Whether the request comes from a page of an origin that the configuration allows. */
export function hasAllowedOrigin(c: RouteContext, config: RouteConfig): boolean {
  const origin = c.req.header("origin");
  return origin !== undefined && config.allowedOrigins.includes(origin);
}

/**
 * A cookie comes along with whatever page makes a request: one that changes something must be JSON, which a foreign
 * form cannot send, and come from a page of ours.
 *
 * @throws {ImError} `request/no-right`
 */
export function requireOwnPage(c: RouteContext): void {
  if (c.req.method === "GET" || c.req.method === "HEAD") return;
  const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/json" && (c.req.header("sec-fetch-site") === "same-origin" || hasOwnOrigin(c))) {
    return;
  }
  throw new ImError("request/no-right", "A request with a cookie must be JSON from a page of this server.");
}

/** Nothing may touch the answer to a WebSocket upgrade. */
function isUpgraded(c: Context): boolean {
  return c.res.status === 101;
}
