import { useEffect } from "preact/hooks";
import { t } from "../i18n.ts";
import { closeChat, openConversation, openKey, panel } from "../state/place.ts";
import { Banner } from "./banner.tsx";
import { ChatView } from "./chat_view.tsx";
import { DevicesPanel } from "./devices_panel.tsx";
import { Icon } from "./icon.tsx";
import { LogoutPanel } from "./logout_panel.tsx";
import { ProfilePanel } from "./profile_panel.tsx";
import { Sidebar } from "./sidebar.tsx";

/** The list on the left, the open conversation on the right; on a phone one at a time. */
export function ChatPage() {
  const conversation = openConversation.value;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && panel.value === null && !event.isComposing) {
        closeChat();
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
  return (
    <div class={conversation === null ? "chat-page" : "chat-page chat-open"}>
      <Banner />
      <div class="panes">
        <Sidebar />
        <main class="chat-pane">
          {conversation === null
            ? (
              <div class="empty">
                <Icon name="chat" />
                <h2>{t("chat.choose")}</h2>
                <p>{t("chat.choose_how")}</p>
              </div>
            )
            : <ChatView key={openKey.value} conversation={conversation} />}
        </main>
      </div>
      {panel.value === "profile" && <ProfilePanel />}
      {panel.value === "devices" && <DevicesPanel />}
      {panel.value === "logout" && <LogoutPanel />}
    </div>
  );
}
