/**
 * What a message may say: the shape of `content`, its limits, and how it is written down.
 */

import * as z from "zod";
import { PERSIST_FLAGS } from "../wire.ts";
import { ImError } from "./error.ts";
import { idShape } from "./shapes.ts";

/** Largest content, in bytes of its JSON text. */
export const MAX_CONTENT_BYTES = 64 * 1024;

const MAX_EXPIRE_SECONDS = 31_536_000;

/** The shape of `content`; unknown fields are dropped. */
export const contentShape = z.object({
  type: z.int32().min(1).refine(
    // Recalls, deletions and group notices are made by the server alone.
    (type) => type !== 80 && type !== 81 && (type < 100 || type > 199),
    "80, 81 and 100–199 are sent by the server only",
  ),
  searchableContent: z.string().optional(),
  pushContent: z.string().optional(),
  pushData: z.string().optional(),
  content: z.string().optional(),
  data: z.base64().optional(),
  mediaType: z.int32().optional(),
  remoteMediaUrl: z.string().optional(),
  persistFlag: z.union([z.literal(0), z.literal(1), z.literal(3), z.literal(4)], "one of 0, 1, 3, 4")
    .optional(),
  expireDuration: z.int().min(0).max(MAX_EXPIRE_SECONDS).optional().meta({ description: "Seconds" }),
  mentionedType: z.int().min(0).max(2).optional().meta({
    description: "0 nobody, 1 the listed, 2 everybody",
  }),
  mentionedTargets: z.array(idShape).max(200).optional(),
  extra: z.string().optional(),
});

/** Content that has passed its shape. */
export type Content = z.output<typeof contentShape>;

/** Content types whose persist flag is not 1 when the sender names none. */
const DEFAULT_PERSIST_FLAGS: ReadonlyMap<number, number> = new Map([
  ...[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18, 19, 23, 25, 40, 408, 510, 511]
    .map((type) => [type, PERSIST_FLAGS.counted] as const),
  ...[14, 26, 71, 72, 73, 91, 401, 403, 405, 410, 411, 412, 416, 417]
    .map((type) => [type, PERSIST_FLAGS.transparent] as const),
  ...[31, 94, 402, 404, 407].map((type) => [type, PERSIST_FLAGS.hidden] as const),
]);

/** The persist flag of a message: 0 stored but not shown, 1 stored, 3 stored and counted, 4 transparent. */
export function persistFlagOf(
  content: { readonly type: number; readonly persistFlag?: number | undefined },
): number {
  return content.persistFlag ?? DEFAULT_PERSIST_FLAGS.get(content.type) ?? PERSIST_FLAGS.stored;
}

/**
 * The JSON text of a content, with its persist flag and without empty fields. It is stored, pulled and delivered as
 * it is made here.
 *
 * @throws {ImError} `message/too-large`
 */
export function contentJson(content: Content): string {
  const written: Record<string, unknown> = { type: content.type };
  for (const field of TEXT_FIELDS) {
    const text = content[field];
    if (text !== undefined && text !== "") written[field] = text;
  }
  if (content.mediaType) written.mediaType = content.mediaType;
  written.persistFlag = persistFlagOf(content);
  if (content.expireDuration) written.expireDuration = content.expireDuration;
  if (content.mentionedType) written.mentionedType = content.mentionedType;
  if (content.mentionedTargets?.length) written.mentionedTargets = content.mentionedTargets;
  const json = JSON.stringify(written);
  // A character takes at most three bytes; only long texts are worth counting.
  if (json.length > MAX_CONTENT_BYTES / 3 && new TextEncoder().encode(json).length > MAX_CONTENT_BYTES) {
    throw new ImError("message/too-large", `The content is larger than ${MAX_CONTENT_BYTES} bytes.`, {
      field: "content",
    });
  }
  return json;
}

const TEXT_FIELDS = [
  "searchableContent",
  "pushContent",
  "pushData",
  "content",
  "data",
  "remoteMediaUrl",
  "extra",
] as const;
