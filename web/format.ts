/** Times, initials, colours and links. */
import { locale, t } from "./i18n.ts";

/** A time for a list: the hour today, "yesterday", the weekday this week, else the date. */
export function shortTime(atMs: number, nowMs: number = Date.now()): string {
  const days = dayOf(nowMs) - dayOf(atMs);
  if (days <= 0) return format(atMs, { hour: "2-digit", minute: "2-digit" });
  if (days === 1) return t("time.yesterday");
  if (days < 7) return format(atMs, { weekday: "short" });
  const sameYear = new Date(atMs).getFullYear() === new Date(nowMs).getFullYear();
  return format(atMs, { month: "short", day: "numeric", ...!sameYear && { year: "numeric" } });
}

/** A time for a separator between messages. */
export function longTime(atMs: number, nowMs: number = Date.now()): string {
  const time = format(atMs, { hour: "2-digit", minute: "2-digit" });
  return dayOf(nowMs) === dayOf(atMs) ? time : `${shortTime(atMs, nowMs)} ${time}`;
}

/** Date and time in full. */
export function fullTime(atMs: number): string {
  return format(atMs, { dateStyle: "medium", timeStyle: "short" });
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(atMs: number, options: Intl.DateTimeFormatOptions): string {
  const full = { hourCycle: "h23" as const, ...options };
  const key = locale.value + JSON.stringify(full);
  let made = formats.get(key);
  if (made === undefined) formats.set(key, made = new Intl.DateTimeFormat(locale.value, full));
  return made.format(atMs);
}

/** The number of the local day. */
function dayOf(atMs: number): number {
  const date = new Date(atMs);
  return Math.floor(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}

/** One or two characters that stand for a name: the last two of a Chinese one, initials of others. */
export function initialsOf(name: string): string {
  const trimmed = name.trim();
  if (trimmed === "") return "";
  if (/^\p{Script=Han}+$/u.test(trimmed)) return [...trimmed].slice(-2).join("");
  if (/^[\d\s+-]+$/.test(trimmed)) return trimmed.slice(-2);
  const words = trimmed.split(/[\s._@-]+/).filter((word) => word !== "");
  const letters = words.length > 1
    ? [words[0]!, words.at(-1)!].map((word) => [...word][0])
    : [...words[0] ?? "?"].slice(0, 1);
  return letters.join("").toUpperCase();
}

/** A number from 0 to `count` − 1 that a text always gets. */
export function hueOf(text: string, count: number): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) >>> 0;
  return hash % count;
}

/** A piece of a text: plain, or a link. */
export interface TextPiece {
  readonly text: string;
  readonly href: string | null;
}

/** Finds web links; what follows a link as punctuation is no part of it. */
export function linksIn(text: string): TextPiece[] {
  const pieces: TextPiece[] = [];
  let at = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"'“”‘’，。！？；：、（）【】《》]+/gi)) {
    const link = match[0].replace(/[.,!?;:)\]}]+$/, "");
    if (!URL.canParse(link)) continue;
    if (match.index > at) pieces.push({ text: text.slice(at, match.index), href: null });
    pieces.push({ text: link, href: new URL(link).href });
    at = match.index + link.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), href: null });
  return pieces;
}
