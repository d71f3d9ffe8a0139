import { type KvChange, KvCommits } from "./kv_commit.ts";
import { changesOf, keyOf, lastForgets, ownerId, StandingChunks } from "./mqtt_changes.ts";
import { Leftovers, listBearers } from "./mqtt_listing.ts";
import type {
  MqttOwner,
  MqttSessionRecord,
  MqttSubscriptionRecord,
  MqttWrite,
  PublicationRecord,
  QueuedOutline,
  QueuedRecord,
  StoredMqttSession,
} from "./mqtt_records.ts";
import {
  type Bearer,
  type ChunkRange,
  chunksOf,
  dropKeys,
  isChunked,
  listChunkKeys,
  type QueuedValue,
  sessionKey,
  type SessionValue,
  type SubscriptionValue,
  unpack,
} from "./mqtt_values.ts";

/** The most keys that Deno KV reads at once. */
const KEYS_PER_READ = 10;

/**
 * Persistent MQTT sessions and retained messages in Deno KV.
 *
 * Calls take effect one after the other, in the order they were made. Nothing here expires by itself.
 */
export class MqttState {
  readonly #kv: Deno.Kv;
  #last: Promise<unknown> = Promise.resolve();

  /** Uses an open store, which others may use too. */
  constructor(kv: Deno.Kv) {
    this.#kv = kv;
  }

  /**
   * Applies units in order; when it resolves they are stored, also if the process is killed then.
   *
   * A unit is applied whole or not at all unless it is larger than one commit of Deno KV may be (1,000 changes,
   * 800 KiB). When it throws, a first part of the units is stored and the rest is not. The units must not change until
   * it has ended.
   *
   * @throws TypeError when a name or an option is too large for a key or a value of Deno KV
   */
  write(units: readonly (readonly MqttWrite[])[]): Promise<void> {
    return this.#inOrder(() => this.#write(units));
  }

  /**
   * Everything that is stored; what is left of sessions and messages that were being removed or replaced when a
   * process ended is deleted.
   */
  load(): Promise<
    { readonly sessions: readonly StoredMqttSession[]; readonly retained: readonly PublicationRecord[] }
  > {
    return this.#inOrder(() => this.#load());
  }

