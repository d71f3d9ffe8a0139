import type { Log } from "../log.ts";
import { type MqttWrite, publicationBytes } from "../store/mod.ts";

/** Whose bytes may not leave before a batch is stored. */
export interface Holder {
  /** The batch and all before it are stored. */
  stored(batch: number): void;
  /** What it waits for can never be stored. */
  lost(): void;
}

/** What is stored whole or not at all, and who waits for it. */
interface Unit {
  readonly writes: MqttWrite[];
  readonly holders: Holder[];
}

/** Writes units in order, each whole or not at all: `store.kv.mqtt.write`. */
export type WriteUnits = (units: readonly (readonly MqttWrite[])[]) => Promise<void>;

/** Over so much that is not stored yet, those who added most of it are held back. */
const BEHIND_BYTES = 16 * 1024 * 1024;
/** So much of one client may wait even then: who adds little must not pay for the others. */
const FAIR_BYTES = 64 * 1024;
/** Over so much, nobody may add to what he has waiting. */
const FULL_BYTES = 4 * BEHIND_BYTES;
/** What a write takes in memory besides a body. */
const WRITE_BYTES = 256;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Stores what lasts of sessions and topics. What is added within one packet is one unit; units gather in a batch while
 * the one before it is written, and whoever must not speak before its batch is stored holds its bytes back.
 */
export class Journal {
  readonly #write: WriteUnits;
  readonly #log: Log;
  #units: Unit[] = [];
  /** The last of the units, while more may be added to it. */
  #unit: Unit | null = null;
  /** Tasks within tasks that are being carried out as one unit. */
  #depth = 0;
  /** The batch that is gathered. */
  #batch = 1;
  #holders = new Set<Holder>();
  /** Those of the batch that is being written. */
  #writingHolders = new Set<Holder>();
  #gatheredBytes = 0;
  #writingBytes = 0;
  #isWriting = false;
  /** Writes that were added since the start. */
  added = 0;
  /** What they take in memory. */
  addedBytes = 0;

  constructor(write: WriteUnits, log: Log) {
    this.#write = write;
    this.#log = log;
  }

  /** Whether so much waits to be stored that those who added most of it must be held back. */
  get isBehind(): boolean {
    return this.#gatheredBytes + this.#writingBytes > BEHIND_BYTES;
  }

  /** What one client may have waiting when it asks for more. */
  get fairBytes(): number {
    if (!this.isBehind) return Infinity;
    return this.#gatheredBytes + this.#writingBytes > FULL_BYTES ? 0 : FAIR_BYTES;
  }

  /** The batch that is gathered now. */
  get batch(): number {
    return this.#batch;
  }

  /** Whether a batch is stored, with all before it. */
  isStored(batch: number): boolean {
    return batch < this.#batch - (this.#writingBytes > 0 ? 1 : 0);
  }

  /** Carries out a task; what is added meanwhile is one unit, and one with that of a task around it. */
  asUnit<T>(task: () => T): T {
    this.#depth++;
    try {
      return task();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#unit = null;
    }
  }

  /** Adds to the unit of the task; outside of any it is a unit by itself. */
  add(write: MqttWrite): void {
    const bytes = WRITE_BYTES + bodyBytes(write);
    this.added++;
    this.addedBytes += bytes;
    this.#gatheredBytes += bytes;
    if (this.#unit !== null && this.#depth > 0) this.#unit.writes.push(write);
    else this.#units.push(this.#unit = { writes: [write], holders: [] });
    if (!this.#isWriting) this.#writeAll();
  }

  /** Tells the holder when everything that has been added is stored; the number of its batch. */
  hold(holder: Holder): number {
    this.#holders.add(holder);
    this.#unit?.holders.push(holder);
    return this.#batch;
  }

  /** Resolves when everything that has been added by now is stored, whatever others add meanwhile. */
  async settled(): Promise<void> {
    if (!this.#isWriting) return;
    const holders = this.#units.length > 0 ? this.#holders : this.#writingHolders;
    await new Promise<void>((resolve) => holders.add({ stored: () => resolve(), lost: () => resolve() }));
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    // Behind this turn, so that what one packet or one chunk of bytes brings is written together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#units.length > 0) {
      const units = this.#units;
      const holders = this.#writingHolders = this.#holders;
      const batch = this.#batch++;
      this.#units = [];
      this.#unit = null;
      this.#holders = new Set();
      this.#writingBytes = this.#gatheredBytes;
      this.#gatheredBytes = 0;
      await this.#store(units);
      this.#writingBytes = 0;
      for (const holder of holders) holder.stored(batch);
    }
    this.#isWriting = false;
  }

  /** Tries until it is done: nothing that waits for it may go on before. */
  async #store(units: readonly Unit[]): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)) {
      try {
        return await this.#write(units.map(({ writes }) => writes));
      } catch (error) {
        this.#log.error("MQTT sessions not stored", error, { units: units.length });
        // Trying again does not make it smaller, and it must not keep the others from being stored.
        if (error instanceof TypeError && units.length === 1) {
          for (const holder of units[0]!.holders) holder.lost();
          return;
        }
        if (error instanceof TypeError) {
          for (const unit of units) await this.#store([unit]);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }
}

/** What one client has added and is not stored yet: in the batch that is gathered, and in the one that is written. */
export class JournalShare {
  readonly #journal: Journal;
  #batch = 0;
  #bytes = 0;
  /** Of the batch before. */
  #earlierBytes = 0;

  /** Nothing was added yet. */
  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Notes what this client has just added. */
  add(bytes: number): void {
    const { batch } = this.#journal;
    if (batch !== this.#batch) {
      this.#earlierBytes = this.#batch === batch - 1 ? this.#bytes : 0;
      this.#bytes = 0;
      this.#batch = batch;
    }
    this.#bytes += bytes;
  }

  /** Bytes that wait to be stored. */
  get bytes(): number {
    const journal = this.#journal;
    if (journal.isStored(this.#batch)) return 0;
    return this.#bytes + (journal.isStored(this.#batch - 1) ? 0 : this.#earlierBytes);
  }
}

function bodyBytes(write: MqttWrite): number {
  switch (write.kind) {
    case "session":
      return write.record.will === null ? 0 : publicationBytes(write.record.will.publication);
    case "subscription":
      return write.topicFilter.length;
    case "queued":
      return write.record?.publication ? publicationBytes(write.record.publication) : 0;
    case "retained":
      return write.record === null ? 0 : publicationBytes(write.record);
    default:
      return 0;
  }
}
