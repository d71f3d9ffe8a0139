/**
 * Postgres array literals, written in one pass per array.
 *
 * The driver can build them too, by a call per element; a flush carries thousands of elements, and this is the
 * difference between 9 and 3 µs a message.
 */

const NEEDS_ESCAPE = /["\\]/g;

/** A `text[]` literal; `null` elements become NULL. Strings must not hold U+0000. */
export function textArray(values: readonly (string | null)[]): string {
  let literal = "{";
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (i > 0) literal += ",";
    literal += value === null || value === undefined
      ? "NULL"
      : `"${value.includes('"') || value.includes("\\") ? value.replace(NEEDS_ESCAPE, "\\$&") : value}"`;
  }
  return literal + "}";
}

/** A literal for arrays of numbers or booleans. */
export function plainArray(values: readonly (number | bigint | boolean)[]): string {
  return `{${values.join(",")}}`;
}
