/**
 * What topic names and topic filters may look like, and which filters are granted.
 *
 * Source: MQTT Version 5.0, section 4.7; MQTT Version 3.1.1, section 4.7.
 */

/** Where the server publishes replies, to the requesting connection only. */
export const REPLY_TOPIC = "me/reply";
/** Where the server publishes events, to every connection of the user. */
export const INBOX_TOPIC = "me/inbox";
/** Requests are published to this and a command name. */
export const REQUEST_PREFIX = "im/";

/** Limits of one topic filter. */
export interface FilterLimits {
  readonly maxTopicLevels: number;
  readonly maxFilterBytes: number;
}

/** Why a filter is not granted. */
export type FilterRefusal = "too-long" | "shared" | "closed";

/** Whether a topic name holds a wildcard, which only filters may. [MQTT-3.3.2-2] */
export function hasWildcard(topic: string): boolean {
  return topic.includes("#") || topic.includes("+");
}

/** Whether wildcards stand alone in their level, and `#` in the last one. [MQTT-4.7.1-1] [MQTT-4.7.1-2] */
export function isTopicFilter(topicFilter: string): boolean {
  if (topicFilter.length === 0) return false; // [MQTT-4.7.3-1]
  if (!hasWildcard(topicFilter)) return true;
  const levels = topicFilter.split("/");
  return levels.every((level, i) =>
    !hasWildcard(level) || level === "+" || (level === "#" && i === levels.length - 1)
  );
}

/** The parts of `$share/<name>/<filter>`; null when it is no shared subscription. */
export function splitShare(
  topicFilter: string,
): { readonly name: string; readonly topicFilter: string } | null {
  if (!topicFilter.startsWith("$share/")) return null;
  const slash = topicFilter.indexOf("/", 7);
  return slash < 0
    ? { name: topicFilter.slice(7), topicFilter: "" }
    : { name: topicFilter.slice(7, slash), topicFilter: topicFilter.slice(slash + 1) };
}

/** The filters of a user's own place; the same name means a different place for every user. */
const ME_FILTERS: ReadonlySet<string> = new Set(["me/#", "me/+", "me/reply", "me/reply/#", "me/inbox"]);

/** Whether a filter is granted: null when it is, otherwise why not. */
export function refuseFilter(topicFilter: string, limits: FilterLimits): FilterRefusal | null {
  if (ME_FILTERS.has(topicFilter)) return null;
  if (topicFilter.length * 3 > limits.maxFilterBytes && byteLength(topicFilter) > limits.maxFilterBytes) {
    return "too-long";
  }
  if (countLevels(topicFilter) > limits.maxTopicLevels) return "too-long";
  return splitShare(topicFilter) === null ? "closed" : "shared";
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function countLevels(topic: string): number {
  let levels = 1;
  for (let i = topic.indexOf("/"); i >= 0; i = topic.indexOf("/", i + 1)) levels++;
  return levels;
}

/** The command a topic asks for; null when the topic is not `im/…`. */
export function commandOf(topic: string): string | null {
  return topic.startsWith(REQUEST_PREFIX) ? topic.slice(REQUEST_PREFIX.length) : null;
}

/** The topic a request is answered on: its Response Topic where that lies below `me/reply`, otherwise `me/reply`. */
export function replyTopicOf(responseTopic: string | null): string {
  return responseTopic?.startsWith("me/reply/") ? responseTopic : REPLY_TOPIC;
}
