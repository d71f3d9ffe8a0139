import { ImError } from "./error.ts";

const MAX_DEPTH = 16;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a request body: a JSON object of at most 16 levels, in well-formed Unicode without U+0000 (one NUL would
 * fail a whole batch in Postgres).
 *
 * @throws {ImError} `request/invalid`
 */
export function parseRequest(body: Uint8Array | string): Record<string, unknown> {
  let request: unknown;
  try {
    request = JSON.parse(typeof body === "string" ? body : utf8.decode(body));
  } catch {
    throw new ImError("request/invalid", "The request is not JSON in UTF-8.");
  }
  if (typeof request !== "object" || request === null || Array.isArray(request)) {
    throw new ImError("request/invalid", "The request is not a JSON object.");
  }
  checkValue(request, 1);
  return request as Record<string, unknown>;
}

function checkValue(value: unknown, depth: number): void {
  if (typeof value === "string") return checkText(value);
  if (typeof value !== "object" || value === null) return;
  if (depth > MAX_DEPTH) {
    throw new ImError("request/invalid", `The request is deeper than ${MAX_DEPTH} levels.`);
  }
  if (Array.isArray(value)) {
    for (const element of value) checkValue(element, depth + 1);
    return;
  }
  for (const key in value) {
    checkText(key);
    checkValue((value as Record<string, unknown>)[key], depth + 1);
  }
}

function checkText(text: string): void {
  if (text.includes("\0")) throw new ImError("request/invalid", "The request holds the character U+0000.");
  if (!text.isWellFormed()) {
    throw new ImError("request/invalid", "The request holds half of a surrogate pair.");
  }
}
