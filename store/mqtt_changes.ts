/** What the writes of the broker change in Deno KV. */

import type { KvChange } from "./kv_commit.ts";
import type { MqttOwner, MqttWrite, PublicationRecord } from "./mqtt_records.ts";
import {
  type ChunkRange,
  dropKeys,
  keyText,
  listChunkKeys,
  type QueuedValue,
  retainedKey,
  sessionKey,
  type SessionValue,
  setBearer,
  setPlain,
  type SubscriptionValue,
} from "./mqtt_values.ts";

/** More than a subscription identifier takes in a value. */
const SUBSCRIPTION_ID_BYTES = 12;

/** Where the chunks of the records lie that one call replaces, kept current from write to write. */
export class StandingChunks {
  readonly #ranges = new Map<string, ChunkRange>();

  /** The chunks of a record; null for none. */
  get(key: Deno.KvKey): ChunkRange | null {
    return this.#ranges.size === 0 ? null : this.#ranges.get(JSON.stringify(key)) ?? null;
  }

  /** Notes the chunks of a record. */
  set(key: Deno.KvKey, range: ChunkRange | null): void {
    if (range !== null) this.#ranges.set(JSON.stringify(key), range);
    else if (this.#ranges.size > 0) this.#ranges.delete(JSON.stringify(key));
  }
}

/** A write to one record. */
export type SingleWrite = Exclude<MqttWrite, { readonly kind: "forget" }>;

/** The key of the record that is written. */
export function keyOf(write: SingleWrite): Deno.KvKey {
  switch (write.kind) {
    case "session":
      return sessionKey("mqtt_sessions", write.owner);
    case "subscription":
      return sessionKey("mqtt_subscriptions", write.owner, keyText(write.topicFilter));
    case "queued":
      return sessionKey("mqtt_queue", write.owner, write.seq);
    case "received":
      return sessionKey("mqtt_received", write.owner, write.packetId);
    case "retained":
      return retainedKey(write.topic);
  }
}

/** What a write changes in Deno KV; `standing` learns of it. */
export function changesOf(write: SingleWrite, standing: StandingChunks): readonly KvChange[] {
  const key = keyOf(write);
  switch (write.kind) {
    case "subscription": {
      const { topicFilter, record } = write;
      if (record === null) return dropKeys([key]);
      const value: SubscriptionValue = { topicFilter, record };
      return [setPlain(key, value, textBytes(topicFilter))];
    }
    case "received":
      return write.isKept ? [setPlain(key, true, 0)] : dropKeys([key]);
    case "session": {
      const { owner: { userId, clientId }, record: { expirySeconds, disconnectedAtMs, will } } = write;
      const value: Omit<SessionValue, "publication"> = {
        owner: { userId, clientId },
        expirySeconds,
        disconnectedAtMs,
        will: will === null ? null : { expirySeconds: will.expirySeconds, delaySeconds: will.delaySeconds },
      };
      return replace(key, value, will?.publication ?? null, textBytes(userId + clientId), standing);
    }
    case "queued": {
      if (write.record === null) return drop(key, standing);
      const { qos, packetId, isReleased, retain, subscriptionIds, publication } = write.record;
      const value: Omit<QueuedValue, "publication"> = { qos, packetId, isReleased, retain, subscriptionIds };
      return replace(key, value, publication, subscriptionIds.length * SUBSCRIPTION_ID_BYTES, standing);
    }
    case "retained":
      return write.record === null ? drop(key, standing) : replace(key, {}, write.record, 0, standing);
  }
}

function replace(
  key: Deno.KvKey,
  value: object,
  publication: PublicationRecord | null,
  extraBytes: number,
  standing: StandingChunks,
): readonly KvChange[] {
  const { changes, chunks } = setBearer(key, value, publication, extraBytes, standing.get(key));
  standing.set(key, chunks);
  return changes;
}

function drop(key: Deno.KvKey, standing: StandingChunks): readonly KvChange[] {
  const changes = dropKeys([key, ...listChunkKeys(key, standing.get(key))]);
  standing.set(key, null);
  return changes;
}

/** An upper bound of the bytes of a text in a value: V8 writes one or two for a UTF-16 unit. */
function textBytes(text: string): number {
  return text.length * 2;
}

/** What tells owners apart in memory. */
export function ownerId({ userId, clientId }: MqttOwner): string {
  return JSON.stringify([userId, clientId]);
}

/** Where in a unit each owner is forgotten for the last time: what comes before has no effect. */
export function lastForgets(unit: readonly MqttWrite[]): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (const [i, write] of unit.entries()) if (write.kind === "forget") last.set(ownerId(write.owner), i);
  return last;
}
