import { Hono } from "hono";
import * as z from "zod";
import { getMe } from "../im/mod.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { requireLogin } from "./credentials.ts";
import { describeOther } from "./openapi.ts";

const meShape = z.object({
  userId: z.string(),
  clientId: z.string(),
  platform: z.int(),
  name: z.string(),
  portrait: z.string(),
});

/** `/me`: what a page asks first, to know whether its cookie still stands for somebody. */
export function meRoutes({ im }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();
  app.get(
    "/me",
    describeOther({
      tag: "connection",
      summary: "Who this login belongs to",
      answers: { 200: ["The login", meShape], 401: "There is no login, or it has ended" },
      needsLogin: true,
    }),
    async (c) => {
      const me: z.infer<typeof meShape> = await getMe(im, await requireLogin(c, im));
      return c.json(me);
    },
  );
  return app;
}
