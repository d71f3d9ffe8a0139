import type { ErrorHandler } from "hono";
import { AppError, ImError } from "../im/mod.ts";
import type { Log } from "../log.ts";
import { APP_ERRORS, type AppErrorName, type ErrorName, ERRORS } from "../wire.ts";
import type { RouteContext, RouteEnv } from "./context.ts";

/** What an app-server path calls the refusals that come from elsewhere. */
const APP_NAMES: Readonly<Record<ErrorName, AppErrorName>> = {
  "server/error": "server/error",
  "server/earlier-failed": "server/error",
  "server/clock": "server/error",
  "token/invalid": "login/required",
  "token/revoked": "login/required",
  "user/forbidden": "user/blocked",
  "group/not-member": "server/error",
  "chatroom/not-member": "server/error",
  "channel/not-member": "server/error",
  "request/no-right": "request/no-right",
  "server/timeout": "server/error",
  "request/too-often": "request/too-often",
  "request/invalid": "request/invalid",
  "message/too-large": "request/too-large",
  "user/name-taken": "server/error",
  "user/mobile-taken": "server/error",
  "user/not-found": "server/error",
  "message/not-found": "server/error",
  "session/not-found": "server/error",
  "signature/missing": "server/error",
  "signature/expired": "server/error",
  "signature/wrong": "server/error",
  "request/wrong-host": "server/error",
  "path/unknown": "server/error",
  "path/wrong-method": "server/error",
  "command/unknown": "server/error",
};

/** Refuses as commands do: the refusal as it is, with its HTTP status. */
export function refuseCommand(log: Log): ErrorHandler<RouteEnv> {
  return (cause, c) => {
    const refusal = requireImError(toRefusal(cause, c, log));
    tellWhen(c, refusal.retryAfterMs);
    return c.json(refusal.toRefusal(), ERRORS[refusal.error].http);
  };
}

/** Refuses as app-server paths do: code and message in an envelope. */
export function refuseAppServer(log: Log): ErrorHandler<RouteEnv> {
  return (cause, c) => {
    const refusal = toRefusal(cause, c, log);
    const error = refusal instanceof AppError ? refusal.error : APP_NAMES[refusal.error];
    const { code, http } = APP_ERRORS[error];
    const { message, retryAfterMs } = refusal;
    tellWhen(c, retryAfterMs);
    return c.json({ code, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }, http);
  };
}

/** Refuses as the server API does: always HTTP 200, its clients look at the code alone. */
export function refuseServerApi(log: Log): ErrorHandler<RouteEnv> {
  return (cause, c) => {
    const { code, message } = requireImError(toRefusal(cause, c, log));
    return c.json({ code, msg: message });
  };
}

/** What is no refusal is a bug: it is logged with its cause, and the client may try again. */
function toRefusal(cause: Error, c: RouteContext, log: Log): AppError | ImError {
  if (cause instanceof AppError || cause instanceof ImError) return cause;
  const { method, path } = c.req;
  log.error("request failed", cause, { requestId: c.var.requestId, method, path: path.slice(0, 256) });
  return new ImError("server/error", "Something went wrong here. Try again.");
}

function requireImError(refusal: AppError | ImError): ImError {
  if (refusal instanceof ImError) return refusal;
  throw new Error(`${refusal.error} has no place at this door`, { cause: refusal });
}

function tellWhen(c: RouteContext, retryAfterMs: number | undefined): void {
  if (retryAfterMs !== undefined) c.header("retry-after", String(Math.ceil(retryAfterMs / 1_000)));
}
