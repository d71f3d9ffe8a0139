import { publicationBytes } from "../store/mod.ts";
import type { ClientSession, Match } from "./client_session.ts";
import { SharedPublication } from "./encode_publication.ts";
import type { Journal } from "./journal.ts";
import type { Delivery } from "./kept_messages.ts";
import { REASONS } from "./protocol_error.ts";
import type { Publication, SubscriptionOptions } from "./publication.ts";
import type { RetainedMessages } from "./retained.ts";
import type { OpenSubscription } from "./session.ts";
import { type SharedMember, SubscriptionTree } from "./subscription_tree.ts";

/** Messages are matched by the thousand: most have no identifiers. */
const NO_IDS: readonly number[] = [];

/** Brings messages of open topics from who publishes to who subscribed. */
export class Router {
  readonly #retained: RetainedMessages;
  readonly #journal: Journal;
  readonly #tree = new SubscriptionTree<ClientSession>();
  /** Messages published. */
  published = 0;
  /** Messages handed to sessions. */
  delivered = 0;

  constructor(retained: RetainedMessages, journal: Journal) {
    this.#retained = retained;
    this.#journal = journal;
  }

  /** Subscriptions held. */
  get subscriptions(): number {
    return this.#tree.size;
  }

  /** Whether any message is retained. */
  get retains(): boolean {
    return this.#retained.count > 0;
  }

  /** Adds or replaces a subscription. */
  subscribe(client: ClientSession, topicFilter: string, options: SubscriptionOptions): void {
    this.#tree.set(topicFilter, client, options);
  }

  /** Takes a subscription away. */
  unsubscribe(client: ClientSession, topicFilter: string): void {
    this.#tree.delete(topicFilter, client);
  }

  /**
   * Delivers a message to every session that asked for it; what the publisher is told, as a reason code of 5.0. What
   * must be stored before the publisher is told anything is in the journal then.
   *
   * @param publisher null for a will
   */
  publish(publication: Publication, publisher: ClientSession | null): number {
    // 5.0 is told, and may send it again without RETAIN; 3.1.1 cannot be told, and who listens must hear it.
    const isRefused = publication.retain && !this.#retain(publication);
    if (isRefused && publisher?.session.level !== 4) return REASONS.quotaExceeded;
    this.published++;
    const matches = this.#match(publication, publisher);
    const shared = new SharedPublication(publication, matches.length > 1);
    for (const { subscriber, qos, retain, subscriptionIds } of matches) {
      subscriber.publish({ shared, qos, retain, subscriptionIds, isReplay: false });
    }
    this.delivered += matches.length;
    return matches.length === 0 ? REASONS.noMatchingSubscribers : REASONS.success;
  }

  /** Everybody is found before anybody gets it: a delivery may end a session, and its will is published at once. */
  #match(publication: Publication, publisher: ClientSession | null): Match[] {
    const { topic } = publication;
    const matches: Match[] = [];
    this.#tree.match(topic, (subscriber, options) => {
      if (options.noLocal && subscriber === publisher) return; // [MQTT-3.8.3-3]
      const found = matchOf(publication, subscriber, options);
      if (subscriber.match === null) matches.push(subscriber.match = found);
      else merge(subscriber.match, found);
    });
    for (const { subscriber } of matches) subscriber.match = null;
    this.#tree.matchShared(topic, (members, first) => {
      const { subscriber, options } = choose(members, first); // [MQTT-4.8.2-4]
      matches.push(matchOf(publication, subscriber, options)); // [MQTT-4.8.2-3]
    });
    return matches;
  }

  #retain(publication: Publication): boolean {
    const { topic } = publication;
    const older = this.#retained.get(topic);
    const isCleared = publication.payload.length === 0; // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
    if (isCleared) this.#retained.delete(topic);
    else if (this.#retained.set(publication) !== null) return false; // [MQTT-3.3.1-5]
    if (isCleared && older === null) return true;
    const replacedBytes = older === null ? 0 : publicationBytes(older);
    this.#journal.add({ kind: "retained", topic, record: isCleared ? null : publication, replacedBytes });
    return true;
  }

  /** Sends the retained messages that new or renewed subscriptions ask for. */
  replay(client: ClientSession, subscriptions: readonly OpenSubscription[], nowMs: number): void {
    if (this.#retained.count === 0) return;
    for (const { topicFilter, options, isNew } of subscriptions) {
      const { retainHandling, qos, subscriptionId } = options;
      // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
      if (retainHandling === 2 || (retainHandling === 1 && !isNew)) continue;
      if (topicFilter.startsWith("$share/")) continue;
      const subscriptionIds = subscriptionId === null ? NO_IDS : [subscriptionId];
      for (const publication of this.#retained.match(topicFilter, nowMs)) {
        if (client.connection === null) return;
        const shared = new SharedPublication(publication, false);
        const delivery: Delivery = {
          shared,
          qos: Math.min(qos, publication.qos),
          retain: true, // [MQTT-3.3.1-8]
          subscriptionIds,
          isReplay: true,
        };
        client.publish(delivery);
      }
    }
  }

  /** Takes away retained messages that have expired. [MQTT-3.3.2-5] */
  expire(nowMs: number): void {
    for (const publication of this.#retained.expire(nowMs)) {
      const replacedBytes = publicationBytes(publication);
      this.#journal.add({ kind: "retained", topic: publication.topic, record: null, replacedBytes });
    }
  }
}

function matchOf(
  publication: Publication,
  subscriber: ClientSession,
  { qos, retainAsPublished, subscriptionId }: SubscriptionOptions,
): Match {
  return {
    subscriber,
    qos: Math.min(qos, publication.qos), // [MQTT-3.8.4-8]
    retain: retainAsPublished && publication.retain, // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    subscriptionIds: subscriptionId === null ? NO_IDS : [subscriptionId],
  };
}

/** One copy at the highest QoS, with all identifiers. [MQTT-3.3.4-2] [MQTT-3.3.4-4] [MQTT-3.3.4-5] */
function merge(match: Match, more: Match): void {
  match.qos = Math.max(match.qos, more.qos);
  match.retain ||= more.retain;
  if (more.subscriptionIds.length === 0) return;
  match.subscriptionIds = [...match.subscriptionIds, ...more.subscriptionIds];
}

/** Turn by turn; who is away is passed over while anybody is there. */
function choose(members: readonly SharedMember<ClientSession>[], first: number): SharedMember<ClientSession> {
  for (let i = 0; i < members.length; i++) {
    const member = members[(first + i) % members.length]!;
    if (member.subscriber.connection !== null) return member;
  }
  return members[first]!;
}
