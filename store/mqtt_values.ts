/**
 * How MQTT state lies in Deno KV: keys, values, and bodies in chunks.
 *
 * | key | value |
 * |---|---|
 * | `["mqtt_sessions", userId, clientId]` | the session and its will |
 * | `["mqtt_subscriptions", userId, clientId, topicFilter]` | the options of the subscription |
 * | `["mqtt_queue", userId, clientId, seq]` | a message for the session |
 * | `["mqtt_received", userId, clientId, packetId]` | true |
 * | `["retained", topic]` | a retained message |
 *
 * A large body lies beside its record, under the record's key with a number behind it. Every body takes numbers of
 * its own: a record that was replaced in several commits points to the old chunks or to the new ones, all of them.
 */

import { createHash } from "node:crypto";
import type { KvChange } from "./kv_commit.ts";
import {
  type MqttOwner,
  type MqttSubscriptionRecord,
  publicationBytes,
  type PublicationRecord,
} from "./mqtt_records.ts";

/** The chunks of a body: `key, firstChunk` to `key, firstChunk + chunkCount - 1`. */
export interface ChunkRange {
  readonly firstChunk: number;
  readonly chunkCount: number;
}

interface InlineBody {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly properties: Uint8Array;
}

/** Topic, payload and properties one after the other. */
interface ChunkedBody extends ChunkRange {
  readonly topicBytes: number;
  readonly payloadBytes: number;
}

interface StoredPublication {
  readonly qos: number;
  readonly retain: boolean;
  readonly expiresAtMs: number | null;
  /** What `publicationBytes` says of it. */
  readonly bytes: number;
  readonly body: InlineBody | ChunkedBody;
}

/** A value with at most one publication in it. */
export interface Bearer {
  readonly publication: StoredPublication | null;
}

/** Value of a session; names are in the value because a long one is in the key as a hash only. */
export interface SessionValue extends Bearer {
  readonly owner: MqttOwner;
  readonly expirySeconds: number;
  readonly disconnectedAtMs: number | null;
  readonly will: { readonly expirySeconds: number | null; readonly delaySeconds: number } | null;
}

/** Value of a subscription. */
export interface SubscriptionValue {
  readonly topicFilter: string;
  readonly record: MqttSubscriptionRecord;
}

/** Value of a queued message. */
export interface QueuedValue extends Bearer {
  readonly qos: number;
  readonly packetId: number;
  readonly isReleased: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
}

/** Publications up to this size are in their record, which leaves half of a value to everything else. */
const MAX_INLINE_BYTES = 32 * 1024;
const CHUNK_BYTES = 60 * 1024;
/** More than the field names, numbers and framing of any value. */
const VALUE_FRAME_BYTES = 640;
/** Three texts of this size and the rest of a key stay below the 2,048 bytes of a key. */
const MAX_KEY_TEXT_BYTES = 600;

/** The prefixes of what belongs to a session. */
export type SessionPrefix = "mqtt_sessions" | "mqtt_subscriptions" | "mqtt_queue" | "mqtt_received";

/** Where a session, or something of it, lies. */
export function sessionKey(
  prefix: SessionPrefix,
  { userId, clientId }: MqttOwner,
  ...rest: readonly Deno.KvKeyPart[]
): Deno.KvKey {
  return [prefix, keyText(userId), keyText(clientId), ...rest];
}

/** Where the retained message of a topic lies. */
export function retainedKey(topic: string): Deno.KvKey {
  return ["retained", keyText(topic)];
}

/** A text as part of a key: itself, or the hash of one that is too long. */
export function keyText(text: string): Deno.KvKeyPart {
  // A UTF-16 unit is at most three bytes of UTF-8.
  if (text.length * 3 <= MAX_KEY_TEXT_BYTES) return text;
  const bytes = encoder.encode(text);
  return bytes.length <= MAX_KEY_TEXT_BYTES
    ? text
    : new Uint8Array(createHash("sha256").update(bytes).digest());
}

/** The change that sets a value without a publication; `extraBytes` bounds what it has beyond names and numbers. */
export function setPlain(key: Deno.KvKey, value: unknown, extraBytes: number): KvChange {
  return { key, set: { value, bytes: VALUE_FRAME_BYTES + extraBytes } };
}

