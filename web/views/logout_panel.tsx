import { useState } from "preact/hooks";
import { t } from "../i18n.ts";
import { panel } from "../state/place.ts";
import { logout } from "../state/session.ts";
import { loginErrorText } from "./code_login.tsx";
import { Panel } from "./panel.tsx";

/** Asks once before logging out. */
export function LogoutPanel() {
  const [error, setError] = useState("");
  const leave = async () => {
    try {
      await logout();
      panel.value = null;
    } catch (cause) {
      setError(loginErrorText(cause));
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
        <button type="button" class="button button-main" onClick={() => void leave()}>
          {t("logout.yes")}
        </button>
      </div>
    </Panel>
  );
}
