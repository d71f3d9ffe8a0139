import type { OpenTopics } from "./open_topics.ts";
import { commandOf, type FilterLimits, isMeFilter, isTooLong, isTopicFilter, splitShare } from "./topic.ts";

/** Why a topic name may not be published to. */
export type TopicRefusal = "too-long" | "closed";

/** Why a topic filter is not granted. */
export type FilterRefusal = TopicRefusal | "shared";

/** Which topics a client may use: open ones, and those of the IM when it has logged in. */
export class TopicAccess {
  readonly #openTopics: OpenTopics;
  readonly #limits: FilterLimits;
  readonly #isAnonymous: boolean;

  constructor(openTopics: OpenTopics, limits: FilterLimits, isAnonymous: boolean) {
    this.#openTopics = openTopics;
    this.#limits = limits;
    this.#isAnonymous = isAnonymous;
  }

  /** The command a topic asks for; null when it asks for none, or this client may not ask. */
  commandOf(topic: string): string | null {
    return this.#isAnonymous ? null : commandOf(topic);
  }

  /** Whether an open topic may be published to, by a client and by its will: null when it may. */
  refuseTopic(topic: string): TopicRefusal | null {
    if (!this.#openTopics.isOpen(topic)) return "closed";
    return isTooLong(topic, this.#limits) ? "too-long" : null;
  }

  /** Whether a filter is granted: null when it is. To 3.1.1 a shared subscription is a filter like any other. */
  refuseFilter(topicFilter: string): FilterRefusal | null {
    if (isMeFilter(topicFilter)) return this.#isAnonymous ? "closed" : null;
    if (isTooLong(topicFilter, this.#limits)) return "too-long";
    const share = splitShare(topicFilter);
    if (share === null) return this.#openTopics.covers(topicFilter) ? null : "closed";
    if (this.#openTopics.isEmpty) return "shared";
    // 5.0 has been refused with a malformed one. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    if (share.name === "" || /[+#]/.test(share.name) || !isTopicFilter(share.topicFilter)) return "closed";
    return this.#openTopics.covers(share.topicFilter) ? null : "closed";
  }
}
