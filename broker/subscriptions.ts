import { REPLY_TOPIC } from "./topic.ts";

/** No subscription covers the topic. */
export const NOT_SUBSCRIBED = -1;

/**
 * The `me/…` subscriptions of one connection. There are three kinds of topics to match, so the QoS of each is worked
 * out when a subscription changes, not when something is delivered.
 */
export class MeSubscriptions {
  readonly #filters = new Map<string, number>();
  /** Highest QoS of the filters that cover `me/inbox`, or {@linkcode NOT_SUBSCRIBED}. [MQTT-3.3.4-2] */
  inboxQos = NOT_SUBSCRIBED;
  #replyQos = NOT_SUBSCRIBED;
  #belowReplyQos = NOT_SUBSCRIBED;

  /** Subscriptions held. */
  get size(): number {
    return this.#filters.size;
  }

  /** Whether this very filter is held. */
  has(topicFilter: string): boolean {
    return this.#filters.has(topicFilter);
  }

  /** Adds a granted filter, or replaces the QoS of the same one. [MQTT-3.8.4-3] */
  set(topicFilter: string, qos: number): void {
    this.#filters.set(topicFilter, qos);
    this.#work();
  }

  /** Takes a filter away; whether it was there. */
  delete(topicFilter: string): boolean {
    const held = this.#filters.delete(topicFilter);
    this.#work();
    return held;
  }

  /** QoS of a reply on this topic, or {@linkcode NOT_SUBSCRIBED}. */
  replyQos(topic: string): number {
    return topic === REPLY_TOPIC ? this.#replyQos : this.#belowReplyQos;
  }

  #work(): void {
    const highest = (...topicFilters: string[]) =>
      Math.max(...topicFilters.map((topicFilter) => this.#filters.get(topicFilter) ?? NOT_SUBSCRIBED));
    this.inboxQos = highest("me/#", "me/+", "me/inbox");
    // `#` covers its parent level too: me/reply/# matches me/reply.
    this.#replyQos = highest("me/#", "me/+", "me/reply", "me/reply/#");
    this.#belowReplyQos = highest("me/#", "me/reply/#");
  }
}
