import { Hono } from "hono";
import * as z from "zod";
import type { RouteContext, RouteEnv, RouteOptions } from "./context.ts";
import { describeOther } from "./openapi.ts";

const routeShape = z.object({
  host: z.string(),
  port: z.int(),
  wsUrl: z.string().meta({ description: "Where MQTT over WebSocket connects" }),
  node: z.string(),
});

/** `/route`: which node a client dials. With one node it is the place the request came to. */
export function routeRoutes({ im }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();
  const description = describeOther({
    tag: "connection",
    summary: "Which node to dial",
    answers: { 200: ["The node", routeShape] },
  });
  const answer = (c: RouteContext) => {
    const { protocol, hostname, host, port } = new URL(c.var.client.origin);
    const isSecure = protocol === "https:";
    const route: z.infer<typeof routeShape> = {
      host: hostname,
      port: Number(port) || (isSecure ? 443 : 80),
      wsUrl: `${isSecure ? "wss" : "ws"}://${host}/mqtt`,
      node: String(im.store.lease.node),
    };
    return c.json(route);
  };
  app.get("/route", description, answer);
  app.post("/route", description, answer);
  return app;
}
