import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { longTime } from "../format.ts";
import { t } from "../i18n.ts";
import { compareIds, keyOf, stateOf } from "../state/conversations.ts";
import { me } from "../state/session.ts";
import { loadOlder } from "../state/threads.ts";
import type { Thread, ThreadItem } from "../state/threads.ts";
import { Bubble } from "./bubble.tsx";
import { Icon } from "./icon.tsx";
import { useWindow } from "./message_window.ts";

/** A gap that gets a time between two messages. */
const GAP_MS = 5 * 60_000;
/** Messages of one person closer than this stand as one group. */
const GROUP_MS = 3 * 60_000;

/** The messages of a thread, the newest at the bottom. */
export function MessageList({ thread, name }: { thread: Thread; name: string }) {
  const items = thread.items.value;
  const scroller = useRef<HTMLDivElement>(null);
  const window = useWindow(scroller, items, () => void loadOlder(thread));
  const userId = me.value?.userId;
  // Where reading stopped when the chat was opened; the line stays there until something is answered.
  const [readTo, setReadTo] = useState(() => {
    const state = stateOf(keyOf(thread.conversation));
    return state !== undefined && state.unread.count > 0 ? state.readMessageId : null;
  });
  const lastSeen = useRef<string | undefined>(undefined);
  const lastKey = items.at(-1)?.key;
  if (window.atEnd) lastSeen.current = lastKey;
  const seenAt = items.findLastIndex(({ key }) => key === lastSeen.current);
  const unseen = window.atEnd
    ? 0
    : items.slice(seenAt + 1).filter(({ message }) => message.from !== userId).length;
  const ownLast = items.at(-1)?.message.from === userId ? lastKey : undefined;
  const ownLastBefore = useRef(ownLast);
  useEffect(() => {
    if (ownLast === undefined || ownLast === ownLastBefore.current) return;
    ownLastBefore.current = ownLast;
    setReadTo(null);
    window.toEnd();
  }, [ownLast]);
  // A page that does not fill the pane leaves nothing to scroll: the next one is loaded at once.
  useLayoutEffect(() => {
    const element = scroller.current!;
    if (element.scrollHeight <= element.clientHeight && thread.loading.value === "idle") {
      void loadOlder(thread);
    }
  }, [items, thread.loading.value]);
  const firstUnread = readTo === null
    ? -1
    : items.findIndex(({ message, status }) =>
      status === "stored" && message.from !== userId && compareIds(message.messageId, readTo) > 0
    );
  return (
    <div class="messages">
      <div
        class="messages-scroll"
        ref={scroller}
        tabIndex={0}
        role="log"
        aria-label={t("chat.messages", { name })}
      >
        <HistoryState thread={thread} name={name} isAtStart={window.start === 0} />
        <ol>
          {items.slice(window.start, window.end).map((item, offset) => {
            const index = window.start + offset;
            return (
              <Line
                key={item.key}
                thread={thread}
                item={item}
                before={items[index - 1]}
                next={items[index + 1]}
                isFirstUnread={index === firstUnread}
              />
            );
          })}
        </ol>
      </div>
      {!window.atEnd && (
        <button
          type="button"
          class={unseen > 0 ? "chip chip-new" : "chip"}
          aria-label={unseen > 0 ? t("chat.new_label", { n: unseen }) : t("chat.newest")}
          onClick={window.toEnd}
        >
          <Icon name="down" />
          {unseen > 0 && t("chat.new", { n: unseen })}
        </button>
      )}
    </div>
  );
}

function HistoryState({ thread, name, isAtStart }: { thread: Thread; name: string; isAtStart: boolean }) {
  const loading = thread.loading.value;
  const isWhole = !thread.hasMore.value && isAtStart;
  return (
    <div class="history-state" role="status">
      {loading === "loading" && (
        <>
          <span class="spinner" aria-hidden="true" />
          <span class="visually-hidden">{t("chat.loading")}</span>
        </>
      )}
      {loading === "failed" && (
        <>
          {t("chat.history_failed")}{" "}
          <button type="button" class="link" onClick={() => void loadOlder(thread)}>{t("chat.retry")}</button>
        </>
      )}
      {loading === "idle" && isWhole && t("chat.start", { name })}
    </div>
  );
}

function Line(
  { thread, item, before, next, isFirstUnread }: {
    thread: Thread;
    item: ThreadItem;
    before: ThreadItem | undefined;
    next: ThreadItem | undefined;
    isFirstUnread: boolean;
  },
) {
  const { message } = item;
  const gap = before === undefined || message.timestamp - before.message.timestamp > GAP_MS;
  const starts = gap || isFirstUnread || !isOneGroup(before, item);
  const ends = next === undefined || !isOneGroup(item, next);
  return (
    <li class={starts ? "line line-starts" : "line"} data-key={item.key}>
      {gap && (
        <p class="separator">
          <time dateTime={new Date(message.timestamp).toISOString()}>{longTime(message.timestamp)}</time>
        </p>
      )}
      {isFirstUnread && <p class="separator separator-unread">{t("chat.unread_line")}</p>}
      <Bubble thread={thread} item={item} starts={starts} ends={ends} />
    </li>
  );
}

function isOneGroup(a: ThreadItem, b: ThreadItem): boolean {
  return a.message.from === b.message.from && b.message.timestamp - a.message.timestamp < GROUP_MS;
}
