/**
 * Ids that nobody else makes.
 *
 * @module
 */

/**
 * 128 random bits in 32 hexadecimal digits. `crypto.randomUUID` is missing on pages that came over plain http from
 * another machine, which is how a phone opens a development server.
 */
export function randomId(): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) text += byte.toString(16).padStart(2, "0");
  return text;
}
