/** Reads records with their chunks back from Deno KV, and removes what a killed process left half done. */

import { type Bearer, type ChunkRange, chunksOf, listChunkKeys } from "./mqtt_values.ts";

/** A record, and its chunks in order; no chunks when they are not wanted. */
export interface FoundBearer<T> {
  readonly key: Deno.KvKey;
  readonly value: T;
  readonly chunks: readonly Uint8Array[];
}

/** Keys to delete, each only while something else stands as it was seen. */
export class Leftovers {
  readonly #groups = new Map<string, { readonly guard: Deno.AtomicCheck; readonly keys: Deno.KvKey[] }>();

  /** Notes keys that go if `guard` still holds then: another node may write meanwhile. */
  note(guard: Deno.AtomicCheck, keys: readonly Deno.KvKey[]): void {
    const id = JSON.stringify([guard.key, guard.versionstamp]);
    const group = this.#groups.get(id);
    if (group === undefined) this.#groups.set(id, { guard, keys: [...keys] });
    else group.keys.push(...keys);
  }

  /** Deletes them. */
  async remove(kv: Deno.Kv): Promise<void> {
    for (const { guard, keys } of this.#groups.values()) {
      for (let i = 0; i < keys.length; i += KEYS_PER_COMMIT) {
        const atomic = kv.atomic().check(guard);
        for (const key of keys.slice(i, i + KEYS_PER_COMMIT)) atomic.delete(key);
        if (!(await atomic.commit()).ok) break;
      }
    }
  }
}

/** As many of the longest keys as one commit takes. */
const KEYS_PER_COMMIT = 32;

/**
 * Lists the records below a prefix, each with its chunks behind it.
 *
 * @param recordParts the number of parts in the key of a record; a chunk has one more
 * @param wantsChunks whether the bodies beside the records are given
 * @param leftovers takes chunks without a record, and records without all their chunks
 */
export async function* listBearers<T extends Bearer>(
  kv: Deno.Kv,
  prefix: Deno.KvKey,
  recordParts: number,
  wantsChunks: boolean,
  leftovers: Leftovers,
): AsyncGenerator<FoundBearer<T>> {
  let open: OpenRecord<T> | null = null;
  for await (const entry of kv.list<T | Uint8Array>({ prefix })) {
    if (entry.value instanceof Uint8Array) {
      const recordKey = entry.key.slice(0, recordParts);
      const isOfOpen = open !== null && JSON.stringify(open.key) === JSON.stringify(recordKey);
      if (open !== null && isOfOpen && isIn(open.range, entry.key.at(-1))) {
        open.found++;
        if (wantsChunks) open.chunks.push(entry.value);
      } else {
        const versionstamp = open !== null && isOfOpen ? open.versionstamp : null;
        leftovers.note({ key: recordKey, versionstamp }, [entry.key]);
      }
      continue;
    }
    if (open !== null) {
      if (isWhole(open)) yield open;
      else noteHalf(open, leftovers);
    }
    const { key, value, versionstamp } = entry as Deno.KvEntry<T>;
    open = { key, value, versionstamp, range: chunksOf(value), found: 0, chunks: [] };
  }
  if (open === null) return;
  if (isWhole(open)) yield open;
  else noteHalf(open, leftovers);
}

interface OpenRecord<T> extends FoundBearer<T> {
  readonly versionstamp: string;
  readonly range: ChunkRange | null;
  found: number;
  readonly chunks: Uint8Array[];
}

function isIn(range: ChunkRange | null, part: Deno.KvKeyPart | undefined): boolean {
  return range !== null && typeof part === "number" && part >= range.firstChunk &&
    part < range.firstChunk + range.chunkCount;
}

function isWhole({ range, found }: OpenRecord<unknown>): boolean {
  return found === (range?.chunkCount ?? 0);
}

function noteHalf({ key, versionstamp, range }: OpenRecord<unknown>, leftovers: Leftovers): void {
  leftovers.note({ key, versionstamp }, [...listChunkKeys(key, range), key]);
}
