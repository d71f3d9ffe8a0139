/**
 * Message ids and random ids.
 *
 * A message id has 64 bits: milliseconds since 2017-12-31T16:00:00Z (41 bits), node number (6), counter (15).
 */

const EPOCH_MS = 1_514_736_000_000;
const NODE_SHIFT = 15n;
const TIME_SHIFT = 21n;
const COUNTER_LIMIT = 1 << 15;

/** The time in a message id, in milliseconds since 1970. */
export function messageIdTimeMs(messageId: bigint): number {
  return Number(messageId >> TIME_SHIFT) + EPOCH_MS;
}

/** The smallest message id of a moment, for ranges. */
export function firstMessageIdAt(timeMs: number): bigint {
  return BigInt(Math.max(0, timeMs - EPOCH_MS)) << TIME_SHIFT;
}

/**
 * The partition of `t_messages` that holds an id: (year mod 3) × 12 + month − 1 of the id's time, UTC; 0–35.
 */
export function messageShard(messageId: bigint): number {
  return shardOfTime(messageIdTimeMs(messageId));
}

/** The partition of `t_messages` for messages of a moment. */
export function shardOfTime(timeMs: number): number {
  const month = monthOfTime(timeMs);
  return month.shard;
}

/** First millisecond of the UTC month a moment lies in and of the next one, and the shard of that month. */
export function monthOfTime(
  timeMs: number,
): { readonly startMs: number; readonly endMs: number; readonly shard: number } {
  if (timeMs >= cachedMonth.startMs && timeMs < cachedMonth.endMs) return cachedMonth;
  const date = new Date(timeMs);
  const year = date.getUTCFullYear(), month = date.getUTCMonth();
  cachedMonth = {
    startMs: Date.UTC(year, month, 1),
    endMs: Date.UTC(year, month + 1, 1),
    shard: (year % 3) * 12 + month,
  };
  return cachedMonth;
}

// Nearly every id asked about is of the current month: remembering one month spares a Date per message.
let cachedMonth = { startMs: 0, endMs: 0, shard: 0 };

/** Mints message ids of one node, strictly growing, and above any id named to it. */
export class MessageIdClock {
  #timeMs = 0;
  #counter = 0;

  /**
   * The next id: above every id minted before and above `above`, at `nowMs` or as little later as that takes.
   * A clock that goes back keeps the last millisecond.
   *
   * @param nowMs milliseconds since 1970
   * @param node 0–63, leased
   * @param above the largest id among the timelines the message goes to
   */
  next(nowMs: number, node: number, above: bigint): bigint {
    const relative = nowMs - EPOCH_MS;
    if (relative > this.#timeMs) {
      this.#timeMs = relative;
      this.#counter = 0;
    } else if (++this.#counter === COUNTER_LIMIT) {
      this.#timeMs++;
      this.#counter = 0;
    }
    let id = this.#compose(node);
    if (id <= above) {
      // Another node, or this one before a clock step, was ahead: carry on behind it.
      this.#timeMs = Number(above >> TIME_SHIFT) + 1;
      this.#counter = 0;
      id = this.#compose(node);
    }
    return id;
  }

  #compose(node: number): bigint {
    return (BigInt(this.#timeMs) << TIME_SHIFT) | (BigInt(node) << NODE_SHIFT) | BigInt(this.#counter);
  }
}

const ID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/**
 * A random id of `length` lower-case letters and digits; the default has 103 bits, so it can't be guessed.
 */
export function randomId(length = 20): string {
  let id = "";
  while (id.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length * 2))) {
      // 252 is the largest multiple of 36 below 256: dropping the rest keeps the letters equally likely.
      if (byte < 252 && id.length < length) id += ID_ALPHABET[byte % 36];
    }
  }
  return id;
}
