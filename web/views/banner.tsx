import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n.ts";
import { connection, requireClient } from "../state/session.ts";

/** Says when the page is not connected; short interruptions are not worth a word. */
export function Banner() {
  const state = connection.value;
  const [nowMs, setNow] = useState(Date.now);
  const [shown, setShown] = useState(false);
  const fine = state.name === "online" || state.name === "idle" || state.name === "ended";
  useEffect(() => {
    if (fine) return setShown(false);
    const delay = setTimeout(() => setShown(true), 700);
    const clock = setInterval(() => setNow(Date.now()), 500);
    return () => {
      clearTimeout(delay);
      clearInterval(clock);
    };
  }, [fine]);
  const visible = shown && !fine;
  return (
    <div class={visible ? "banner banner-shown" : "banner"} role="status">
      {visible && state.name === "waiting" && (
        <>
          <span>
            {state.retryAtMs === null
              ? t("state.offline")
              : t("state.waiting", { n: Math.max(0, Math.ceil((state.retryAtMs - nowMs) / 1000)) })}
          </span>
          {state.retryAtMs !== null && (
            <button
              type="button"
              class="link"
              onClick={() => requireClient().wake()}
            >
              {t("state.retry")}
            </button>
          )}
        </>
      )}
      {visible && state.name === "connecting" && <span>{t("state.connecting")}</span>}
      {visible && state.name === "syncing" && <span>{t("state.syncing")}</span>}
    </div>
  );
}
