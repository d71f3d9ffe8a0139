import { useEffect, useRef, useState } from "preact/hooks";
import { LoginError } from "../../sdk/mod.ts";
import { errorText } from "../error_text.ts";
import { t } from "../i18n.ts";
import { http, loggedIn, thisBrowser } from "../state/session.ts";

const PAUSE_SECONDS = 60;

/** Counts down to 0, once a second. */
function useCountdown(): [number, (seconds: number) => void] {
  const [endsAtMs, setEnd] = useState(0);
  const [left, setLeft] = useState(0);
  useEffect(() => {
    const count = () => setLeft(Math.max(0, Math.ceil((endsAtMs - Date.now()) / 1000)));
    count();
    const timer = setInterval(count, 500);
    return () => clearInterval(timer);
  }, [endsAtMs]);
  return [left, (seconds) => setEnd(Date.now() + seconds * 1000)];
}

/** Phone number and SMS code. */
export function CodeLogin() {
  const [mobile, setMobile] = useState("");
  const [code, setCode] = useState("");
  const [sent, setSent] = useState<{ devCode: string | null } | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [left, countFrom] = useCountdown();
  const codeInput = useRef<HTMLInputElement>(null);

  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError("");
    try {
      await work();
    } catch (cause) {
      setError(errorText(cause));
      if (cause instanceof LoginError && cause.code === 3 && cause.retryAfterMs) {
        countFrom(cause.retryAfterMs / 1000);
      }
    } finally {
      setBusy(false);
    }
  };
  const sendCode = () =>
    run(async () => {
      if (!/^\+?\d{5,15}$/.test(mobile)) return setError(t("error.mobile"));
      const { devCode } = await http.sendCode(mobile);
      setSent({ devCode: devCode ?? null });
      countFrom(PAUSE_SECONDS);
      codeInput.current?.focus();
    });
  const logIn = (event: Event) => {
    event.preventDefault();
    if (sent === null && code === "") return void sendCode();
    if (!/^\+?\d{5,15}$/.test(mobile)) return setError(t("error.mobile"));
    if (!/^\d{4,8}$/.test(code)) return setError(t("error.code_missing"));
    void run(async () => {
      await http.loginByCode({ mobile, code, ...thisBrowser() });
      await loggedIn();
    });
  };
  return (
    <form class="form" onSubmit={logIn} noValidate>
      <label class="field">
        <span>{t("code.mobile")}</span>
        <input
          name="mobile"
          type="tel"
          autoComplete="tel-national"
          inputMode="tel"
          placeholder={t("code.mobile_hint")}
          value={mobile}
          onInput={(event) => setMobile(event.currentTarget.value.replaceAll(/[\s-]/g, ""))}
        />
      </label>
      <div class="field-row">
        <label class="field">
          <span>{t("code.code")}</span>
          <input
            name="code"
            ref={codeInput}
            autoComplete="one-time-code"
            inputMode="numeric"
            maxLength={8}
            placeholder={t("code.code_hint")}
            value={code}
            onInput={(event) => setCode(event.currentTarget.value.trim())}
          />
        </label>
        <button
          type="button"
          class="button button-quiet"
          disabled={busy || left > 0}
          onClick={() => void sendCode()}
        >
          {left > 0 ? t("code.send_again", { n: left }) : t("code.send")}
        </button>
      </div>
      {sent !== null && (
        <p class="note" role="status">
          {sent.devCode === null ? t("code.sent") : (
            <>
              {t("code.dev")} <strong class="dev-code">{sent.devCode}</strong>{" "}
              <button
                type="button"
                class="link"
                onClick={() => {
                  setCode(sent.devCode ?? "");
                  codeInput.current?.focus();
                }}
              >
                {t("code.dev_use")}
              </button>
            </>
          )}
        </p>
      )}
      <p class="error" role="alert">{error}</p>
      <button type="submit" class="button button-main" disabled={busy}>{t("code.login")}</button>
      <p class="hint">{t("code.first")}</p>
    </form>
  );
}
