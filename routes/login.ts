/** Logging in and out, with the paths, JSON and codes of the app server that this one takes over. */

import { Hono } from "hono";
import * as z from "zod";
import { endLogin, idShape, loginByCode, sendLoginCode } from "../im/mod.ts";
import {
  answer,
  answerLogin,
  deviceNameShape,
  loginResultShape,
  MAX_REQUEST_BYTES,
  originOf,
  platformShape,
} from "./app_server.ts";
import { readRequest } from "./body.ts";
import type { RouteEnv, RouteOptions } from "./context.ts";
import { clearSessionCookie, readCredentials, requireLogin } from "./credentials.ts";
import { describeAppServer } from "./openapi.ts";
import { refuseAppServer } from "./refusals.ts";

const mobileShape = z.string().max(32).meta({
  description: "Digits, with a + for numbers that name their country",
});

const sendCodeShape = z.object({ mobile: mobileShape });

const loginShape = z.object({
  mobile: mobileShape,
  code: z.string().max(16).meta({ description: "The six digits of the SMS" }),
  clientId: idShape.meta({ description: "The installation; its tokens are bound to it" }),
  platform: platformShape,
  device_name: deviceNameShape,
});

/** `send_code`, `login` and `logout`. */
export function loginRoutes({ config, im, broker, log }: RouteOptions): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>().onError(refuseAppServer(log));

  app.post(
    "/send_code",
    describeAppServer({
      summary: "Send a login code by SMS",
      request: sendCodeShape,
      result: z.literal("SUCCESS").or(z.object({ devCode: z.string() })),
      errors: ["mobile/invalid", "request/too-often", "server/error", "login/code-off"],
    }),
    async (c) => {
      const { mobile } = await readRequest(c, sendCodeShape, MAX_REQUEST_BYTES);
      const { code } = await sendLoginCode(im, mobile, originOf(c));
      // The page shows the code where its user could read it in the log anyway.
      const mayShow = config.mode === "development" && config.smsProvider === "log" && c.var.client.isLocal;
      return answer(c, mayShow ? { devCode: code } : "SUCCESS");
    },
  );

  app.post(
    "/login",
    describeAppServer({
      summary: "Log in with a code from an SMS; the first login of a number makes the user",
      request: loginShape,
      result: loginResultShape,
      errors: ["mobile/invalid", "code/expired", "code/wrong", "user/blocked"],
    }),
    async (c) => {
      const { device_name: deviceName, ...request } = await readRequest(c, loginShape, MAX_REQUEST_BYTES);
      const login = await loginByCode(im, { ...request, deviceName }, originOf(c));
      broker.notify(login.notices);
      return answerLogin(c, login);
    },
  );

  app.post(
    "/logout",
    describeAppServer({ summary: "End this login: both its tokens and its connections", needsLogin: true }),
    async (c) => {
      const login = await requireLogin(c, im);
      broker.notify(await endLogin(im, login, "logout"));
      if (readCredentials(c)?.via === "cookie") clearSessionCookie(c);
      return answer(c);
    },
  );

  return app;
}
