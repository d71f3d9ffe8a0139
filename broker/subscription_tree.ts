import type { SubscriptionOptions } from "./publication.ts";
import { splitShare } from "./topic.ts";
import { TopicTree } from "./topic_tree.ts";

/** One who shares a subscription with others. */
export interface SharedMember<S> {
  readonly subscriber: S;
  readonly options: SubscriptionOptions;
}

/** Those who share a filter under one name. */
interface Group<S> {
  /** Replaced, never changed: whoever was given it can go on with it. */
  members: readonly SharedMember<S>[];
  /** Whose turn it is. */
  first: number;
}

/**
 * Who asked for which topics. A publish costs what it matches, not what is held.
 *
 * Source: MQTT Version 5.0, sections 4.7 and 4.8.
 */
export class SubscriptionTree<S> {
  readonly #own = new TopicTree<Map<S, SubscriptionOptions>>();
  /** Groups by share name; a tree of its own, so that it costs nothing where nobody shares. */
  readonly #shared = new TopicTree<Map<string, Group<S>>>();
  #size = 0;

  /** Subscriptions held. */
  get size(): number {
    return this.#size;
  }

  /** Nodes of the trees, which is what memory goes with; counted by a walk. */
  get nodeCount(): number {
    return this.#own.nodeCount + this.#shared.nodeCount;
  }

  /**
   * Adds or replaces; true when there was none of this subscriber with this filter. A filter
   * `$share/<name>/<filter>` joins a group.
   */
  set(topicFilter: string, subscriber: S, options: SubscriptionOptions): boolean {
    const share = splitShare(topicFilter);
    const isNew = share === null
      ? this.#setOwn(topicFilter, subscriber, options)
      : this.#setShared(share.topicFilter, share.name, { subscriber, options });
    if (isNew) this.#size++;
    return isNew;
  }

  /** Takes a subscription away; true when it was there. */
  delete(topicFilter: string, subscriber: S): boolean {
    const share = splitShare(topicFilter);
    const wasHeld = share === null
      ? this.#deleteOwn(topicFilter, subscriber)
      : this.#deleteShared(share.topicFilter, share.name, subscriber);
    if (wasHeld) this.#size--;
    return wasHeld;
  }

  /**
   * Calls `visit` for every non-shared subscription whose filter matches: more than once for a subscriber with several.
   * `visit` may change the tree; a subscription it takes away is not visited any more.
   */
  match(topic: string, visit: (subscriber: S, options: SubscriptionOptions) => void): void {
    for (const subscribers of this.#own.listByTopic(topic)) {
      subscribers.forEach((options, subscriber) => visit(subscriber, options));
    }
  }

  /**
   * Calls `visit` once for every group that matches, with its members and whose turn it is: `members[first]`, then those
   * behind it and around. The turn goes on by one each time. `visit` may change the tree; `members` stays as it was.
   */
  matchShared(topic: string, visit: (members: readonly SharedMember<S>[], first: number) => void): void {
    for (const groups of this.#shared.listByTopic(topic)) {
      groups.forEach((group) => {
        const { members, first } = group;
        group.first = (first + 1) % members.length;
        visit(members, first);
      });
    }
  }

  #setOwn(topicFilter: string, subscriber: S, options: SubscriptionOptions): boolean {
    let subscribers = this.#own.get(topicFilter);
    if (subscribers === null) this.#own.set(topicFilter, subscribers = new Map());
    const isNew = !subscribers.has(subscriber);
    subscribers.set(subscriber, options); // [MQTT-3.8.4-3]
    return isNew;
  }

  #deleteOwn(topicFilter: string, subscriber: S): boolean {
    const subscribers = this.#own.get(topicFilter);
    if (subscribers === null || !subscribers.delete(subscriber)) return false;
    if (subscribers.size === 0) this.#own.delete(topicFilter);
    return true;
  }

  #setShared(topicFilter: string, name: string, member: SharedMember<S>): boolean {
    let groups = this.#shared.get(topicFilter);
    if (groups === null) this.#shared.set(topicFilter, groups = new Map());
    const group = groups.get(name);
    if (group === undefined) {
      groups.set(name, { members: [member], first: 0 });
      return true;
    }
    const at = group.members.findIndex(({ subscriber }) => subscriber === member.subscriber);
    group.members = at < 0 ? [...group.members, member] : group.members.with(at, member); // [MQTT-3.8.4-3]
    return at < 0;
  }

  #deleteShared(topicFilter: string, name: string, subscriber: S): boolean {
    const groups = this.#shared.get(topicFilter);
    const group = groups?.get(name);
    const at = group?.members.findIndex((member) => member.subscriber === subscriber) ?? -1;
    if (groups === null || group === undefined || at < 0) return false;
    group.members = group.members.toSpliced(at, 1);
    if (at < group.first) group.first--;
    else if (group.first === group.members.length) group.first = 0;
    if (group.members.length === 0) groups.delete(name);
    if (groups.size === 0) this.#shared.delete(topicFilter);
    return true;
  }
}
