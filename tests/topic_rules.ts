/** What section 4.7 says of matching, word by word and without regard to speed; and topics to try it with. */
import type { Dice } from "./dice.ts";

/** Whether a filter matches a topic. Source: MQTT Version 5.0, sections 4.7.1 to 4.7.3. */
export function ruleMatches(topicFilter: string, topic: string): boolean {
  if (topic.startsWith("$") && /^[+#]/.test(topicFilter)) return false;
  const wanted = topicFilter.split("/");
  const levels = topic.split("/");
  if (wanted.at(-1) === "#") {
    wanted.pop(); // "the parent and any number of child levels"
    if (levels.length < wanted.length) return false;
    levels.length = wanted.length;
  }
  return wanted.length === levels.length && wanted.every((level, i) => level === "+" || level === levels[i]);
}

const LEVELS = ["", "a", "b", "ab", "a b", "ä", "$a", "im", "me"];

/** A topic of few different levels, so that many are alike; never the empty one. */
export function rollTopic(dice: Dice): string {
  const topic = Array.from({ length: 1 + dice.roll(5) }, () => dice.pick(LEVELS)).join("/");
  return topic === "" ? "/" : topic;
}

/** A topic with wildcards in some of its levels. */
export function rollFilter(dice: Dice): string {
  const levels = rollTopic(dice).split("/").map((level) => dice.roll(3) === 0 ? "+" : level);
  const end = dice.roll(4);
  if (end === 0) levels[levels.length - 1] = "#";
  if (end === 1) levels.push("#");
  return levels.join("/");
}
