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

/** Limits of a topic filter, and of a topic name. */
export interface FilterLimits {
  readonly maxTopicLevels: number;
  readonly maxFilterBytes: number;
}

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

const SLASH = 47;
const PLUS = 43;
const HASH = 35;
/** The topic does not begin with what the filter asks for. */
export const NO_MATCH = -1;
/** The filter ends in `#` and takes all that is left of the topic. */
export const TAKES_ALL = -2;

/**
 * Whether a filter matches a topic; both are well formed, and the filter is not a shared one.
 *
 * Source: MQTT Version 5.0, section 4.7.
 */
export function matchesFilter(topicFilter: string, topic: string): boolean {
  const first = topicFilter.charCodeAt(0);
  if (topic.startsWith("$") && (first === PLUS || first === HASH)) return false; // [MQTT-4.7.2-1]
  const end = followFilter(topicFilter, topic, 0);
  return end === TAKES_ALL || end > topic.length;
}

/**
 * Takes the levels of a filter, or of a part of one, off a topic that goes on at `at`: where it goes on then (past its
 * length when nothing is left), {@linkcode NO_MATCH} or {@linkcode TAKES_ALL}. The rule of `$` topics is the caller's.
 */
export function followFilter(path: string, topic: string, at: number): number {
  for (let i = 0;; i++, at++) {
    const first = path.charCodeAt(i);
    if (first === HASH) return TAKES_ALL; // also of nothing: sport/# matches sport
    if (at > topic.length) return NO_MATCH;
    if (first === PLUS) {
      i++;
      at = levelEnd(topic, at);
    } else {
      for (; i < path.length && path.charCodeAt(i) !== SLASH; i++, at++) {
        if (path.charCodeAt(i) !== topic.charCodeAt(at)) return NO_MATCH; // [MQTT-4.7.3-4]
      }
      if (at < topic.length && topic.charCodeAt(at) !== SLASH) return NO_MATCH;
    }
    if (i === path.length) return at + 1;
  }
}

/** Where the level that begins at `at` ends. */
export function levelEnd(path: string, at: number): number {
  const slash = path.indexOf("/", at);
  return slash < 0 ? path.length : slash;
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

/** Whether it is one of the filters of a user's own place. */
export function isMeFilter(topicFilter: string): boolean {
  return ME_FILTERS.has(topicFilter);
}

/** Whether a topic name or filter has more bytes or levels than it may. */
export function isTooLong(topic: string, { maxTopicLevels, maxFilterBytes }: FilterLimits): boolean {
  return (topic.length * 3 > maxFilterBytes && byteLength(topic) > maxFilterBytes) ||
    (topic.length >= maxTopicLevels && countLevels(topic) > maxTopicLevels);
}

/** Bytes of a text in UTF-8. */
export function byteLength(text: string): number {
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
