import type { Log } from "../log.ts";

/** Where a user's installation is connected. */
export interface PresenceEntry {
  /** The node's number, 0–63. */
  readonly node: number;
  readonly epoch: string;
  readonly sinceMs: number;
}

/** Where presence is written: `store.kv`. */
export interface PresenceStore {
  setPresence(userId: string, clientId: string, entry: PresenceEntry): Promise<unknown>;
  removePresence(userId: string, clientId: string): Promise<unknown>;
}

/** Writes under way at once. */
const PARALLEL = 16;

interface Wish {
  readonly userId: string;
  readonly clientId: string;
  readonly entry: PresenceEntry | null;
}

/**
 * Writes who is connected behind the connections' backs: the newest wish per installation wins, one write of it at a
 * time, so that a quick reconnect cannot end as absent. Ten thousand connects wait in a map, not in front of KV.
 */
export class Presence {
  readonly #store: PresenceStore;
  readonly #log: Log;
  readonly #wishes = new Map<string, Wish>();
  readonly #writing = new Set<string>();
  #idle: (() => void)[] = [];

  constructor(store: PresenceStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** The installation is connected, or (null) no longer. */
  set(userId: string, clientId: string, entry: PresenceEntry | null): void {
    this.#wishes.set(`${userId} ${clientId}`, { userId, clientId, entry });
    this.#next();
  }

  /** Resolves when everything has been written, or has failed. */
  settled(): Promise<void> {
    if (this.#wishes.size === 0 && this.#writing.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #next(): void {
    if (this.#writing.size >= PARALLEL) return;
    for (const [key, wish] of this.#wishes) {
      if (this.#writing.has(key)) continue;
      this.#wishes.delete(key);
      this.#writing.add(key);
      this.#write(wish).catch((cause) => this.#log.error("presence not written", cause)).finally(() => {
        this.#writing.delete(key);
        this.#next();
      });
      if (this.#writing.size >= PARALLEL) return;
    }
    if (this.#writing.size > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  async #write({ userId, clientId, entry }: Wish): Promise<void> {
    if (entry === null) await this.#store.removePresence(userId, clientId);
    else await this.#store.setPresence(userId, clientId, entry);
  }
}
