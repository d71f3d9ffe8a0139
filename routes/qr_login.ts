/** Logging a page in with a phone that is logged in: `im` holds the states, this is their HTTP. */

import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import * as z from "zod";
import {
  AppError,
  cancelQrLogin,
  confirmQrLogin,
  createQrLogin,
  idShape,
  pollQrLogin,
  scanQrLogin,
} from "../im/mod.ts";
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
import { hasAllowedOrigin, isSecure, requireOwnPage } from "./browser_safety.ts";
import { limitKey } from "./client.ts";
import type { RouteContext, RouteEnv, RouteOptions } from "./context.ts";
import { requireLogin } from "./credentials.ts";
import type { OpenPolls } from "./open_polls.ts";
import { describeAppServer } from "./openapi.ts";
import { drawQr } from "./qr_picture.ts";
import { refuseAppServer } from "./refusals.ts";

/** States as the envelope's `status` numbers them. */
const STATUS = { pending: 0, scanned: 1, confirmed: 2 } as const;

/** QR logins that one address may begin in a minute: a page begins one every two. */
const MAX_SESSIONS_PER_MINUTE = 120;
const MINUTE_MS = 60_000;

/** The page's secret; sent to the poll of its own QR login alone. */
const POLL_COOKIE = "hearth_poll";
/** As long as a QR login can live: until the scan, until the confirmation, until the page takes it. */
const POLL_COOKIE_SECONDS = 300;

/** What a poll without credentials is answered. */
const POLL_ANSWERS = {
  waiting: { code: 10, message: "not scanned or not confirmed yet" },
  cancelled: { code: 18, message: "the login was cancelled" },
  expired: { code: 8, message: "this QR code is no longer valid" },
} as const;
const SCANNED_CODE = 9;

const sessionShape = z.object({
  clientId: idShape.meta({ description: "The installation that wants to log in" }),
  platform: platformShape,
  device_name: deviceNameShape,
});

const sessionResultShape = z.object({
  token: z.string().meta({ description: "The public id in the QR; it lets nobody take the login" }),
  status: z.literal(STATUS.pending),
  expired: z.int().meta({ description: "Milliseconds left" }),
  platform: z.int(),
  number: z.string().meta({ description: "Two digits to show; the phone's user types them" }),
  qr: z.string().meta({ description: "An SVG picture of the address that the phone opens" }),
  pollSecret: z.string().optional().meta({
    description: "For clients that are no page of this server: pages have it as a cookie",
  }),
});

const pollShape = z.object({
  pollSecret: z.string().max(128).optional(),
  seen: z.literal("scanned").optional().meta({ description: "The scan is known: do not tell it again" }),
});

const scanResultShape = z.object({
  token: z.string(),
  status: z.literal(STATUS.scanned),
  expired: z.int().meta({ description: "Milliseconds left" }),
  platform: z.int(),
  userId: z.string(),
  device: z.string(),
  browser: z.string(),
  ip: z.string(),
  place: z.enum(["this-machine", "local-network", ""]),
  createdAt: z.int().meta({ description: "Milliseconds since 1970" }),
});

const tokenShape = z.string().max(64).meta({ description: "The public id in the QR" });

const confirmShape = z.object({
  token: tokenShape,
  number: z.string().max(8).optional().meta({
    description: "The number that the page shows; required in production",
  }),
});

const confirmResultShape = z.object({
  token: z.string(),
  status: z.literal(STATUS.confirmed),
  expired: z.int().meta({ description: "Milliseconds the page has to take the login" }),
  platform: z.int(),
  userId: z.string(),
});

const cancelShape = z.object({ token: tokenShape });

