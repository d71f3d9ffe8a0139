import type { StoredMessageView } from "./notice.ts";

/**
 * The JSON text of a message as a user sees it whose conversation has this target. Pulls, history and events all
 * carry this text; the content inside was encoded once, when the message was admitted.
 */
export function messageJson(message: StoredMessageView, target: string): string {
  return `{"messageId":"${message.messageId}","clientMessageId":${JSON.stringify(message.clientMessageId)}` +
    `,"conversation":${conversationJson(message.conversationType, target, message.line)}` +
    `,"from":"${message.from}","content":${message.contentJson},"to":${JSON.stringify(message.to)}` +
    `,"timestamp":${message.timestamp},"editedAt":${message.editedAt}}`;
}

/** The JSON text of a conversation; ids hold no character that JSON escapes. */
export function conversationJson(type: number, target: string, line: number): string {
  return `{"type":${type},"target":"${target}","line":${line}}`;
}
