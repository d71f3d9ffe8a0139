import { encodeSubscriptionIds } from "./encode_publication.ts";
import type { SubscriptionOptions } from "./publication.ts";
import { isMeFilter, REPLY_TOPIC } from "./topic.ts";

/** What the subscriptions that cover a topic of the user's own ask for together. */
export interface MeGrant {
  /** The highest of them. [MQTT-3.3.4-2] */
  readonly qos: number;
  /** Their Subscription Identifiers as properties of 5.0; empty for none. [MQTT-3.3.4-3] [MQTT-3.3.4-4] */
  readonly properties: Uint8Array;
}

/**
 * The subscriptions of one session. For `me/…` there are three kinds of topics to match, so what they are granted is
 * worked out when a subscription changes, not when something is delivered; the others stand in the tree too.
 */
export class Subscriptions {
  readonly #filters = new Map<string, SubscriptionOptions>();
  /** What events are granted; null when nothing covers `me/inbox`. */
  inbox: MeGrant | null = null;
  #reply: MeGrant | null = null;
  #belowReply: MeGrant | null = null;

  /** Subscriptions held. */
  get size(): number {
    return this.#filters.size;
  }

  /** Whether this very filter is held. */
  has(topicFilter: string): boolean {
    return this.#filters.has(topicFilter);
  }

  /** Those of open topics. */
  *listOpen(): Generator<readonly [string, SubscriptionOptions]> {
    for (const entry of this.#filters) if (!isMeFilter(entry[0])) yield entry;
  }

  /** Adds a granted filter, or replaces the options of the same one. [MQTT-3.8.4-3] */
  set(topicFilter: string, options: SubscriptionOptions): void {
    this.#filters.set(topicFilter, options);
    if (isMeFilter(topicFilter)) this.#work();
  }

  /** Takes a filter away; whether it was there. */
  delete(topicFilter: string): boolean {
    const held = this.#filters.delete(topicFilter);
    if (held && isMeFilter(topicFilter)) this.#work();
    return held;
  }

  /** What a reply on this topic is granted; null when nothing covers it. */
  reply(topic: string): MeGrant | null {
    return topic === REPLY_TOPIC ? this.#reply : this.#belowReply;
  }

  #work(): void {
    this.inbox = this.#grant("me/#", "me/+", "me/inbox");
    // `#` covers its parent level too: me/reply/# matches me/reply.
    this.#reply = this.#grant("me/#", "me/+", "me/reply", "me/reply/#");
    this.#belowReply = this.#grant("me/#", "me/reply/#");
  }

  #grant(...topicFilters: string[]): MeGrant | null {
    const held = topicFilters.flatMap((topicFilter) => this.#filters.get(topicFilter) ?? []);
    if (held.length === 0) return null;
    const ids = held.flatMap(({ subscriptionId }) => subscriptionId ?? []);
    return { qos: Math.max(...held.map(({ qos }) => qos)), properties: encodeSubscriptionIds(ids) };
  }
}
