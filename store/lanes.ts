/**
 * The commit queue's order: one lane per conversation, served round robin by rows, so that a busy group does not
 * hold up a pair. Pure: no clock, no I/O.
 */

/** How much may wait, and how much one flush takes. */
export interface LaneLimits {
  readonly maxRowsPerTake: number;
  /** Rows one lane may have in a take while other lanes wait. */
  readonly maxRowsPerLane: number;
  readonly maxItemsPerLane: number;
  readonly maxItems: number;
  readonly maxBytes: number;
}

/** What {@linkcode Lanes} needs to know of an item. */
export interface LaneItem {
  readonly lane: string;
  /** Timeline rows it becomes. */
  readonly rows: number;
  readonly bytes: number;
}

/** Rows a lane is served before its neighbour's turn. */
const QUANTUM_ROWS = 64;

interface Lane<T> {
  items: Queued<T>[];
  taken: number;
}

interface Queued<T> {
  readonly item: T;
  readonly arrival: number;
}

/** A fair queue of items in lanes. */
export class Lanes<T extends LaneItem> {
  readonly #limits: LaneLimits;
  readonly #lanes = new Map<string, Lane<T>>();
  #items = 0;
  #bytes = 0;
  #arrivals = 0;

  constructor(limits: LaneLimits) {
    this.#limits = limits;
  }

  /** Items waiting. */
  get size(): number {
    return this.#items;
  }

  /** Bytes waiting. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether an item of this lane may enter now. */
  hasRoom(lane: string): boolean {
    if (this.#items >= this.#limits.maxItems || this.#bytes >= this.#limits.maxBytes) return false;
    const waiting = this.#lanes.get(lane);
    return waiting === undefined || waiting.items.length - waiting.taken < this.#limits.maxItemsPerLane;
  }

  /** Puts an item at the end of its lane. */
  push(item: T): void {
    let lane = this.#lanes.get(item.lane);
    if (lane === undefined) this.#lanes.set(item.lane, lane = { items: [], taken: 0 });
    lane.items.push({ item, arrival: this.#arrivals++ });
    this.#items++;
    this.#bytes += item.bytes;
  }

  /** Visits every waiting item. */
  forEach(visit: (item: T) => void): void {
    for (const lane of this.#lanes.values()) {
      for (let i = lane.taken; i < lane.items.length; i++) visit(lane.items[i]!.item);
    }
  }

  /**
   * Takes the next batch: lanes in turn until `maxRowsPerTake` rows are together. The result is in order of arrival,
   * so a sender's messages keep their order across lanes within one batch.
   */
  take(): T[] {
    const batch: Queued<T>[] = [];
    const rowsOfLane = new Map<string, number>();
    let rows = 0;
    let progressed = true;
    while (progressed && rows < this.#limits.maxRowsPerTake && this.#lanes.size > 0) {
      progressed = false;
      for (const [name, lane] of this.#lanes) {
        let served = 0;
        let laneRows = rowsOfLane.get(name) ?? 0;
        const alone = this.#lanes.size === 1;
        while (lane.taken < lane.items.length && served < QUANTUM_ROWS) {
          const queued = lane.items[lane.taken]!;
          const next = queued.item.rows;
          // A single item larger than a whole take still goes, alone.
          if (rows > 0 && rows + next > this.#limits.maxRowsPerTake) break;
          if (laneRows > 0 && !alone && laneRows + next > this.#limits.maxRowsPerLane) break;
          lane.taken++;
          batch.push(queued);
          served += next;
          laneRows += next;
          rows += next;
          this.#items--;
          this.#bytes -= queued.item.bytes;
        }
        if (served > 0) progressed = true;
        rowsOfLane.set(name, laneRows);
        if (lane.taken === lane.items.length) this.#lanes.delete(name);
        if (rows >= this.#limits.maxRowsPerTake) break;
      }
    }
    for (const [name, lane] of this.#lanes) {
      if (lane.taken === 0) continue;
      lane.items = lane.items.slice(lane.taken);
      lane.taken = 0;
      // A lane that was served goes behind those that were not.
      this.#lanes.delete(name);
      this.#lanes.set(name, lane);
    }
    batch.sort((a, b) => a.arrival - b.arrival);
    return batch.map((queued) => queued.item);
  }
}
