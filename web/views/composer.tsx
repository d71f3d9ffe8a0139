import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Conversation } from "../../sdk/mod.ts";
import { t } from "../i18n.ts";
import { keyOf } from "../state/conversations.ts";
import { draftOf, keepDraft } from "../state/drafts.ts";
import { stopTyping, tellTyping } from "../state/presence.ts";
import { sendText } from "../state/threads.ts";
import { Icon } from "./icon.tsx";

/** Well below the 64 KiB a content may have: up to four bytes a character, and quotes are escaped. */
const MAX_CHARACTERS = 10_000;
const MAX_HEIGHT_PX = 180;

/** Where a message is written. Enter sends; Shift or Ctrl with Enter breaks the line. */
export function Composer({ conversation, name }: { conversation: Conversation; name: string }) {
  const key = keyOf(conversation);
  const [text, setText] = useState(() => draftOf(key));
  const input = useRef<HTMLTextAreaElement>(null);
  const tooLong = text.length - MAX_CHARACTERS;
  const sendable = text.trim() !== "" && tooLong <= 0;

  useLayoutEffect(() => {
    const element = input.current!;
    element.style.height = "auto";
    element.style.height = `${Math.min(MAX_HEIGHT_PX, element.scrollHeight)}px`;
  }, [text]);
  useLayoutEffect(() => {
    // On a touch screen the keyboard would cover the messages before they are read.
    if (globalThis.matchMedia("(hover: hover)").matches) input.current!.focus();
  }, []);

  const change = (next: string) => {
    setText(next);
    keepDraft(key, next);
    if (next.trim() === "") stopTyping(conversation);
    else tellTyping(conversation);
  };
  const send = () => {
    if (!sendable) return;
    sendText(conversation, text.trim());
    stopTyping(conversation);
    setText("");
    keepDraft(key, "");
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // 229 is what some input methods report for the Enter that chooses a candidate.
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
    if (event.shiftKey) return;
    event.preventDefault();
    if (!event.ctrlKey && !event.metaKey) return send();
    const { selectionStart, selectionEnd } = input.current!;
    input.current!.setRangeText("\n", selectionStart, selectionEnd, "end");
    change(input.current!.value);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <textarea
          ref={input}
          rows={1}
          aria-label={t("composer.label", { name })}
          placeholder={t("composer.hint")}
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {tooLong > 0 && <p class="error" role="alert">{t("composer.too_long", { n: tooLong })}</p>}
        <button type="submit" class="send" aria-label={t("composer.send")} disabled={!sendable}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}
