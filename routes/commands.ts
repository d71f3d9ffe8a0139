import { Hono } from "hono";
import type { Reply } from "../broker/mod.ts";
import { type Caller, COMMANDS, type Login } from "../im/mod.ts";
import { ERRORS } from "../wire.ts";
import { readBody } from "./body.ts";
import type { RouteContext, RouteEnv, RouteOptions } from "./context.ts";
import { requireLogin } from "./credentials.ts";
import { describeCommand } from "./openapi.ts";

/** The largest page a reply over HTTP holds. */
const MAX_REPLY_BYTES = 512 * 1024;

/** `POST /im/<command>`: the commands of MQTT, with the same JSON, through the same broker. */
export function commandRoutes({ config, im, broker }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();

  const perform = async (c: RouteContext, command: string) => {
    const caller = toCaller(await requireLogin(c, im));
    const body = await readBody(c.req.raw, config.limits.maxPacketBytes);
    const { promise, resolve } = Promise.withResolvers<Reply>();
    broker.perform(caller, command, body, resolve);
    const { error, text } = await promise;
    return c.body(text, error === null ? 200 : ERRORS[error].http, { "content-type": "application/json" });
  };

  for (const [name, command] of Object.entries(COMMANDS)) {
    app.post(`/im/${name}`, describeCommand(name, command), (c) => perform(c, name));
  }
  // Whoever is not logged in does not learn which commands there are.
  app.post("/im/:command", (c) => perform(c, c.req.param("command")));
  return app;
}

function toCaller({ userId, clientId, loginId, platform }: Login): Caller {
  return {
    userId,
    clientId,
    loginId,
    platform,
    door: "http",
    // Every socket of the user gets the event.
    connection: null,
    maxReplyBytes: MAX_REPLY_BYTES,
    // Requests over HTTP have no order among themselves.
    order: { generation: 0 },
  };
}
