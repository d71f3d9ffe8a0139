/**
 * Deno KV: what may expire, a cache of logins, and the state of MQTT. Keys are arrays, plural noun first, and are built
 * here alone; those of MQTT in `mqtt_values.ts`.
 *
 * A change of state is a compare-and-set on the version of what was read. Expiry in KV is up to a minute late, so
 * every value carries its own `expiresAtMs`, which is checked on reading.
 */

import type { Log } from "../log.ts";
import type { LoginSession } from "./login_session.ts";
import { MqttState } from "./mqtt_state.ts";
import { StartError } from "./start_error.ts";

/** Where the key-value store is. */
export interface KvOptions {
  /** A file; null with `kvUrl`, or where the platform brings its own. */
  readonly kvPath: string | null;
  /** A KV Connect address. */
  readonly kvUrl: string | null;
  readonly log: Log;
  readonly nowMs?: () => number;
}

/** A QR login from the page that shows it to the login it becomes. */
export interface QrSession {
  /** Public: it stands in the QR. */
  readonly qrId: string;
  /** SHA-256 of what the page alone knows. */
  readonly pollSecretHash: Uint8Array;
  /** Two digits that the page shows and the phone's user types. */
  readonly number: string;
  readonly clientId: string;
  readonly platform: number;
  readonly deviceName: string;
  readonly userAgent: string;
  readonly address: string;
  readonly createdAtMs: number;
  readonly state: "pending" | "scanned" | "confirmed" | "claimed" | "cancelled";
  /** The phone that scanned; it alone may go on. */
  readonly scannedBy: { readonly userId: string; readonly loginId: string } | null;
  readonly wrongNumbers: number;
  readonly expiresAtMs: number;
}

/** A value, and the version that a compare-and-set needs. */
export interface Versioned<T> {
  readonly value: T;
  readonly version: string;
}

/** Where a user's installation is connected. */
export interface PresenceEntry {
  /** The node's number, 0–63. */
  readonly node: number;
  /** It counts only while `t_node` holds this epoch. */
  readonly epoch: string;
  readonly sinceMs: number;
}

/** A rule for {@linkcode Kv.countWithin}: at most `limit` in a window that begins with the first. */
export interface CountRule {
  readonly kind: string;
  readonly subject: string;
  readonly limit: number;
  readonly windowMs: number;
}

/** What a typed login code was. */
export type CodeVerdict = "right" | "wrong" | "expired";

/** What the login cache holds: a login, or that it has ended. */
export type CachedLogin = { readonly login: LoginSession } | { readonly revokedReason: string };

interface LoginCode {
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
  readonly triesLeft: number;
  readonly expiresAtMs: number;
}

interface Counter {
  readonly count: number;
  readonly expiresAtMs: number;
}

interface Expiring {
  readonly expiresAtMs: number;
}

/** How long a login is believed without asking Postgres. */
const LOGIN_CACHE_MS = 10 * 60_000;
/** A QR login is remembered this long after its end, so that late callers learn how it ended. */
const QR_AFTERLIFE_MS = 5 * 60_000;
const CODE_TRIES = 5;
/** A compare-and-set that loses so often in a row has something wrong. */
const MAX_ROUNDS = 100;

/**
 * Opens the key-value store.
 *
 * @throws StartError when it cannot be opened
 */
export async function openKv(options: KvOptions): Promise<Kv> {
  const place = options.kvUrl ?? options.kvPath ?? undefined;
  try {
    const kv = new Kv(await Deno.openKv(place), options.nowMs ?? Date.now);
    // What a process noted here before it died may never have been stored: Postgres is asked again.
    await kv.forgetLogins();
    return kv;
  } catch (cause) {
    const setting = options.kvUrl === null ? "KV_PATH" : "KV_URL";
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(`The key-value store at ${setting}=${place} cannot be opened: ${reason}.`, {
      cause,
    });
  }
}

/** The key-value store, in the words of what it is used for. */
export class Kv {
  /** Persistent MQTT sessions and retained messages. */
  readonly mqtt: MqttState;
  readonly #kv: Deno.Kv;
  readonly #nowMs: () => number;

  /** Takes over an open store. */
  constructor(kv: Deno.Kv, nowMs: () => number) {
    this.mqtt = new MqttState(kv);
    this.#kv = kv;
    this.#nowMs = nowMs;
  }

