import { type LoginSession, type Store, touchLoginSession } from "../store/mod.ts";

/** A login is noted as active at most this often. */
const PAUSE_MS = 60_000;

/**
 * Notes that logins are used. The cache of logins remembers for minutes when a login was active as it was read; this
 * knows what has been noted since, so that a login in use costs one statement a minute.
 */
export class LoginActivity {
  readonly #store: Store;
  /** By login id, the latest last; what is older than the pause decides nothing and is dropped. */
  readonly #notedAtMs = new Map<string, number>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** A login was used; written down unless that was done a moment ago. */
  async note({ id, lastActiveAtMs }: LoginSession, nowMs: number): Promise<void> {
    if (nowMs - Math.max(lastActiveAtMs, this.#notedAtMs.get(id) ?? 0) < PAUSE_MS) return;
    this.#remember(id, nowMs);
    try {
      await touchLoginSession(this.#store, id, { nowMs, pauseMs: PAUSE_MS });
    } catch (error) {
      this.#notedAtMs.delete(id);
      throw error;
    }
  }

  #remember(id: string, nowMs: number): void {
    for (const [oldId, atMs] of this.#notedAtMs) {
      if (nowMs - atMs < PAUSE_MS) break;
      this.#notedAtMs.delete(oldId);
    }
    this.#notedAtMs.delete(id);
    this.#notedAtMs.set(id, nowMs);
  }
}
