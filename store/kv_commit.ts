/** Many changes of Deno KV in few atomic commits, within its limits. */

/** One key set, or deleted. */
export interface KvChange {
  readonly key: Deno.KvKey;
  /** The value and an upper bound of its serialised bytes; null: the key goes. */
  readonly set: { readonly value: unknown; readonly bytes: number } | null;
}

/** Limits of one atomic commit; measured on Deno 2.9. Source: Deno KV, `ext/kv/config.rs`. */
const MAX_CHANGES = 1_000;
const MAX_KEY_BYTES = 80 * 1024;
const MAX_TOTAL_BYTES = 800 * 1024;

/**
 * Gathers units of changes, in order, and commits as many as fit at a time.
 *
 * A unit is applied whole or not at all unless it is larger than one commit may be; then it is cut, in order.
 */
export class KvCommits {
  readonly #kv: Deno.Kv;
  #units: (readonly KvChange[])[] = [];
  #size = NOTHING;

  /** Nothing is gathered yet. */
  constructor(kv: Deno.Kv) {
    this.#kv = kv;
  }

  /** Takes a unit; commits what was gathered before when they do not fit into one commit. */
  async add(unit: readonly KvChange[]): Promise<void> {
    if (unit.length === 0) return;
    const size = sizeOf(unit);
    if (!fits(plus(this.#size, size))) await this.flush();
    this.#units.push(unit);
    this.#size = plus(this.#size, size);
  }

  /** Commits what is gathered. */
  async flush(): Promise<void> {
    const units = this.#units;
    this.#units = [];
    this.#size = NOTHING;
    await this.#commit(units);
  }

  async #commit(units: readonly (readonly KvChange[])[]): Promise<void> {
    const changes = units.length === 1 ? units[0]! : units.flat();
    if (changes.length === 0) return;
    if (changes.length === 1 || fits(sizeOf(changes))) {
      try {
        return await this.#commitAtOnce(changes);
      } catch (error) {
        // The sizes are estimates: KV has the last word, and refuses before it writes anything.
        if (changes.length === 1 || !isTooLarge(error)) throw error;
      }
    }
    const isOneUnit = units.length === 1;
    const half = (isOneUnit ? changes.length : units.length) >> 1;
    await this.#commit(isOneUnit ? [changes.slice(0, half)] : units.slice(0, half));
    await this.#commit(isOneUnit ? [changes.slice(half)] : units.slice(half));
  }

  async #commitAtOnce(changes: readonly KvChange[]): Promise<void> {
    const atomic = this.#kv.atomic();
    for (const { key, set } of changes) {
      if (set === null) atomic.delete(key);
      else atomic.set(key, set.value);
    }
    await atomic.commit();
  }
}

interface Size {
  readonly changes: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
}

const NOTHING: Size = { changes: 0, keyBytes: 0, valueBytes: 0 };

function sizeOf(changes: readonly KvChange[]): Size {
  let keyBytes = 0;
  let valueBytes = 0;
  for (const { key, set } of changes) {
    for (const part of key) keyBytes += keyPartBytes(part);
    valueBytes += set?.bytes ?? 0;
  }
  return { changes: changes.length, keyBytes, valueBytes };
}

function plus(a: Size, b: Size): Size {
  return {
    changes: a.changes + b.changes,
    keyBytes: a.keyBytes + b.keyBytes,
    valueBytes: a.valueBytes + b.valueBytes,
  };
}

function fits({ changes, keyBytes, valueBytes }: Size): boolean {
  return changes <= MAX_CHANGES && keyBytes <= MAX_KEY_BYTES && keyBytes + valueBytes <= MAX_TOTAL_BYTES;
}

/** An upper bound: a type byte, the content, its end. */
function keyPartBytes(part: Deno.KvKeyPart): number {
  if (typeof part === "string") return 2 + (IS_ASCII.test(part) ? part.length : part.length * 3);
  return part instanceof Uint8Array ? 2 + part.length * 2 : 9;
}

// deno-lint-ignore no-control-regex -- U+0000 is left out because it takes two bytes in a key
const IS_ASCII = /^[\x01-\x7f]*$/;

function isTooLarge(error: unknown): boolean {
  return error instanceof TypeError && /too (?:large|many)/i.test(error.message);
}
