/** A journal whose store takes each batch when the test says so. */
import assert from "node:assert/strict";
import { Journal } from "../broker/journal.ts";
import { createLog } from "../log.ts";
import type { MqttWrite } from "../store/mod.ts";

/** Whose writes they are. */
export const OWNER = { userId: "", clientId: "c" };

/** The smallest write, told apart by its number. */
export function write(packetId: number): MqttWrite {
  return { kind: "received", owner: OWNER, packetId, isKept: true };
}

/** The numbers of writes, unit by unit. */
export function numbersOf(units: readonly (readonly MqttWrite[])[]): number[][] {
  return units.map((unit) => unit.map((made) => made.kind === "received" ? made.packetId : -1));
}

/** A store that takes each batch when the test says so. */
export class Store {
  readonly journal: Journal;
  /** Units of the batches that were begun, as numbers. */
  readonly begun: number[][][] = [];
  readonly lines: string[] = [];
  #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | null = null;
  #begun = Promise.withResolvers<void>();

  constructor() {
    const log = createLog({ format: "text", level: "error", write: (line) => this.lines.push(line) });
    this.journal = new Journal((units) => this.#write(units), log);
  }

  #write(units: readonly (readonly MqttWrite[])[]): Promise<void> {
    assert.equal(this.#waiting, null, "one commit is in flight");
    this.begun.push(numbersOf(units));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { resolve, reject };
    this.#begun.resolve();
    this.#begun = Promise.withResolvers();
    return promise;
  }

  /** Waits for the next commit to begin, then ends it. */
  async end(error?: unknown): Promise<void> {
    if (this.#waiting === null) await this.#begun.promise;
    const waiting = this.#waiting!;
    this.#waiting = null;
    if (error === undefined) waiting.resolve();
    else waiting.reject(error);
  }

  /** Waits for the next commit to begin. */
  async begin(): Promise<void> {
    if (this.#waiting === null) await this.#begun.promise;
  }

  add(...packetIds: readonly number[]): void {
    this.journal.asUnit(() => {
      for (const packetId of packetIds) this.journal.add(write(packetId));
    });
  }
}
