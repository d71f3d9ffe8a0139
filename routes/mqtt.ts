/** MQTT over WebSocket: what is checked before the upgrade; the socket is the broker's from then on. */

import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import type { AdmissionRefusal } from "../broker/mod.ts";
import { ImError } from "../im/mod.ts";
import { hasAllowedOrigin, hasOwnOrigin } from "./browser_safety.ts";
import type { RouteContext, RouteEnv, RouteOptions } from "./context.ts";
import { getSessionCookie } from "./credentials.ts";
import { describeOther } from "./openapi.ts";

/** The sub-protocols of MQTT, the usual name first. [MQTT-6.0.0-3] */
const SUB_PROTOCOLS = ["mqtt", "mqttv3.1"] as const;

/** How a connection that is not taken is refused, and when to come again. */
const REFUSALS = {
  "draining": { error: "server/error", seconds: 5, message: "The server is stopping." },
  "too-many": { error: "server/error", seconds: 10, message: "The server is full." },
  "too-many-of-address": { error: "request/too-often", seconds: 10, message: "Too many connections." },
  "too-many-failures": { error: "request/too-often", seconds: 60, message: "Too many failed CONNECTs." },
} as const satisfies Record<AdmissionRefusal, unknown>;

/** The upgrade at `/mqtt`, and at `/`, where older clients dial. */
export function mqttRoutes({ config, broker }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();

  const upgrade: MiddlewareHandler<RouteEnv> = async (c, next) => {
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket") return await next();
    const subProtocol = requireSubProtocol(c);
    const isOwn = hasOwnOrigin(c);
    if (c.req.header("origin") !== undefined && !isOwn && !hasAllowedOrigin(c, config)) {
      throw new ImError("request/no-right", "Pages of this origin may not connect here.");
    }
    const { peer } = c.var.client;
    const refusal = broker.refuseConnection(peer);
    if (refusal !== null) {
      const { error, seconds, message } = REFUSALS[refusal];
      throw new ImError(error, message, { retryAfterMs: seconds * 1_000 });
    }
    const { socket, response } = openSocket(c.req.raw, config.limits.idleTimeoutSeconds);
    // The runtime would take the first that is offered, and trips over lists without spaces.
    response.headers.set("sec-websocket-protocol", subProtocol); // [MQTT-6.0.0-4]
    // A page of ours holds no password: its cookie takes the place of one.
    broker.acceptWebSocket(socket, { peer, appToken: isOwn ? getSessionCookie(c) : null });
    return response;
  };

  app.get(
    "/mqtt",
    describeOther({
      tag: "connection",
      summary: "MQTT 3.1.1 and 5.0 over WebSocket, sub-protocol `mqtt`",
      answers: {
        101: "Connected",
        400: "No sub-protocol of MQTT, or no WebSocket request",
        403: "A page of another origin",
        429: "Too many connections from there",
        503: "Full, or stopping",
      },
    }),
    upgrade,
    () => {
      throw new ImError("request/invalid", "This path is for WebSocket connections, sub-protocol mqtt.");
    },
  );
  app.get("/", upgrade);
  return app;
}

function requireSubProtocol(c: RouteContext): string {
  const offered = (c.req.header("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
  const chosen = SUB_PROTOCOLS.find((name) => offered.includes(name));
  if (chosen === undefined) {
    throw new ImError("request/invalid", `Offer one of the sub-protocols ${SUB_PROTOCOLS.join(", ")}.`);
  }
  return chosen;
}

function openSocket(request: Request, idleTimeout: number): Deno.WebSocketUpgrade {
  try {
    return Deno.upgradeWebSocket(request, { idleTimeout });
  } catch (cause) {
    // A request that says `Upgrade: websocket` and lacks the rest of it.
    if (cause instanceof TypeError) throw new ImError("request/invalid", "This is no WebSocket request.");
    throw cause;
  }
}
