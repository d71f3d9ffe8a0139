/** What went wrong, to the person in front of the page. */
import { LoginError, RequestError } from "../sdk/mod.ts";
import { t } from "./i18n.ts";
import type { TextKey } from "./i18n.ts";

/** By the names of the protocol's table; the rest is told with the server's own words. */
const REQUEST_TEXTS: Readonly<Record<string, TextKey>> = {
  "server/timeout": "error.offline",
  "server/error": "error.server",
  "server/earlier-failed": "error.server",
  "server/clock": "error.server",
  "token/invalid": "ended.token",
  "token/revoked": "ended.token",
  "user/forbidden": "error.blocked",
  "user/not-found": "error.no_user",
  "session/not-found": "error.no_device",
  "message/too-large": "error.too_large",
};

/** By the codes of the login paths. */
const LOGIN_TEXTS: Readonly<Record<number, TextKey>> = {
  1: "error.mobile",
  4: "error.server",
  5: "error.code_wrong",
  6: "error.code_wrong",
  11: "error.code_off",
  13: "ended.token",
  21: "error.blocked",
};

/** A sentence for an error of the SDK: a refusal, or a server that cannot be reached. */
export function errorText(error: unknown): string {
  if (error instanceof TypeError) return t("error.offline");
  if (error instanceof LoginError) {
    if (error.code === 3 || error.code === 20) return tooOften(error.retryAfterMs);
    const key = LOGIN_TEXTS[error.code];
    if (key !== undefined) return t(key);
  }
  if (error instanceof RequestError) {
    if (error.error === "request/too-often") return tooOften(error.retryAfterMs);
    const key = REQUEST_TEXTS[error.error];
    if (key !== undefined) return t(key);
  }
  return t("error.other", { message: error instanceof Error ? error.message : String(error) });
}

function tooOften(retryAfterMs: number | undefined): string {
  return retryAfterMs === undefined
    ? t("error.too_often")
    : t("error.too_often_n", { n: Math.ceil(retryAfterMs / 1000) });
}
