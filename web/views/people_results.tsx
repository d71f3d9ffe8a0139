import { useEffect, useState } from "preact/hooks";
import type { UserInfo } from "../../sdk/mod.ts";
import { errorText } from "../error_text.ts";
import { t } from "../i18n.ts";
import { openChat } from "../state/place.ts";
import { me, requireClient } from "../state/session.ts";
import { keepUser } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";

const TYPING_PAUSE_MS = 250;

/** People whose name or number matches; choosing one opens the chat. */
export function PeopleResults({ keyword, onChosen }: { keyword: string; onChosen: () => void }) {
  const [users, setUsers] = useState<readonly UserInfo[] | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const found = await requireClient().request("user.search", { keyword, type: 0, page: 0 });
        if (!current) return;
        found.users.forEach(keepUser);
        setUsers(found.users);
        setError("");
      } catch (cause) {
        if (current) {
          setError(errorText(cause));
        }
      }
    }, TYPING_PAUSE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [keyword]);
  const status = error !== ""
    ? error
    : users === null
    ? t("people.searching")
    : users.length === 0
    ? t("people.none", { keyword })
    : "";
  return (
    <div class="list">
      <p class={status === "" ? "list-status list-status-empty" : "list-status"} role="status">{status}</p>
      <ul aria-label={t("people.results")}>
        {users?.map(({ userId, displayName, name }) => (
          <li key={userId}>
            <button
              type="button"
              class="row"
              onClick={() => {
                openChat({ type: 0, target: userId, line: 0 });
                onChosen();
              }}
            >
              <Avatar userId={userId} />
              <span class="row-text">
                <span class="row-title">{displayName || name || userId}</span>
                <span class="row-digest">
                  {userId === me.value?.userId ? t("chat.myself") : name || userId}
                </span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