/**
 * The changes that set a value with `publication` in it where a body in `replaced` may stand, in an order that never
 * leaves a record with half a body: new chunks, the record, old chunks.
 *
 * @param extraBytes upper bound of what is in `value` beyond names and numbers
 */
export function setBearer(
  key: Deno.KvKey,
  value: object,
  publication: PublicationRecord | null,
  extraBytes: number,
  replaced: ChunkRange | null,
): { readonly changes: readonly KvChange[]; readonly chunks: ChunkRange | null } {
  const packed = publication === null ? null : pack(publication);
  const inlineBytes = packed === null || packed.chunks !== null ? 0 : packed.stored.bytes;
  const bytes = VALUE_FRAME_BYTES + extraBytes + inlineBytes;
  const changes: KvChange[] = [];
  if (packed !== null && packed.chunks !== null) {
    const chunkKeys = listChunkKeys(key, packed.chunks);
    for (const [i, chunkKey] of chunkKeys.entries()) {
      const chunk = packed.blob.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
      changes.push({ key: chunkKey, set: { value: chunk, bytes: chunk.length } });
    }
  }
  changes.push({ key, set: { value: { ...value, publication: packed?.stored ?? null }, bytes } });
  changes.push(...dropKeys(listChunkKeys(key, replaced)));
  return { changes, chunks: packed?.chunks ?? null };
}

/** The changes that delete keys, in their order. */
export function dropKeys(keys: readonly Deno.KvKey[]): readonly KvChange[] {
  return keys.map((key) => ({ key, set: null }));
}

/** Whether a publication of these `publicationBytes` has chunks. */
export function isChunked(bytes: number): boolean {
  return bytes > MAX_INLINE_BYTES;
}

/** Where the body of a value's publication lies; null when in the value, or when there is none. */
export function chunksOf({ publication }: Bearer): ChunkRange | null {
  return publication !== null && "firstChunk" in publication.body ? publication.body : null;
}

/** The keys of a body beside its record. */
export function listChunkKeys(key: Deno.KvKey, chunks: ChunkRange | null): readonly Deno.KvKey[] {
  if (chunks === null) return [];
  return Array.from({ length: chunks.chunkCount }, (_, i) => [...key, chunks.firstChunk + i]);
}

/** A publication from its value and, where it has some, its chunks in order. */
export function unpack(stored: StoredPublication, chunks: readonly Uint8Array[]): PublicationRecord {
  const { qos, retain, expiresAtMs, body } = stored;
  if (!("firstChunk" in body)) return { ...body, qos, retain, expiresAtMs };
  const blob = concat(chunks);
  const payloadEnd = body.topicBytes + body.payloadBytes;
  return {
    topic: decoder.decode(blob.subarray(0, body.topicBytes)),
    payload: blob.slice(body.topicBytes, payloadEnd),
    properties: blob.slice(payloadEnd),
    qos,
    retain,
    expiresAtMs,
  };
}

const encoder = new TextEncoder();
/** A topic that begins with U+FEFF keeps it. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

type Packed =
  | { readonly stored: StoredPublication; readonly chunks: null }
  | { readonly stored: StoredPublication; readonly chunks: ChunkRange; readonly blob: Uint8Array };

function pack(publication: PublicationRecord): Packed {
  const { topic, payload, properties, qos, retain, expiresAtMs } = publication;
  const head = { qos, retain, expiresAtMs, bytes: publicationBytes(publication) };
  if (!isChunked(head.bytes)) {
    const body = { topic, payload: owned(payload), properties: owned(properties) };
    return { stored: { ...head, body }, chunks: null };
  }
  const topicBytes = encoder.encode(topic);
  const blob = concat([topicBytes, payload, properties]);
  const chunks = {
    firstChunk: crypto.getRandomValues(new Uint32Array(1))[0]! * 2 ** 20,
    chunkCount: Math.ceil(blob.length / CHUNK_BYTES),
  };
  const body = { ...chunks, topicBytes: topicBytes.length, payloadBytes: payload.length };
  return { stored: { ...head, body }, chunks, blob };
}

/** Serialising a view writes the whole buffer under it. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
