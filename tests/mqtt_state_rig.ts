/** MQTT state on a real key-value store, and what is written to it. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import {
  type MqttOwner,
  type MqttSessionRecord,
  MqttState,
  type MqttWrite,
  type PublicationRecord,
  type QueuedRecord,
} from "../store/mod.ts";

/** Compares large bodies; a difference between two of them is not worth the minutes it takes to print. */
export function assertSame(actual: unknown, expected: unknown): void {
  assert.ok(isDeepStrictEqual(actual, expected), "not the same");
}

export interface Rig {
  readonly path: string;
  kv: Deno.Kv;
  state: MqttState;
  reopen(): Promise<void>;
  /** Every key in the file, as text. */
  listKeys(prefix?: string): Promise<string[]>;
}

export async function withState(run: (rig: Rig) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-mqtt-state-" });
  const path = `${folder}/kv.sqlite3`;
  const kv = await Deno.openKv(path);
  const rig: Rig = {
    path,
    kv,
    state: new MqttState(kv),
    async reopen() {
      rig.kv.close();
      rig.kv = await Deno.openKv(path);
      rig.state = new MqttState(rig.kv);
    },
    async listKeys(prefix) {
      const keys: string[] = [];
      const selector = { prefix: prefix === undefined ? [] : [prefix] };
      for await (const { key } of rig.kv.list(selector)) keys.push(JSON.stringify(key));
      return keys;
    },
  };
  try {
    await run(rig);
  } finally {
    rig.kv.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Bytes that differ from place to place and from seed to seed. */
export function bytes(length: number, seed = 1): Uint8Array {
  const made = new Uint8Array(length);
  let state = seed * 2654435761 >>> 0;
  for (let i = 0; i < length; i++) {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    made[i] = state >>> 24;
  }
  return made;
}

export function publication(topic: string, payload: Uint8Array, more: Partial<PublicationRecord> = {}) {
  return { topic, payload, qos: 1, retain: false, properties: bytes(0), expiresAtMs: null, ...more };
}

export function queued(
  publication: PublicationRecord | null,
  more: Partial<QueuedRecord> = {},
): QueuedRecord {
  return { qos: 1, packetId: 0, isReleased: false, retain: false, subscriptionIds: [], publication, ...more };
}

export const ANNA: MqttOwner = { userId: "anna", clientId: "a" };
export const IDLE: MqttSessionRecord = {
  expirySeconds: 3_600,
  disconnectedAtMs: 1_800_000_000_000,
  will: null,
};

export function session(owner: MqttOwner, record = IDLE): MqttWrite {
  return { kind: "session", owner, record };
}

export function enqueue(
  owner: MqttOwner,
  seq: number,
  record: QueuedRecord | null,
  replacedBytes = 0,
): MqttWrite {
  return { kind: "queued", owner, seq, record, replacedBytes };
}

export function retain(topic: string, record: PublicationRecord | null, replacedBytes = 0): MqttWrite {
  return { kind: "retained", topic, record, replacedBytes };
}

export const OPTIONS = {
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionId: null,
};