/** `pc_session` and `session_login` for the page; `scan_pc`, `confirm_pc` and `cancel_pc` for the phone. */
export function qrLoginRoutes(
  { config, im, broker, log, polls }: RouteOptions & { readonly polls: OpenPolls },
): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>().onError(refuseAppServer(log));

  app.post(
    "/pc_session",
    describeAppServer({
      summary: "Begin a QR login",
      request: sessionShape,
      result: sessionResultShape,
      errors: ["request/too-often"],
    }),
    async (c) => {
      const { clientId, platform, device_name: deviceName } = await readRequest(
        c,
        sessionShape,
        MAX_REQUEST_BYTES,
      );
      await countSession(c);
      const session = await createQrLogin(im, { clientId, platform, deviceName }, originOf(c));
      setCookie(c, POLL_COOKIE, session.pollSecret, {
        path: `/session_login/${session.qrId}`,
        maxAge: POLL_COOKIE_SECONDS,
        httpOnly: true,
        sameSite: "Lax",
        secure: isSecure(c),
      });
      // A page of an allowed origin gets no cookie of ours.
      const needsSecret = c.req.header("sec-fetch-site") === undefined || hasAllowedOrigin(c, config);
      const result: z.infer<typeof sessionResultShape> = {
        token: session.qrId,
        status: STATUS.pending,
        expired: session.expiresInMs,
        platform,
        number: session.number,
        qr: drawQr(`${c.var.client.origin}/m/scan?token=${session.qrId}`),
        ...(needsSecret ? { pollSecret: session.pollSecret } : {}),
      };
      return answer(c, result);
    },
  );

  app.post(
    "/session_login/:token",
    describeAppServer({
      summary: "Wait, up to 50 s, for what happens to a QR login",
      description: "Code 0 with the login, once; 9 scanned, with {userName, portrait}; 10 still waiting.",
      request: pollShape,
      result: loginResultShape,
      errors: ["qr/gone", "qr/cancelled", "request/too-often"],
    }),
    async (c) => {
      const { pollSecret: given, seen } = await readRequest(c, pollShape, MAX_REQUEST_BYTES);
      const qrId = requireQrId(c.req.param("token"));
      const pollSecret = given ?? getCookie(c, POLL_COOKIE);
      if (pollSecret === undefined) throw gone();
      if (given === undefined) requireOwnPage(c);
      const poll = await polls.hold(
        limitKey(config, c.var.client),
        c.req.raw.signal,
        (signal) => pollQrLogin(im, { qrId, pollSecret, seen: seen === "scanned" }, signal),
      );
      if (poll.state === "confirmed") {
        broker.notify(poll.login.notices);
        return answerLogin(c, poll.login);
      }
      if (poll.state !== "scanned") return c.json(POLL_ANSWERS[poll.state]);
      const { userName, portrait } = poll;
      return c.json({ code: SCANNED_CODE, message: "scanned", result: { userName, portrait } });
    },
  );

  app.post(
    "/scan_pc/:token",
    describeAppServer({
      summary: "Tell that this phone has scanned a QR; it alone may go on",
      needsLogin: true,
      result: scanResultShape,
      errors: ["qr/gone", "qr/other-phone", "qr/cancelled"],
    }),
    async (c) => {
      const phone = await requireLogin(c, im);
      const scanned = await scanQrLogin(im, phone, requireQrId(c.req.param("token")));
      const { qrId: token, expiresInMs: expired, ...page } = scanned;
      const { userId } = phone;
      const result: z.infer<typeof scanResultShape> = {
        token,
        status: STATUS.scanned,
        expired,
        userId,
        ...page,
      };
      return answer(c, result);
    },
  );

  app.post(
    "/confirm_pc",
    describeAppServer({
      summary: "Let the page in, with the number that it shows; three wrong ones cancel",
      needsLogin: true,
      request: confirmShape,
      result: confirmResultShape,
      errors: [
        "number/wrong",
        "qr/gone",
        "qr/not-scanned",
        "qr/other-phone",
        "number/missing",
        "qr/cancelled",
      ],
    }),
    async (c) => {
      const phone = await requireLogin(c, im);
      const { token, number } = await readRequest(c, confirmShape, MAX_REQUEST_BYTES);
      const confirmed = await confirmQrLogin(im, phone, requireQrId(token), number || undefined);
      const result: z.infer<typeof confirmResultShape> = {
        token,
        status: STATUS.confirmed,
        expired: confirmed.expiresInMs,
        platform: confirmed.platform,
        userId: phone.userId,
      };
      return answer(c, result);
    },
  );

  app.post(
    "/cancel_pc",
    describeAppServer({
      summary: "Refuse the page",
      needsLogin: true,
      request: cancelShape,
      errors: ["qr/gone", "qr/not-scanned", "qr/other-phone"],
    }),
    async (c) => {
      const phone = await requireLogin(c, im);
      const { token } = await readRequest(c, cancelShape, MAX_REQUEST_BYTES);
      await cancelQrLogin(im, phone, requireQrId(token));
      return answer(c);
    },
  );

  async function countSession(c: RouteContext): Promise<void> {
    const subject = limitKey(config, c.var.client);
    if (subject === null) return;
    const retryAfterMs = await im.store.kv.countWithin([
      { kind: "qr_logins", subject, limit: MAX_SESSIONS_PER_MINUTE, windowMs: MINUTE_MS },
    ]);
    if (retryAfterMs > 0) {
      throw new AppError("request/too-often", "Too many QR codes. Try again later.", { retryAfterMs });
    }
  }

  return app;
}

/** An id that was never made is refused like one that is over. */
function requireQrId(text: string): string {
  if (!/^[0-9a-z]{1,64}$/.test(text)) throw gone();
  return text;
}

function gone(): AppError {
  return new AppError("qr/gone", POLL_ANSWERS.expired.message);
}