  /** The messages queued for one session, with their bodies, by seq. */
  listQueued(owner: MqttOwner): Promise<readonly { readonly seq: number; readonly record: QueuedRecord }[]> {
    return this.#inOrder(async () => {
      const queued: { seq: number; record: QueuedRecord }[] = [];
      const prefix = sessionKey("mqtt_queue", owner);
      for await (const found of listBearers<QueuedValue>(this.#kv, prefix, 4, true, new Leftovers())) {
        const { publication, ...fields } = found.value;
        const record = {
          ...fields,
          publication: publication === null ? null : unpack(publication, found.chunks),
        };
        queued.push({ seq: Number(found.key[3]), record });
      }
      return queued;
    });
  }

  #inOrder<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    // The caller hears of a failure; the next call begins all the same.
    this.#last = result.catch(() => {});
    return result;
  }

  async #write(units: readonly (readonly MqttWrite[])[]): Promise<void> {
    const standing = await this.#readStanding(units);
    const commits = new KvCommits(this.#kv);
    for (const unit of units) {
      const forgets = lastForgets(unit);
      // What is to be forgotten is found by listing, which must see all that came before.
      if (forgets.size > 0) await commits.flush();
      const changes: KvChange[] = [];
      for (const [i, write] of unit.entries()) {
        const isUndone = forgets.size > 0 && write.kind !== "retained" &&
          i < (forgets.get(ownerId(write.owner)) ?? 0);
        if (isUndone) continue;
        const own = write.kind === "forget"
          ? dropKeys(await this.#listSessionKeys(write.owner))
          : changesOf(write, standing);
        for (const change of own) changes.push(change);
      }
      await commits.add(changes);
    }
    await commits.flush();
  }

  /** The chunks of the bodies that will be replaced and may have some, as they stand before the first unit. */
  async #readStanding(units: readonly (readonly MqttWrite[])[]): Promise<StandingChunks> {
    const keys: Deno.KvKey[] = [];
    for (const unit of units) {
      for (const write of unit) {
        if (write.kind === "session") keys.push(sessionKey("mqtt_sessions", write.owner));
        else if ("replacedBytes" in write && isChunked(write.replacedBytes)) keys.push(keyOf(write));
      }
    }
    const standing = new StandingChunks();
    for (let i = 0; i < keys.length; i += KEYS_PER_READ) {
      const entries = await this.#kv.getMany<Bearer[]>(keys.slice(i, i + KEYS_PER_READ));
      for (const { key, value } of entries) if (value !== null) standing.set(key, chunksOf(value));
    }
    return standing;
  }

  /** Every key of a session, its record first: without it the rest counts for nothing. */
  async #listSessionKeys(owner: MqttOwner): Promise<readonly Deno.KvKey[]> {
    const keys = [sessionKey("mqtt_sessions", owner)];
    for (const prefix of ["mqtt_sessions", "mqtt_subscriptions", "mqtt_queue", "mqtt_received"] as const) {
      for await (const { key } of this.#kv.list({ prefix: sessionKey(prefix, owner) })) keys.push(key);
    }
    return keys;
  }

  async #load() {
    const kv = this.#kv;
    const leftovers = new Leftovers();
    const sessions = new Map<string, LoadedSession>();
    for await (
      const { key, value, chunks } of listBearers<SessionValue>(kv, ["mqtt_sessions"], 3, true, leftovers)
    ) {
      const record = toSessionRecord(value, chunks);
      const parts = { subscriptions: new Map(), queued: [], received: [] };
      sessions.set(keyOwnerId(key), { owner: value.owner, record, ...parts });
    }
    const sessionOf = (key: Deno.KvKey, chunks: ChunkRange | null = null): LoadedSession | undefined => {
      const session = sessions.get(keyOwnerId(key));
      if (session === undefined) {
        const guard = { key: ["mqtt_sessions", key[1]!, key[2]!], versionstamp: null };
        leftovers.note(guard, [key, ...listChunkKeys(key, chunks)]);
      }
      return session;
    };
    for await (const { key, value } of kv.list<SubscriptionValue>({ prefix: ["mqtt_subscriptions"] })) {
      sessionOf(key)?.subscriptions.set(value.topicFilter, value.record);
    }
    for await (
      const { key, value } of listBearers<QueuedValue>(kv, ["mqtt_queue"], 4, false, leftovers)
    ) {
      sessionOf(key, chunksOf(value))?.queued.push(toOutline(Number(key[3]), value));
    }
    for await (const { key } of kv.list({ prefix: ["mqtt_received"] })) {
      sessionOf(key)?.received.push(Number(key[3]));
    }
    const retained: PublicationRecord[] = [];
    for await (const { value, chunks } of listBearers<Bearer>(kv, ["retained"], 2, true, leftovers)) {
      if (value.publication !== null) retained.push(unpack(value.publication, chunks));
    }
    await leftovers.remove(kv);
    return { sessions: [...sessions.values()], retained };
  }
}

/** A session while it is put together. */
interface LoadedSession extends StoredMqttSession {
  readonly subscriptions: Map<string, MqttSubscriptionRecord>;
  readonly queued: QueuedOutline[];
  readonly received: number[];
}

/** What tells sessions apart in memory; from the key, where a long name is a hash. */
function keyOwnerId(key: Deno.KvKey): string {
  return JSON.stringify([key[1], key[2]]);
}

function toSessionRecord(value: SessionValue, chunks: readonly Uint8Array[]): MqttSessionRecord {
  const { expirySeconds, disconnectedAtMs, will, publication } = value;
  return {
    expirySeconds,
    disconnectedAtMs,
    will: will === null || publication === null
      ? null
      : { publication: unpack(publication, chunks), ...will },
  };
}

function toOutline(seq: number, { publication, ...outline }: QueuedValue): QueuedOutline {
  return {
    seq,
    ...outline,
    expiresAtMs: publication?.expiresAtMs ?? null,
    payloadBytes: publication?.bytes ?? 0,
  };
}
