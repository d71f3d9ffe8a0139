/** Messages in one line, for the list and for notifications. */
import type { Message } from "../sdk/mod.ts";
import { CONTENT_TYPES } from "../wire.ts";
import { t } from "./i18n.ts";

/** What a message says in one line. */
export function digestOf({ content }: Message): string {
  if (content.type === CONTENT_TYPES.recall) return t("message.recalled");
  return content.searchableContent || content.pushContent || t("message.unknown");
}
