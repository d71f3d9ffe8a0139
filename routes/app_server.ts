/** What the paths taken over from the app server share: their envelope, the answer to a login, its shapes. */

import * as z from "zod";
import type { NewLogin, Origin } from "../im/mod.ts";
import { isOwnPage } from "./browser_safety.ts";
import type { RouteContext } from "./context.ts";
import { setSessionCookie } from "./credentials.ts";

/** No request of these paths is longer. */
export const MAX_REQUEST_BYTES = 65_536;

/** The kind of program that logs in. */
export const platformShape = z.int().min(0).max(99).default(0).meta({
  description:
    "0 unset, 1 iOS, 2 Android, 3 Windows, 4 macOS, 5 Web, 6 mini program, 7 Linux, 8 iPad, 9 Android pad",
});

/** The name of a device, for its user to know it by. */
export const deviceNameShape = z.string().max(256).optional().meta({
  description: "Shown in the list of logins",
});

/** What a login gives. */
export const loginResultShape = z.object({
  userId: z.string(),
  token: z.string().meta({ description: "The IM token: MQTT password, and Bearer over HTTP" }),
  register: z.boolean().meta({ description: "Whether this login made the user" }),
  userName: z.string(),
  portrait: z.string(),
});

/** Where a request comes from, for limits and for what a phone is shown. */
export function originOf(c: RouteContext): Origin {
  return { address: c.var.client.address, userAgent: c.req.header("user-agent") ?? "" };
}

/** Answers with code 0. */
export function answer(c: RouteContext, result?: unknown): Response {
  return c.json({ code: 0, message: "success", ...(result === undefined ? {} : { result }) });
}

/** Answers a login. A page of ours gets its app token as a cookie, everybody else as the header `authToken`. */
export function answerLogin(c: RouteContext, login: NewLogin): Response {
  if (isOwnPage(c)) setSessionCookie(c, login.appToken);
  else c.header("authToken", login.appToken);
  const { userId, imToken: token, register, userName, portrait } = login;
  const result: z.infer<typeof loginResultShape> = { userId, token, register, userName, portrait };
  return answer(c, result);
}
