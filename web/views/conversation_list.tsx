import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ConversationState, Message } from "../../sdk/mod.ts";
import { digestOf } from "../digest.ts";
import { shortTime } from "../format.ts";
import { t } from "../i18n.ts";
import { conversations, keyOf, listed } from "../state/conversations.ts";
import { draftOf } from "../state/drafts.ts";
import { openChat, openKey } from "../state/place.ts";
import { typing } from "../state/presence.ts";
import { me } from "../state/session.ts";
import { nameOf } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";

/** Must be the height of `.row` in the style sheet. */
const ROW_PX = 72;
const SPARE_ROWS = 6;

/** All chats, the newest on top; of thousands only those in sight are drawn. */
export function ConversationList() {
  const list = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const all = conversations.value;
  useLayoutEffect(() => {
    const element = list.current!;
    const look = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / ROW_PX) - SPARE_ROWS);
  const last = Math.min(all.length, Math.ceil((view.top + view.height) / ROW_PX) + SPARE_ROWS);
  return (
    <div class="list" ref={list}>
      {listed.value && all.length === 0 && (
        <div class="empty empty-small">
          <h2>{t("list.empty")}</h2>
          <p>{t("list.empty_how")}</p>
        </div>
      )}
      {!listed.value && (
        <div class="list-wait" role="status" aria-label={t("app.loading")}>
          <span class="spinner" />
        </div>
      )}
      <ul
        aria-label={t("list.title")}
        style={{ height: `${all.length * ROW_PX}px` }}
        hidden={all.length === 0}
      >
        {all.slice(first, last).map((state, index) => (
          <li
            key={keyOf(state.conversation)}
            class="placed"
            style={{ transform: `translateY(${(first + index) * ROW_PX}px)` }}
            aria-setsize={all.length}
            aria-posinset={first + index + 1}
          >
            <ConversationRow state={state} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function ConversationRow({ state }: { state: ConversationState }) {
  const { conversation, lastMessage, unread } = state;
  const key = keyOf(conversation);
  const isOpen = openKey.value === key;
  const own = conversation.target === me.value?.userId;
  return (
    <button
      type="button"
      class="row"
      aria-current={isOpen ? "true" : undefined}
      onClick={() => openChat(conversation)}
    >
      <Avatar userId={conversation.target} />
      <span class="row-text">
        <span class="row-line">
          <span class="row-title">{own ? t("chat.myself") : nameOf(conversation.target)}</span>
          {lastMessage !== null && <span class="row-time">{shortTime(lastMessage.timestamp)}</span>}
        </span>
        <span class="row-line">
          <Digest conversationKey={key} message={lastMessage} isOpen={isOpen} />
          {unread.count > 0 && (
            <span class="badge" role="img" aria-label={t("list.unread", { n: unread.count })}>
              {unread.count > 99 ? "99+" : unread.count}
            </span>
          )}
        </span>
      </span>
    </button>
  );
}

function Digest(
  { conversationKey, message, isOpen }: { conversationKey: string; message: Message | null; isOpen: boolean },
) {
  if (typing.value.has(conversationKey)) {
    return <span class="row-digest row-typing">{t("chat.typing_short")}</span>;
  }
  const draft = isOpen ? "" : draftOf(conversationKey);
  if (draft !== "") {
    return (
      <span class="row-digest">
        <span class="row-draft">{t("list.draft")}</span> {draft}
      </span>
    );
  }
  if (message === null) return <span class="row-digest" />;
  const text = digestOf(message);
  return <span class="row-digest">{message.from === me.value?.userId ? t("list.you", { text }) : text}</span>;
}
