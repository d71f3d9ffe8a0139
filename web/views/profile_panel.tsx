import { useState } from "preact/hooks";
import { errorText } from "../error_text.ts";
import { t } from "../i18n.ts";
import { me, requireClient } from "../state/session.ts";
import { keepUser, nameOf, userOf } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";
import { Panel } from "./panel.tsx";

/** The number of the display name in `user.update_me`. */
const DISPLAY_NAME = 0;

/** My profile. */
export function ProfilePanel() {
  const userId = me.value?.userId ?? "";
  const user = userOf(userId).value;
  const [name, setName] = useState(nameOf(userId));
  const [note, setNote] = useState<{ kind: "saved" | "error"; text: string } | null>(null);
  const [busy, setBusy] = useState(false);
  const save = async (event: Event) => {
    event.preventDefault();
    const value = name.trim();
    if (value === "") return setNote({ kind: "error", text: t("profile.empty") });
    setBusy(true);
    try {
      await requireClient().request("user.update_me", { entries: [{ type: DISPLAY_NAME, value }] });
      keepUser({ userId, portrait: user?.portrait ?? "", type: user?.type ?? 0, displayName: value });
      setNote({ kind: "saved", text: t("profile.saved") });
    } catch (cause) {
      setNote({
        kind: "error",
        text: errorText(cause),
      });
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title={t("profile.title")}>
      <div class="profile-face">
        <Avatar userId={userId} size="large" />
      </div>
      <form class="form" onSubmit={save}>
        <label class="field">
          <span>{t("profile.name")}</span>
          <input value={name} maxLength={64} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <p class={note?.kind === "error" ? "error" : "saved"} role="status">{note?.text ?? ""}</p>
        <button type="submit" class="button button-main" disabled={busy}>{t("profile.save")}</button>
      </form>
      <dl class="facts">
        {user?.mobile !== undefined && user.mobile !== "" && (
          <div>
            <dt>{t("profile.mobile")}</dt>
            <dd>{user.mobile}</dd>
          </div>
        )}
        <div>
          <dt>{t("profile.user_id")}</dt>
          <dd>{userId}</dd>
        </div>
      </dl>
    </Panel>
  );
}
