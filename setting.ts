/** What a setting is, and how its text is read. */

/** One setting. */
export interface Setting {
  readonly name: string;
  /** As shown; numbers are the default itself. */
  readonly default: string;
  /** Ends the sentence "it accepts …". */
  readonly accepts: string;
  readonly en: string;
  readonly zh: string;
  /** Bounds of a number. */
  readonly min?: number;
  readonly max?: number;
}

/** A setting that is a whole number. */
export function number(
  name: string,
  value: number,
  min: number,
  max: number,
  en: string,
  zh: string,
): Setting {
  return { name, default: String(value), accepts: `a whole number from ${min} to ${max}`, en, zh, min, max };
}

/** A setting that is anything else; `accepts` ends the sentence "it accepts …". */
export function words(name: string, shown: string, accepts: string, en: string, zh: string): Setting {
  return { name, default: shown, accepts, en, zh };
}

/** What a switch accepts. */
export const YES_OR_NO = "true or false";

/** A whole number between `min` and `max`, both included. */
export function integer(min: number, max: number): (text: string) => number | null {
  return (text) =>
    /^\d{1,15}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : null;
}

/** One of a few words. */
export function choice<const T extends string>(...values: readonly T[]): (text: string) => T | null {
  return (text) => values.find((value) => value === text) ?? null;
}

/** `true` or `false`. */
export function flag(text: string): boolean | null {
  return text === "true" ? true : text === "false" ? false : null;
}

/** Things separated by commas; one that cannot be read spoils the list. */
export function list<T>(parse: (text: string) => T | null): (text: string) => readonly T[] | null {
  return (text) => {
    const values = text.split(",").map((item) => item.trim()).filter((item) => item !== "").map(parse);
    return values.every((value) => value !== null) ? values : null;
  };
}

/** A topic filter that may be open to everybody: a valid one that does not begin in `im/`, `me/` or `$`. */
export function openTopicFilter(text: string): string | null {
  const levels = text.split("/");
  const isValid = text !== "" && !text.includes("\0") && text.isWellFormed() &&
    new TextEncoder().encode(text).length <= 65_535 &&
    levels.every((level, i) =>
      level === "+" || (level === "#" && i === levels.length - 1) || !/[+#]/.test(level) // [MQTT-4.7.1-1..2]
    );
  return isValid && levels[0] !== "im" && levels[0] !== "me" && !text.startsWith("$") ? text : null;
}

/** `off`, or `command=burst/perSecond` separated by commas. */
export function parseRateLimits(
  text: string,
): "off" | ReadonlyMap<string, { readonly burst: number; readonly perSecond: number }> | null {
  if (text === "off") return "off";
  const pairs = list((item) => {
    const match = /^([a-z_]+(?:\.[a-z_]+)?)=(\d{1,9})\/(\d{1,9}(?:\.\d{1,3})?)$/.exec(item);
    if (match === null || Number(match[2]) < 1) return null;
    return [match[1]!, { burst: Number(match[2]), perSecond: Number(match[3]) }] as const;
  })(text);
  return pairs === null ? null : new Map(pairs);
}
