import { useEffect, useState } from "preact/hooks";
import type { PcSession } from "../../sdk/mod.ts";
import { t } from "../i18n.ts";
import { http, loggedIn, thisBrowser } from "../state/session.ts";
import { Face } from "./avatar.tsx";
import { Icon } from "./icon.tsx";
import { QrPicture } from "./qr_picture.tsx";

type QrState =
  | { readonly name: "generating" }
  | { readonly name: "waiting"; readonly session: PcSession }
  | {
    readonly name: "scanned";
    readonly session: PcSession;
    readonly userName: string;
    readonly portrait: string;
  }
  | { readonly name: "cancelled" | "failed" };

/** QR logins one after the other, until one is used, refused, or cannot be made; `show` follows them. */
async function runQrLogins(show: (state: QrState) => void, signal: AbortSignal): Promise<void> {
  while (await runQrLogin(show, signal) === "expired") await seen(signal);
}

/** Resolves when the page is in sight: renewing a code that nobody can see would only keep the server busy. */
function seen(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => document.visibilityState === "visible" && resolve();
    document.addEventListener("visibilitychange", look, { signal });
    look();
  });
}

/**
 * One QR login from beginning to end. A code that nobody scanned has expired when its time is over; one that was
 * scanned is never thrown away before the server says so.
 */
async function runQrLogin(
  show: (state: QrState) => void,
  signal: AbortSignal,
): Promise<"over" | "expired"> {
  show({ name: "generating" });
  const session = await http.pcSession(thisBrowser(), signal);
  show({ name: "waiting", session });
  const expiresAtMs = Date.now() + session.expired;
  let scanned = false;
  let failures = 0;
  for (;;) {
    try {
      const poll = await http.sessionLogin(session.token, {
        ...scanned && { seen: "scanned" as const },
        signal,
      });
      failures = 0;
      // Confirmed is taken in any state: scan and confirm may come in the same instant.
      if (poll.state === "confirmed") {
        await loggedIn();
        return "over";
      }
      if (poll.state === "cancelled") {
        show({ name: "cancelled" });
        return "over";
      }
      if (poll.state === "expired") return "expired";
      if (poll.state === "scanned") {
        scanned = true;
        show({ name: "scanned", session, userName: poll.userName, portrait: poll.portrait });
      }
    } catch (error) {
      if (signal.aborted || ++failures === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** failures));
    }
    if (!scanned && Date.now() > expiresAtMs) return "expired";
  }
}

/** The QR tab. */
export function QrLogin() {
  const [state, setState] = useState<QrState>({ name: "generating" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const ended = new AbortController();
    const show = (next: QrState) => ended.signal.aborted || setState(next);
    runQrLogins(show, ended.signal).catch(() => show({ name: "failed" }));
    return () => ended.abort();
  }, [round]);
  const session = state.name === "waiting" || state.name === "scanned" ? state.session : null;
  const over = state.name === "cancelled" || state.name === "failed";
  return (
    <div class={`qr qr-${state.name}`}>
      <div class="qr-frame">
        {session !== null && <QrPicture svg={session.qr} label={t("qr.picture")} />}
        {state.name === "generating" && <span class="spinner" />}
        {state.name === "scanned" && (
          <div class="qr-cover">
            <Face id={state.userName} name={state.userName} portrait={state.portrait} size="large" />
            <strong>{t("qr.scanned", { name: state.userName })}</strong>
          </div>
        )}
        {over && (
          <div class="qr-cover">
            <Icon name={state.name === "failed" ? "alert" : "close"} />
            <button type="button" class="button" onClick={() => setRound(round + 1)}>
              <Icon name="refresh" />
              {t("qr.again")}
            </button>
          </div>
        )}
      </div>
      <p class="qr-state" role="status">{stateText(state)}</p>
      {session !== null && (
        <div class="qr-number">
          <span id="qr-number-label">{t("qr.number")}</span>
          <output aria-labelledby="qr-number-label">{session.number}</output>
        </div>
      )}
      {state.name === "waiting" && <p class="hint">{t("qr.how")}</p>}
    </div>
  );
}

function stateText(state: QrState): string {
  switch (state.name) {
    case "generating":
      return t("qr.generating");
    case "waiting":
      return t("qr.waiting");
    case "scanned":
      return t("qr.scanned_how");
    case "cancelled":
      return t("qr.cancelled");
    case "failed":
      return t("qr.failed");
  }
}
