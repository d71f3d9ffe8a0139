/**
 * HTTP in, HTTP out: every door of the one port, and the upgrade to MQTT.
 *
 * @module
 */

import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { ImError } from "../im/mod.ts";
import { allowOrigins, requireOwnHost, secureHeaders } from "./browser_safety.ts";
import { Clients } from "./client.ts";
import { commandRoutes } from "./commands.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { docsRoutes } from "./docs.ts";
import { HttpCounts } from "./http_counts.ts";
import { loginRoutes } from "./login.ts";
import { meRoutes } from "./me.ts";
import { mqttRoutes } from "./mqtt.ts";
import { OpenPolls } from "./open_polls.ts";
import { operationsRoutes, PROBE_PATHS } from "./operations.ts";
import { pageRoutes } from "./page.ts";
import { qrLoginRoutes } from "./qr_login.ts";
import { refuseCommand } from "./refusals.ts";
import { routeRoutes } from "./route.ts";
import { serverApiRoutes } from "./server_api.ts";

export type { RouteOptions } from "./context.ts";
export type { RouteConfig } from "./route_config.ts";
export { createUpgradeScreen, type UpgradeOptions } from "./upgrade.ts";

/** The HTTP application. */
export interface App {
  /** Answers a request; what `Deno.serve` calls. */
  readonly fetch: (
    request: Request,
    info: Deno.ServeHandlerInfo<Deno.NetAddr>,
  ) => Response | Promise<Response>;
  /** Ends the long polls and takes no more, so that a stop need not wait for them. */
  readonly endPolls: () => void;
}

/** Puts the routes together. */
export function createApp(options: RouteOptions): App {
  const { config, log } = options;
  const clients = new Clients(config);
  const polls = new OpenPolls();
  const counts = new HttpCounts();
  const app = new Hono<RouteEnv>();

  app.use(async (c, next) => {
    const startedAt = performance.now();
    c.set("requestId", crypto.getRandomValues(new Uint8Array(8)).toHex());
    c.set("client", clients.describe(c.req.raw, c.env.remoteAddr.hostname));
    await next();
    const { status } = c.res;
    counts.add(status);
    // Nothing may touch the answer to a WebSocket upgrade.
    if (status !== 101) c.res.headers.set("x-request-id", c.var.requestId);
    log.debug("request", {
      requestId: c.var.requestId,
      method: c.req.method,
      path: c.req.path.slice(0, 256),
      status,
      ms: Math.round(performance.now() - startedAt),
    });
  });
  app.use(secureHeaders, allowOrigins(config), requireOwnHost(config, PROBE_PATHS));
  app.use(methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) => {
      c.header("allow", [...methods, "OPTIONS"].join(", "));
      return c.json(new ImError("path/wrong-method", `Use ${methods.join(" or ")} here.`).toRefusal(), 405);
    },
  }));

  app.route("/", mqttRoutes(options));
  app.route("/", loginRoutes(options));
  app.route("/", qrLoginRoutes({ ...options, polls }));
  app.route("/", meRoutes(options));
  app.route("/", routeRoutes(options));
  app.route("/", commandRoutes(options));
  app.route("/", serverApiRoutes(options));
  app.route("/", operationsRoutes({ ...options, polls, counts }));
  app.route("/", docsRoutes(app, options));
  app.route("/", pageRoutes());

  app.notFound((c) => c.json(new ImError("path/unknown", "There is nothing here.").toRefusal(), 404));
  app.onError(refuseCommand(log));
  return { fetch: app.fetch, endPolls: () => polls.end() };
}
