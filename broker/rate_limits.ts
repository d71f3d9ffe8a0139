/** A token bucket: so many requests at once, then so many a second. */
export interface RateLimit {
  /** How many at once. */
  readonly burst: number;
  /** How many a second after that. */
  readonly perSecond: number;
}

const USUAL: RateLimit = { burst: 100, perSecond: 20 };
const READING: RateLimit = { burst: 200, perSecond: 100 };

/** Sends that are stored nowhere are counted under this name. */
export const TRANSPARENT_SENDS = "message.send:transparent";

/** Searches that look a mobile number up are counted under this name: numbers must not be tried out one by one. */
export const MOBILE_SEARCHES = "user.search:mobile";

/** Limits that are not the usual burst 100, 20/s. */
const BUILT_IN: ReadonlyMap<string, RateLimit> = new Map([
  ["message.send", { burst: 2_000, perSecond: 500 }],
  [TRANSPARENT_SENDS, { burst: 50, perSecond: 20 }],
  [MOBILE_SEARCHES, { burst: 20, perSecond: 0.2 }],
  ["sync", READING],
  ["message.pull", READING],
  ["message.history", READING],
]);

/** Buckets nobody took from for so long are full again, whatever their limit: forgetting them changes nothing. */
const FORGET_AFTER_MS = 10 * 60_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

interface ClientBuckets {
  readonly commands: Map<string, Bucket>;
  usedAtMs: number;
}

/** Requests per user, client and command, through every door. Pure: the time is given. */
export class RateLimits {
  readonly #limits: "off" | ReadonlyMap<string, RateLimit>;
  readonly #clients = new Map<string, ClientBuckets>();
  #sweptAtMs = 0;

  /** What differs from the built-in limits, or `off` for none at all. */
  constructor(limits: "off" | ReadonlyMap<string, RateLimit>) {
    this.#limits = limits;
  }

  /** Clients that made requests lately. */
  get size(): number {
    return this.#clients.size;
  }

  /** Takes a token: 0 when there was one, otherwise the milliseconds until there is. */
  take(userId: string, clientId: string, command: string, nowMs: number): number {
    if (this.#limits === "off") return 0;
    if (nowMs - this.#sweptAtMs > FORGET_AFTER_MS) this.#sweep(nowMs);
    // Ids hold no space, so the pair is unambiguous.
    const key = `${userId} ${clientId}`;
    let client = this.#clients.get(key);
    if (client === undefined) this.#clients.set(key, client = { commands: new Map(), usedAtMs: nowMs });
    client.usedAtMs = nowMs;
    const { burst, perSecond } = this.#limits.get(command) ?? BUILT_IN.get(command) ?? USUAL;
    let bucket = client.commands.get(command);
    if (bucket === undefined) client.commands.set(command, bucket = { tokens: burst, atMs: nowMs });
    // A clock that was set back adds nothing.
    const earned = Math.max(0, nowMs - bucket.atMs) / 1_000 * perSecond;
    bucket.tokens = Math.min(burst, bucket.tokens + earned);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return Math.max(1, Math.ceil((1 - bucket.tokens) / perSecond * 1_000));
    bucket.tokens--;
    return 0;
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [key, { usedAtMs }] of this.#clients) {
      if (nowMs - usedAtMs > FORGET_AFTER_MS) this.#clients.delete(key);
    }
  }
}
