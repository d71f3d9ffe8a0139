import type { Conversation } from "../wire.ts";
import { CONVERSATION_TYPES } from "../wire.ts";

/**
 * The target under which a conversation's messages are stored: a single chat stands under both ids in byte order,
 * joined by `|` (no id can hold one); every other conversation under its own id.
 */
export function canonicalTarget(userId: string, conversation: Conversation): string {
  if (conversation.type !== CONVERSATION_TYPES.single) return conversation.target;
  return userId < conversation.target
    ? `${userId}|${conversation.target}`
    : `${conversation.target}|${userId}`;
}

/** The target of a stored conversation as one of its users sees it; the inverse of {@linkcode canonicalTarget}. */
export function targetSeenBy(userId: string, type: number, canonical: string): string {
  if (type !== CONVERSATION_TYPES.single) return canonical;
  const bar = canonical.indexOf("|");
  const first = canonical.slice(0, bar), second = canonical.slice(bar + 1);
  return first === userId ? second : first;
}
