import { useState } from "preact/hooks";
import { errorText } from "../error_text.ts";
import { t } from "../i18n.ts";
import { panel } from "../state/place.ts";
import { logout } from "../state/session.ts";
import { Panel } from "./panel.tsx";

/** Asks once before logging out. */
export function LogoutPanel() {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const leave = async () => {
    setBusy(true);
    try {
      await logout();
    } catch (cause) {
      setError(errorText(cause));
      setBusy(false);
    }
  };
  return (
    <Panel title={t("menu.logout")}>
      <p>{t("logout.confirm")}</p>
      <p class="error" role="alert">{error}</p>
      <div class="actions">
        <button type="button" class="button button-quiet" onClick={() => panel.value = null}>
          {t("logout.no")}
        </button>
        <button type="button" class="button button-main" disabled={busy} onClick={() => void leave()}>
          {t("logout.yes")}
        </button>
      </div>
    </Panel>
  );
}
