import { useEffect } from "preact/hooks";
import { t } from "../i18n.ts";
import { conversations, listed } from "../state/conversations.ts";
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
  const isNew = listed.value && conversations.value.length === 0;
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
      <main class="panes">
        <h1 class="visually-hidden">Hearth</h1>
        <Sidebar />
        <div class="chat-pane">
          {conversation === null
            ? (
              <div class="empty">
                <Icon name="chat" />
                <h2>{t(isNew ? "chat.welcome" : "chat.choose")}</h2>
                <p>{t(isNew ? "chat.welcome_how" : "chat.choose_how")}</p>
              </div>
            )
            : <ChatView key={openKey.value} conversation={conversation} />}
        </div>
      </main>
      {panel.value === "profile" && <ProfilePanel />}
      {panel.value === "devices" && <DevicesPanel />}
      {panel.value === "logout" && <LogoutPanel />}
    </div>
  );
}
