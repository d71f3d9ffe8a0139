import type { OpenTopics } from "./open_topics.ts";
import type { Publication } from "./publication.ts";
import { byteLength } from "./topic.ts";
import { TopicTree } from "./topic_tree.ts";

/** Why a message is not kept: its open filter has as many as it may, or all of them together are too large. */
export type RetainRefusal = "too-many" | "too-large";

/** Limits of what is kept. */
export interface RetainedLimits {
  /** Messages on the topics one open filter lets in. */
  readonly maxRetainedPerFilter: number;
  /** Topics, payloads and properties of all messages. */
  readonly maxRetainedBytes: number;
}

/**
 * The retained message of every topic that has one. An empty payload is a message like any other here: that it clears
 * the topic is the caller's. What has expired takes room until {@linkcode RetainedMessages.expire}.
 */
export class RetainedMessages {
  readonly #limits: RetainedLimits;
  readonly #openTopics: OpenTopics;
  readonly #tree = new TopicTree<Publication>();
  /** Messages by the place of the open filter that lets their topic in. */
  readonly #counts = new Map<number, number>();
  /** Those that expire, by topic. */
  readonly #expiring = new Map<string, Publication>();
  /** Nothing expires earlier. */
  #earliestExpiryMs = Infinity;
  #count = 0;
  #bytes = 0;

  constructor(limits: RetainedLimits, openTopics: OpenTopics) {
    this.#limits = limits;
    this.#openTopics = openTopics;
  }

  /** Messages kept. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of their topics, payloads and properties. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The message of a topic, also when it has expired; null when there is none. */
  get(topic: string): Publication | null {
    return this.#tree.get(topic);
  }

  /**
   * Keeps a message in place of an older one of its topic: null when it is kept, otherwise why not, and the older one
   * stays. There is no room for a topic that is not open. [MQTT-3.3.1-5]
   */
  set(publication: Publication): RetainRefusal | null {
    const { topic, expiresAtMs } = publication;
    const older = this.#tree.get(topic);
    const filter = this.#openTopics.indexOf(topic);
    const count = this.#counts.get(filter) ?? 0;
    if (older === null && (filter < 0 || count >= this.#limits.maxRetainedPerFilter)) return "too-many";
    const bytes = this.#bytes + bytesOf(publication) - (older === null ? 0 : bytesOf(older));
    if (bytes > this.#limits.maxRetainedBytes) return "too-large";
    this.#tree.set(topic, publication);
    this.#bytes = bytes;
    if (older === null) {
      this.#count++;
      this.#counts.set(filter, count + 1);
    }
    if (expiresAtMs === null) this.#expiring.delete(topic);
    else {
      this.#expiring.set(topic, publication);
      this.#earliestExpiryMs = Math.min(this.#earliestExpiryMs, expiresAtMs);
    }
    return null;
  }

  /** Takes the message of a topic away; null when there was none. [MQTT-3.3.1-6] */
  delete(topic: string): Publication | null {
    const publication = this.#tree.get(topic);
    if (publication === null) return null;
    this.#tree.delete(topic);
    this.#expiring.delete(topic);
    const filter = this.#openTopics.indexOf(topic);
    this.#counts.set(filter, this.#counts.get(filter)! - 1);
    this.#count--;
    this.#bytes -= bytesOf(publication);
    return publication;
  }

  /** Every message whose topic the filter matches and that has not expired, by topic. [MQTT-3.3.1-9] */
  match(topicFilter: string, nowMs: number): readonly Publication[] {
    return byTopic(
      this.#tree.listByFilter(topicFilter).filter((publication) => !isExpired(publication, nowMs)),
    );
  }

  /** Takes away what has expired and returns it, by topic. [MQTT-3.3.2-5] */
  expire(nowMs: number): readonly Publication[] {
    if (nowMs < this.#earliestExpiryMs) return [];
    const expired: Publication[] = [];
    this.#earliestExpiryMs = Infinity;
    for (const publication of this.#expiring.values()) {
      if (isExpired(publication, nowMs)) expired.push(publication);
      else this.#earliestExpiryMs = Math.min(this.#earliestExpiryMs, publication.expiresAtMs!);
    }
    for (const { topic } of expired) this.delete(topic);
    return byTopic(expired);
  }
}

function isExpired({ expiresAtMs }: Publication, nowMs: number): boolean {
  return expiresAtMs !== null && expiresAtMs <= nowMs;
}

function bytesOf({ topic, payload, properties }: Publication): number {
  return byteLength(topic) + payload.length + properties.length;
}

function byTopic(publications: Publication[]): Publication[] {
  return publications.sort((a, b) => a.topic < b.topic ? -1 : 1);
}
