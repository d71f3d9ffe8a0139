/** Random numbers that can be had again. Source: mulberry32 by Tommy Ettinger, in the public domain. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 … sides - 1. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  }

  /** One of some values. */
  pick<T>(values: readonly T[]): T {
    return values[this.roll(values.length)]!;
  }
}
