/** Bytes as lines, bad clients and attackers change them. */
import type { Dice } from "../dice.ts";
import { variable } from "../mqtt_bytes.ts";

/** Bytes that mean something somewhere: small lengths, wildcards, property identifiers, parts of characters. */
const TELLING = [0, 1, 2, 0x0b, 0x11, 0x23, 0x26, 0x2b, 0x2f, 0x7f, 0x80, 0xc0, 0xed, 0xff];

/** Changes a packet in one to four ways; `others` are packets that parts are taken from. */
export function mutate(dice: Dice, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let mutated = Array.from(bytes);
  // Many are changed behind the fixed header alone, and it says their true length: they get further in.
  const keepsFraming = dice.roll(2) === 0;
  for (let times = 1 + dice.roll(4) * dice.roll(2); times > 0; times--) {
    const first = keepsFraming ? Math.min(2, mutated.length) : 0;
    const at = first + dice.roll(mutated.length - first + 1);
    switch (dice.roll(keepsFraming ? 6 : 9)) {
      case 0: // a bit is turned over
        if (at < mutated.length) mutated[at]! ^= 1 << dice.roll(8);
        break;
      case 1:
        if (at < mutated.length) mutated[at] = dice.pick(TELLING);
        break;
      case 2:
        mutated.splice(at, 1 + dice.roll(3));
        break;
      case 3:
        mutated.splice(at, 0, ...Array.from({ length: 1 + dice.roll(3) }, () => dice.roll(256)));
        break;
      case 4: // a part comes twice
        mutated.splice(at, 0, ...mutated.slice(first + dice.roll(mutated.length - first + 1), at));
        break;
      case 5: { // a part of another packet comes in between
        const other = dice.pick(others);
        const from = dice.roll(other.length);
        mutated.splice(at, dice.roll(4), ...other.slice(from, from + 1 + dice.roll(16)));
        break;
      }
      case 6: // cut short
        mutated = mutated.slice(0, Math.max(1, at));
        break;
      case 7: // another packet begins in the middle
        mutated = [...mutated.slice(0, Math.max(1, at)), ...dice.pick(others)];
        break;
      case 8: // another remaining length
        if (mutated.length > 1) mutated[1] = dice.roll(256);
    }
    if (mutated.length === 0) mutated = [dice.roll(256)];
  }
  return Uint8Array.from(keepsFraming ? withTrueLength(mutated, bytes) : mutated);
}

/** The packet with the remaining length it has; `original` tells where its content began. */
function withTrueLength(mutated: readonly number[], original: Uint8Array): number[] {
  let bodyStart = 1;
  while (bodyStart < original.length && original[bodyStart]! >= 0x80) bodyStart++;
  const content = mutated.slice(bodyStart + 1);
  return [mutated[0]!, ...variable(content.length), ...content];
}
