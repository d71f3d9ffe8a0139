/**
 * Counts of latencies in log-linear buckets, as in HdrHistogram: memory is fixed however much is recorded, and what
 * is read back is at most one part in 128 above what was recorded.
 */

/** Buckets of one octave; values below this many units are exact. */
const PER_OCTAVE = 128;
const OCTAVE_BITS = 7;
/** Values go up to 2^32 units; at a microsecond a unit that is more than an hour. */
const MAX_BITS = 32;
const MAX_UNITS = 2 ** MAX_BITS - 1;
const BUCKETS = PER_OCTAVE * (MAX_BITS - OCTAVE_BITS + 1);

/** What a histogram says in one line. */
export interface Percentiles {
  readonly count: number;
  /** Milliseconds, like the following; all 0 when nothing was recorded. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** A histogram of durations, kept in microseconds. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;
  #maxUnits = 0;

  /** How many durations were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Records a duration in milliseconds; a negative one counts as 0, one above 71 minutes as that. */
  record(ms: number): void {
    const units = Math.min(Math.max(Math.round(ms * 1_000), 0), MAX_UNITS);
    this.#counts[bucketOf(units)]!++;
    this.#count++;
    if (units > this.#maxUnits) this.#maxUnits = units;
  }

  /** Adds what another one recorded. */
  add(other: Histogram): void {
    for (let i = 0; i < BUCKETS; i++) this.#counts[i]! += other.#counts[i]!;
    this.#count += other.#count;
    this.#maxUnits = Math.max(this.#maxUnits, other.#maxUnits);
  }

  /** The duration in milliseconds that this share (0–1) of the recorded ones does not exceed; 0 when empty. */
  quantile(share: number): number {
    if (this.#count === 0) return 0;
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) return Math.min(highestOf(bucket), this.#maxUnits) / 1_000;
    }
    return this.#maxUnits / 1_000;
  }

  /** The usual figures. */
  percentiles(): Percentiles {
    return {
      count: this.#count,
      p50: this.quantile(0.5),
      p99: this.quantile(0.99),
      max: this.#maxUnits / 1_000,
    };
  }
}

/** The first 128 buckets hold one value each; every octave above is cut into 128 equal parts. */
function bucketOf(units: number): number {
  if (units < PER_OCTAVE) return units;
  const octave = 31 - Math.clz32(units) - OCTAVE_BITS;
  return PER_OCTAVE * (octave + 1) + (units >>> octave) - PER_OCTAVE;
}

/** The largest value of a bucket. */
function highestOf(bucket: number): number {
  if (bucket < PER_OCTAVE) return bucket;
  const octave = Math.floor(bucket / PER_OCTAVE) - 1;
  return (PER_OCTAVE + bucket % PER_OCTAVE + 1) * 2 ** octave - 1;
}
