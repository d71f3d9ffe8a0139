/**
 * Opening single conversations: a sender may write first to so many people a minute who are not his friends and never
 * wrote to him, through all doors together. Conversations are counted, not messages.
 *
 * A pair that needs no more counting is remembered, so a message in a conversation that goes on costs one look into a
 * set. The others are looked up together: one query for all that came while the query before it was under way.
 */

import { type Approach, listAcquaintances, type Store } from "../store/mod.ts";
import { ImError } from "./error.ts";
import { RecentSet } from "./recent_set.ts";

/** Conversations a sender may open in a window. */
const MAX_NEW = 20;
const WINDOW_MS = 60_000;
/** Pairs remembered: some 10 MB. */
const MAX_KNOWN = 100_000;
/** A look-up that takes longer is answered `server/timeout`, as a send is that waits so long for its turn. */
const PATIENCE_MS = 5_000;

interface Newcomer extends Approach {
  readonly userId: string;
  /** Told whether there is such a person. */
  readonly resolve: (targetExists: boolean) => void;
  readonly reject: (cause: unknown) => void;
}

/** Says who may write to whom for the first time; one per process. */
export class NewConversations {
  readonly #store: Store;
  readonly #isLimited: boolean;
  readonly #patienceMs: number;
  /** Pairs of people who exist and whose conversation is open, or counted. */
  readonly #known = new RecentSet(MAX_KNOWN);
  /** Questions under way, so that several first messages to one person are one. */
  readonly #asked = new Map<string, Promise<boolean>>();
  #waiting: Newcomer[] = [];
  #isLookingUp = false;

  constructor(
    store: Store,
    options: {
      /** Otherwise nobody is counted. */
      readonly isLimited: boolean;
      readonly patienceMs?: number;
    },
  ) {
    this.#store = store;
    this.#isLimited = options.isLimited;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
  }

  /** Whether opening conversations is limited at all. */
  get isLimited(): boolean {
    return this.#isLimited;
  }

  /**
   * Asks for leave to write to somebody: null when nothing needs to be looked up, otherwise whether there is such a
   * person.
   *
   * Rejects with {@linkcode ImError}: `request/too-often`, `server/timeout`.
   */
  admit(userId: string, target: string, canonicalTarget: string): Promise<boolean> | null {
    if (this.#known.has(canonicalTarget)) return null;
    // No id holds a bar. The sender comes first: what is refused to one may be free to the other.
    const key = `${userId}|${target}`;
    let answer = this.#asked.get(key);
    if (answer === undefined) {
      const asked = Promise.withResolvers<boolean>();
      answer = asked.promise;
      this.#asked.set(key, answer);
      this.#waiting.push({
        userId,
        target,
        canonicalTarget,
        resolve: (targetExists) => {
          this.#asked.delete(key);
          if (targetExists) this.#known.add(canonicalTarget);
          asked.resolve(targetExists);
        },
        reject: (cause) => {
          this.#asked.delete(key);
          asked.reject(cause);
        },
      });
      this.#lookUp();
    }
    return answer;
  }

  #lookUp(): void {
    if (this.#isLookingUp) return;
    this.#isLookingUp = true;
    // Begun in a microtask, so that what comes in one turn is one question.
    Promise.resolve().then(async () => {
      while (this.#waiting.length > 0) {
        const batch = this.#waiting;
        this.#waiting = [];
        await this.#answer(batch);
      }
      this.#isLookingUp = false;
    });
  }

  async #answer(batch: readonly Newcomer[]): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new ImError("server/timeout", "The message was not stored in time. Send it again.")),
        this.#patienceMs,
      );
    });
    try {
      const found = await Promise.race([listAcquaintances(this.#store, batch), late]);
      const strangers: Newcomer[] = [];
      for (const [i, newcomer] of batch.entries()) {
        const { targetExists, isAcquainted } = found[i]!;
        if (this.#isLimited && targetExists && !isAcquainted) strangers.push(newcomer);
        else newcomer.resolve(targetExists);
      }
      // Nobody waits for the counting of others.
      for (const group of Map.groupBy(strangers, ({ userId }) => userId).values()) this.#count(group);
    } catch (cause) {
      for (const newcomer of batch) newcomer.reject(cause);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Counts the conversations one sender opens; those over the limit are refused. */
  async #count(newcomers: readonly Newcomer[]): Promise<void> {
    let retryAfterMs = 0;
    for (const { userId, resolve, reject } of newcomers) {
      try {
        if (retryAfterMs === 0) {
          retryAfterMs = await this.#store.kv.countWithin([{
            kind: "new_conversations",
            subject: userId,
            limit: MAX_NEW,
            windowMs: WINDOW_MS,
          }]);
        }
        if (retryAfterMs === 0) resolve(true);
        else reject(tooOften(retryAfterMs));
      } catch (cause) {
        reject(cause);
      }
    }
  }
}

function tooOften(retryAfterMs: number): ImError {
  return new ImError("request/too-often", "You are writing to too many people for the first time.", {
    retryAfterMs,
  });
}
