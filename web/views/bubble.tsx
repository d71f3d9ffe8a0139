import { CONTENT_TYPES } from "../../wire.ts";
import { fullTime, linksIn } from "../format.ts";
import { t } from "../i18n.ts";
import type { TextKey } from "../i18n.ts";
import { compareIds, keyOf } from "../state/conversations.ts";
import { receipts } from "../state/presence.ts";
import { me } from "../state/session.ts";
import { resend } from "../state/threads.ts";
import type { Thread, ThreadItem } from "../state/threads.ts";
import { nameOf } from "../state/users.ts";
import { Avatar } from "./avatar.tsx";
import { Icon } from "./icon.tsx";

/** One message: mine on the right with how far it got, others' on the left. */
export function Bubble(
  { thread, item, starts, ends }: { thread: Thread; item: ThreadItem; starts: boolean; ends: boolean },
) {
  const { message } = item;
  const own = message.from === me.value?.userId;
  if (message.content.type === CONTENT_TYPES.recall) return <p class="separator">{t("message.recalled")}</p>;
  const classes = [
    "bubble-line",
    own ? "own" : "other",
    ends && "ends",
    item.status === "failed" && "failed",
  ];
  return (
    <div class={classes.filter(Boolean).join(" ")}>
      {!own && (starts ? <Avatar userId={message.from} size="small" /> : <span class="avatar-space" />)}
      <div class="bubble" title={fullTime(message.timestamp)}>
        <span class="visually-hidden">{own ? t("message.by_you") : nameOf(message.from)}:</span>
        <span class="bubble-text">
          <MessageText text={textOf(item)} />
        </span>
        {own && <Mark thread={thread} item={item} />}
      </div>
      {item.status === "failed" && (
        <button
          type="button"
          class="resend"
          onClick={() => resend(thread, item)}
        >
          <Icon name="alert" />
          {item.error || t("message.failed")} <span class="resend-again">{t("message.again")}</span>
        </button>
      )}
    </div>
  );
}

function textOf({ message: { content } }: ThreadItem): string {
  return content.searchableContent || content.pushContent || t("message.unknown");
}

/** Text with its links; never markup. */
function MessageText({ text }: { text: string }) {
  return linksIn(text).map(({ text: piece, href }, index) =>
    href === null
      ? piece
      : <a key={index} href={href} target="_blank" rel="noopener noreferrer nofollow">{piece}</a>
  );
}

const MARKS = {
  sending: { icon: "clock", label: "message.sending" },
  waiting: { icon: "clock", label: "message.waiting" },
  failed: { icon: "alert", label: "message.failed" },
  sent: { icon: "check", label: "message.sent" },
  delivered: { icon: "checks", label: "message.delivered" },
  read: { icon: "checks", label: "message.read" },
} as const satisfies Record<string, { icon: string; label: TextKey }>;

function Mark({ thread, item }: { thread: Thread; item: ThreadItem }) {
  const receipt = receipts.value.get(keyOf(thread.conversation));
  const reached = (to: string | undefined) => to !== undefined && compareIds(to, item.message.messageId) >= 0;
  const name = item.status !== "stored"
    ? item.status
    : reached(receipt?.readTo)
    ? "read"
    : reached(receipt?.deliveredTo)
    ? "delivered"
    : "sent";
  const { icon, label } = MARKS[name];
  return (
    <span class={`mark mark-${name}`} role="img" aria-label={t(label)} title={t(label)}>
      {name === "sending" ? <span class="spinner spinner-small" /> : <Icon name={icon} />}
    </span>
  );
}
