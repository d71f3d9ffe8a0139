import { matchesFilter } from "./topic.ts";

/**
 * The topics clients may publish and subscribe to among themselves. `im`, `me` and what lies below them, and topics
 * that begin with `$`, are never among them.
 */
export class OpenTopics {
  readonly #filters: readonly string[];
  readonly #levels: readonly (readonly string[])[];

  /** Takes filters as the setting OPEN_TOPICS lets pass: well formed, and none that names a closed place first. */
  constructor(filters: readonly string[]) {
    this.#filters = [...filters];
    this.#levels = filters.map(levelsOf);
  }

  /** Whether no topic is open. */
  get isEmpty(): boolean {
    return this.#filters.length === 0;
  }

  /** Which filter lets a topic in: the place of the first that does, or -1. */
  indexOf(topic: string): number {
    if (isClosed(topic)) return -1;
    for (let i = 0; i < this.#filters.length; i++) {
      if (matchesFilter(this.#filters[i]!, topic)) return i;
    }
    return -1;
  }

  /** Whether a topic is open. */
  isOpen(topic: string): boolean {
    return this.indexOf(topic) >= 0;
  }

  /**
   * Whether every topic this filter can match, apart from the closed ones its wildcards reach, is open by one and the
   * same filter. A filter that names a closed place, such as `im/#` or a shared one, is not covered.
   */
  covers(topicFilter: string): boolean {
    if (this.isEmpty || isClosed(topicFilter)) return false;
    const levels = levelsOf(topicFilter);
    return this.#levels.some((open) => covers(open, levels));
  }
}

/** Whether the first level of a topic, or of a filter, names a place that is never open. */
function isClosed(topic: string): boolean {
  return topic.startsWith("$") || topic === "im" || topic === "me" || topic.startsWith("im/") ||
    topic.startsWith("me/");
}

/** A topic has one level at least, so `#` is the same as `+/#`: without it alone, levels compare one by one. */
function levelsOf(topicFilter: string): readonly string[] {
  return topicFilter === "#" ? ["+", "#"] : topicFilter.split("/");
}

function covers(open: readonly string[], levels: readonly string[]): boolean {
  for (let i = 0;; i++) {
    const wide = open[i];
    if (wide === "#") return true; // also of nothing more: a/# covers a
    const level = levels[i];
    if (wide === undefined || level === undefined) return wide === level;
    if (level === "#" || (wide !== "+" && wide !== level)) return false;
  }
}
