import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../i18n.ts";
import { me } from "../state/session.ts";
import { nameOf } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";
import { ConversationList } from "./conversation_list.tsx";
import { Icon } from "./icon.tsx";
import { Menu } from "./menu.tsx";
import { PeopleResults } from "./people_results.tsx";

const keyword = signal("");

/** Who I am, the search, and the chats or what the search found. */
export function Sidebar() {
  const userId = me.value?.userId ?? "";
  useEffect(() => () => void (keyword.value = ""), []);
  return (
    <nav class="sidebar" aria-label={t("list.title")}>
      <header class="sidebar-top">
        <Avatar userId={userId} size="small" />
        <span class="sidebar-me">{nameOf(userId)}</span>
        <Menu />
      </header>
      <div class="search" role="search">
        <Icon name="search" />
        <input
          type="text"
          aria-label={t("people.search")}
          placeholder={t("people.search")}
          value={keyword}
          autoComplete="off"
          onInput={(event) => keyword.value = event.currentTarget.value}
          onKeyDown={(event) => {
            if (event.key !== "Escape" || keyword.value === "") return;
            event.preventDefault();
            keyword.value = "";
          }}
        />
        {keyword.value !== "" && (
          <button
            type="button"
            class="round"
            aria-label={t("people.clear")}
            onClick={() => keyword.value = ""}
          >
            <Icon name="close" />
          </button>
        )}
      </div>
      {keyword.value.trim() === ""
        ? <ConversationList />
        : <PeopleResults keyword={keyword.value.trim()} onChosen={() => keyword.value = ""} />}
    </nav>
  );
}
