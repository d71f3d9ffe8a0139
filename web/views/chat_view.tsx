import { useEffect } from "preact/hooks";
import type { Conversation } from "../../sdk/mod.ts";
import { t } from "../i18n.ts";
import { keyOf, markRead, stateOf } from "../state/conversations.ts";
import { attended, closeChat } from "../state/place.ts";
import { askReceipts, typing } from "../state/presence.ts";
import { connection, me } from "../state/session.ts";
import { threadOf } from "../state/threads.ts";
import { nameOf } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";
import { Composer } from "./composer.tsx";
import { Icon } from "./icon.tsx";
import { MessageList } from "./message_list.tsx";

/** One conversation: who, what was said, what to say. */
export function ChatView({ conversation }: { conversation: Conversation }) {
  const key = keyOf(conversation);
  const name = conversation.target === me.value?.userId ? t("chat.myself") : nameOf(conversation.target);
  const isTyping = typing.value.has(key);
  const newestId = stateOf(key)?.lastMessage?.messageId;
  const isAttended = attended.value;
  const online = connection.value.name === "online";
  useEffect(() => {
    if (online) void askReceipts(conversation);
  }, [online, key]);
  useEffect(() => {
    if (isAttended && online) void markRead(key);
  }, [isAttended, online, newestId, key]);
  return (
    <section class="chat" aria-label={t("chat.messages", { name })}>
      <header class="chat-top">
        <button type="button" class="round chat-back" aria-label={t("chat.back")} onClick={closeChat}>
          <Icon name="back" />
        </button>
        <Avatar userId={conversation.target} size="small" />
        <div class="chat-who">
          <h2>{name}</h2>
          <p class="chat-typing" role="status">{isTyping ? t("chat.typing", { name }) : ""}</p>
        </div>
      </header>
      <MessageList thread={threadOf(conversation)} name={name} />
      <Composer conversation={conversation} name={name} />
    </section>
  );
}
