/** The API for back ends, with the paths, JSON and codes of the server that this one replaces. */

import { Hono } from "hono";
import * as z from "zod";
import { createUser, idShape, ImError, issueToken } from "../im/mod.ts";
import { originOf, platformShape } from "./app_server.ts";
import { readRequest } from "./body.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { describeServerApi } from "./openapi.ts";
import { refuseServerApi } from "./refusals.ts";
import { requireSignature } from "./signature.ts";

const MAX_REQUESTS = 10_000;
const WINDOW_MS = 10_000;

const createUserShape = z.object({
  userId: idShape.or(z.literal("")).exactOptional().meta({ description: "Made at random when left out" }),
  name: z.string().min(1).max(64).meta({ description: "The unique account name" }),
  displayName: z.string().max(256).exactOptional(),
  portrait: z.string().max(4096).exactOptional(),
  gender: z.int().min(0).max(255).exactOptional(),
  mobile: z.string().regex(/^(?:\+?[0-9]{5,15})?$/, "digits, with a + for numbers that name their country")
    .transform((mobile) => mobile || null).exactOptional(),
  email: z.string().max(256).exactOptional(),
  address: z.string().max(1024).exactOptional(),
  company: z.string().max(256).exactOptional(),
  social: z.string().max(1024).exactOptional(),
  extra: z.string().max(65_536).exactOptional(),
  type: z.union([z.literal(0), z.literal(3), z.literal(100)]).exactOptional().meta({
    description: "0 person, 3 moderator, 100 administrator",
  }),
});

const getTokenShape = z.object({ userId: idShape, clientId: idShape, platform: platformShape });

/** `/admin/…`. */
export function serverApiRoutes({ config, im, broker, secrets, log }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>().onError(refuseServerApi(log));
  const { maxPacketBytes } = config.limits;
  let window = { startedAtMs: 0, requests: 0 };

  app.use("/admin/*", async (c, next) => {
    await requireSignature(im, c.req.raw.headers, secrets.adminSecret);
    countRequest(im.nowMs());
    await next();
  });

  app.post(
    "/admin/user/create",
    describeServerApi({
      summary: "Make a user, or change the one of this id",
      request: createUserShape,
      result: z.object({ userId: z.string(), name: z.string() }),
      errors: ["user/name-taken", "user/mobile-taken", "request/invalid"],
    }),
    async (c) => {
      const { userId, ...fields } = await readRequest(c, createUserShape, maxPacketBytes);
      const saved = await createUser(im, { ...fields, ...(userId ? { userId } : {}) });
      broker.notify(saved.notices);
      return c.json({ code: 0, msg: "success", result: { userId: saved.userId, name: saved.name } });
    },
  );

  app.post(
    "/admin/user/get_token",
    describeServerApi({
      summary: "Log a user in on an installation",
      request: getTokenShape,
      result: z.object({ userId: z.string(), token: z.string() }),
      errors: ["user/not-found", "user/forbidden", "request/invalid"],
    }),
    async (c) => {
      const request = await readRequest(c, getTokenShape, maxPacketBytes);
      const login = await issueToken(im, request, originOf(c));
      broker.notify(login.notices);
      return c.json({ code: 0, msg: "success", result: { userId: login.userId, token: login.imToken } });
    },
  );

  app.all("/admin/*", () => {
    throw new ImError("path/unknown", "There is no such path.");
  });

  /** Counted after the signature, so that strangers cannot use it up. */
  function countRequest(nowMs: number): void {
    if (nowMs - window.startedAtMs >= WINDOW_MS) window = { startedAtMs: nowMs, requests: 0 };
    if (++window.requests > MAX_REQUESTS) {
      throw new ImError("request/too-often", "Too many requests.", {
        retryAfterMs: window.startedAtMs + WINDOW_MS - nowMs,
      });
    }
  }

  return app;
}
