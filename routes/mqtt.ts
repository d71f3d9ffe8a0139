/** MQTT over WebSocket: what is checked before the upgrade; the socket is the broker's from then on. */

import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { ImError } from "../im/mod.ts";
import { hasOwnOrigin } from "./browser_safety.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { getSessionCookie } from "./credentials.ts";
import { describeOther } from "./openapi.ts";
import { requireUpgrade } from "./upgrade.ts";

/** The upgrade at `/mqtt`, and at `/`, where older clients dial. */
export function mqttRoutes(options: RouteOptions): Hono<RouteEnv> {
  const { config, broker } = options;
  const app = new Hono<RouteEnv>();

  const upgrade: MiddlewareHandler<RouteEnv> = async (c, next) => {
    if (c.req.header("upgrade")?.toLowerCase() !== "websocket") return await next();
    const { client } = c.var;
    const subProtocol = requireUpgrade(c.req.raw.headers, client, options);
    const { socket, response } = openSocket(c.req.raw, config.limits.idleTimeoutSeconds);
    // The runtime would take the first that is offered, and trips over lists without spaces.
    response.headers.set("sec-websocket-protocol", subProtocol); // [MQTT-6.0.0-4]
    // A page of ours holds no password: its cookie takes the place of one.
    broker.acceptWebSocket(socket, {
      peer: client.peer,
      appToken: hasOwnOrigin(c) ? getSessionCookie(c) : null,
    });
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

function openSocket(request: Request, idleTimeout: number): Deno.WebSocketUpgrade {
  try {
    return Deno.upgradeWebSocket(request, { idleTimeout });
  } catch (cause) {
    // A request that says `Upgrade: websocket` and lacks the rest of it.
    if (cause instanceof TypeError) throw new ImError("request/invalid", "This is no WebSocket request.");
    throw cause;
  }
}
