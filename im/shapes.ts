/**
 * The shapes of requests, said once: every command's schema is made of these, and the OpenAPI document with them.
 */

import * as z from "zod";
import { ImError } from "./error.ts";

/** Ids made by callers: 1–64 of `A–Z a–z 0–9 _ - . @ :`. */
export const idShape = z.string().regex(/^[A-Za-z0-9_\-.@:]{1,64}$/, "1–64 of A–Z a–z 0–9 _ - . @ :")
  .meta({ description: "1–64 of A–Z a–z 0–9 _ - . @ :" });

/** A request or client message id: 1–64 printable ASCII characters. */
export const printableIdShape = z.string().regex(/^[\x20-\x7e]{1,64}$/, "1–64 printable characters");

/** A 64-bit number as a decimal string. */
export const int64Shape = z.string().regex(/^\d{1,19}$/, "a decimal string")
  .refine(
    (text) => text.length < 19 || BigInt(text) <= 9_223_372_036_854_775_807n,
    "at most 9223372036854775807",
  )
  .meta({ description: "A 64-bit number as a decimal string" });

/** A conversation as the caller sees it. */
export const conversationShape = z.object({
  type: z.int().min(0).max(3).meta({ description: "0 single, 1 group, 2 chatroom, 3 channel" }),
  target: idShape,
  line: z.int32().default(0),
});

/** Milliseconds since 1970. */
export const timeShape = z.int().min(0).meta({ description: "Milliseconds since 1970" });

/** Checks a request against its shape; the first fault becomes a refusal that names its field. */
export function requireShape<S extends z.ZodType>(shape: S, request: unknown): z.output<S> {
  const parsed = shape.safeParse(request);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const field = issue.path.join(".");
  throw new ImError("request/invalid", field === "" ? issue.message : `${field}: ${issue.message}`, {
    ...(field === "" ? {} : { field }),
  });
}