  /** Closes it; watchers end. */
  close(): void {
    this.#kv.close();
  }

  // QR logins.

  /** Keeps a new QR login. */
  async createQrSession(session: QrSession): Promise<void> {
    if (!await this.#replace(["qr_sessions", session.qrId], null, session, QR_AFTERLIFE_MS)) {
      throw new Error("a random QR id was made twice");
    }
  }

  /** A QR login that has not been forgotten; it may have expired. */
  getQrSession(qrId: string): Promise<Versioned<QrSession> | null> {
    return this.#get<QrSession>(["qr_sessions", qrId]);
  }

  /** Moves a QR login on from what was read; false when somebody else has moved it since. */
  moveQrSession(from: Versioned<QrSession>, to: QrSession): Promise<boolean> {
    return this.#replace(["qr_sessions", to.qrId], from.version, to, QR_AFTERLIFE_MS);
  }

  /** Tells of every change of a QR login, the present state first. Cancel the stream when done. */
  watchQrSession(qrId: string): ReadableStream<Versioned<QrSession> | null> {
    const key = ["qr_sessions", qrId];
    return this.#kv.watch<[QrSession]>([key]).pipeThrough(
      new TransformStream({
        transform: ([entry], controller) => {
          controller.enqueue(
            entry.value === null ? null : { value: entry.value, version: entry.versionstamp },
          );
        },
      }),
    );
  }

  // Login codes.

  /** Keeps a code for a mobile number; an older one no longer works. */
  async putLoginCode(purpose: string, mobile: string, code: string, forMs: number): Promise<void> {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const value: LoginCode = {
      salt,
      hash: await hashCode(salt, code),
      triesLeft: CODE_TRIES,
      expiresAtMs: this.#nowMs() + forMs,
    };
    await this.#kv.set(["login_codes", purpose, mobile], value, { expireIn: forMs });
  }

  /** Forgets the code of a mobile number. */
  async removeLoginCode(purpose: string, mobile: string): Promise<void> {
    await this.#kv.delete(["login_codes", purpose, mobile]);
  }

  /** Tries a code: the right one works once, and five wrong ones end it. */
  takeLoginCode(purpose: string, mobile: string, code: string): Promise<CodeVerdict> {
    const key = ["login_codes", purpose, mobile];
    return this.#untilSettled(async () => {
      const found = await this.#getLive<LoginCode>(key);
      if (found === null) return "expired";
      const { salt, hash, triesLeft } = found.value;
      const isRight = sameBytes(await hashCode(salt, code), hash);
      if (isRight || triesLeft <= 1) {
        const { ok } = await this.#kv.atomic().check({ key, versionstamp: found.version }).delete(key)
          .commit();
        return ok ? isRight ? "right" : "wrong" : undefined;
      }
      const next = { ...found.value, triesLeft: triesLeft - 1 };
      return await this.#replace(key, found.version, next) ? "wrong" : undefined;
    });
  }

  // Counters and signatures.

  /**
   * Counts one event under every rule at once: 0 when all had room, otherwise the milliseconds until they have, and
   * nothing is counted.
   */
  countWithin(rules: readonly CountRule[]): Promise<number> {
    const keys = rules.map(({ kind, subject }) => ["rates", kind, subject]);
    return this.#untilSettled(async () => {
      const nowMs = this.#nowMs();
      const entries = await this.#kv.getMany<Counter[]>(keys);
      let waitMs = 0;
      let change = this.#kv.atomic();
      for (const [i, rule] of rules.entries()) {
        const { value, versionstamp, key } = entries[i]!;
        const counter = value !== null && value.expiresAtMs > nowMs
          ? value
          : { count: 0, expiresAtMs: nowMs + rule.windowMs };
        if (counter.count >= rule.limit) waitMs = Math.max(waitMs, counter.expiresAtMs - nowMs);
        change = change.check({ key, versionstamp })
          .set(key, { ...counter, count: counter.count + 1 }, { expireIn: counter.expiresAtMs - nowMs });
      }
      if (waitMs > 0) return waitMs;
      return (await change.commit()).ok ? 0 : undefined;
    });
  }

  /** Lets a subject begin anew. */
  async forgetCount(kind: string, subject: string): Promise<void> {
    await this.#kv.delete(["rates", kind, subject]);
  }

  /** Whether a value is used for the first time in so many milliseconds; it is remembered for as long. */
  async useOnce(kind: string, value: string, forMs: number): Promise<boolean> {
    const key = ["used_signatures", kind, value];
    const entry = await this.#kv.get<Expiring>(key);
    const nowMs = this.#nowMs();
    if (entry.value !== null && entry.value.expiresAtMs > nowMs) return false;
    return await this.#replace(key, entry.versionstamp, { expiresAtMs: nowMs + forMs });
  }

  // The login cache.

  /** What is remembered of a login, and the version to fill the cache against; `value` is null when nothing is. */
  async getCachedLogin(id: string): Promise<{ value: CachedLogin | null; version: string | null }> {
    const entry = await this.#kv.get<CachedLogin & Expiring>(["login_cache", id]);
    const isLive = entry.value !== null && entry.value.expiresAtMs > this.#nowMs();
    return { value: isLive ? entry.value : null, version: entry.versionstamp };
  }

  /**
   * Remembers a login as it was read from Postgres, unless the cache has changed since `version`: a revocation in
   * between must not be overwritten by what was read before it.
   */
  async cacheLogin(login: LoginSession, version: string | null): Promise<void> {
    const expiresAtMs = this.#nowMs() + LOGIN_CACHE_MS;
    await this.#replace(["login_cache", login.id], version, { login, expiresAtMs });
  }

  /** Remembers that a login ends, over whatever is remembered. */
  async cacheRevocation(id: string, reason: string): Promise<void> {
    const expiresAtMs = this.#nowMs() + LOGIN_CACHE_MS;
    await this.#kv.set(["login_cache", id], { revokedReason: reason, expiresAtMs }, {
      expireIn: LOGIN_CACHE_MS,
    });
  }

  /** Empties the login cache: every login is asked of Postgres again. */
  async forgetLogins(): Promise<void> {
    for await (const { key } of this.#kv.list({ prefix: ["login_cache"] })) await this.#kv.delete(key);
  }

  // Presence.

  /** An installation is connected. */
  async setPresence(userId: string, clientId: string, entry: PresenceEntry): Promise<void> {
    await this.#kv.set(["presence", userId, clientId], entry);
  }

  /** An installation is connected no longer. */
  async removePresence(userId: string, clientId: string): Promise<void> {
    await this.#kv.delete(["presence", userId, clientId]);
  }

  /** Where a user is connected, by client id; entries of nodes that have died may be among them. */
  async listPresence(userId: string): Promise<ReadonlyMap<string, PresenceEntry>> {
    const found = new Map<string, PresenceEntry>();
    for await (const { key, value } of this.#kv.list<PresenceEntry>({ prefix: ["presence", userId] })) {
      found.set(String(key[2]), value);
    }
    return found;
  }

  // Reading and replacing.

  async #get<T>(key: Deno.KvKey): Promise<Versioned<T> | null> {
    const entry = await this.#kv.get<T>(key);
    return entry.versionstamp === null ? null : { value: entry.value, version: entry.versionstamp };
  }

  async #getLive<T extends Expiring>(key: Deno.KvKey): Promise<Versioned<T> | null> {
    const found = await this.#get<T>(key);
    return found === null || found.value.expiresAtMs <= this.#nowMs() ? null : found;
  }

  /** Sets a value where the version stands (null: where nothing is); kept until `afterlifeMs` after its expiry. */
  async #replace<T extends Expiring>(
    key: Deno.KvKey,
    version: string | null,
    value: T,
    afterlifeMs = 0,
  ): Promise<boolean> {
    const expireIn = Math.max(1, value.expiresAtMs + afterlifeMs - this.#nowMs());
    const { ok } = await this.#kv.atomic().check({ key, versionstamp: version }).set(key, value, { expireIn })
      .commit();
    return ok;
  }

  /** Repeats a compare-and-set that gives undefined when it lost. */
  async #untilSettled<T>(attempt: () => Promise<T | undefined>): Promise<T> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const result = await attempt();
      if (result !== undefined) return result;
    }
    throw new Error(`a compare-and-set lost ${MAX_ROUNDS} times in a row`);
  }
}

async function hashCode(salt: Uint8Array, code: string): Promise<Uint8Array> {
  const bytes = new Uint8Array([...salt, ...new TextEncoder().encode(code)]);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Compares in a time that tells nothing about where two values differ. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
