/** The parts of the page that need no browser. */
import assert from "node:assert/strict";
import { browserName } from "../web/browser_name.ts";
import { hueOf, initialsOf, linksIn, longTime, shortTime } from "../web/format.ts";
import { language, TEXTS } from "../web/i18n.ts";

Deno.test("English and Chinese have the same texts with the same holes, and none is empty", () => {
  const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
  assert.deepEqual(Object.keys(TEXTS.zh), Object.keys(TEXTS.en));
  for (const [key, english] of Object.entries(TEXTS.en)) {
    const chinese = TEXTS.zh[key as keyof typeof TEXTS.zh];
    assert.deepEqual(holes(chinese), holes(english), key);
    assert.ok(english.trim() !== "" && chinese.trim() !== "", key);
  }
});

Deno.test("Every text is used by some part of the page", async () => {
  let source = "";
  const read = async (folder: URL) => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory && name !== "dist" && !name.startsWith(".")) await read(new URL(`${name}/`, folder));
      else if (/^(?!i18n_).*\.tsx?$/.test(name)) source += await Deno.readTextFile(new URL(name, folder));
    }
  };
  await read(new URL("../web/", import.meta.url));
  // Platforms are looked up by their number.
  const unused = Object.keys(TEXTS.en).filter((key) =>
    !key.startsWith("platform.") && !source.includes(`"${key}"`)
  );
  assert.deepEqual(unused, []);
});

Deno.test("Links are found in texts, without the punctuation around them", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["see https://example.org/a?b=c#d.", ["https://example.org/a?b=c#d"]],
    ["(http://example.org), “https://例え.jp/路”。", ["http://example.org", "https://例え.jp/路"]],
    ["https://a.example https://b.example", ["https://a.example", "https://b.example"]],
    ["javascript:alert(1) ftp://x data:text/html,x http:// https://", []],
    [`https://example.org/"onclick="x`, ["https://example.org/"]],
  ];
  for (const [text, links] of cases) {
    const pieces = linksIn(text);
    assert.equal(pieces.map((piece) => piece.text).join(""), text);
    assert.deepEqual(pieces.filter(({ href }) => href !== null).map((piece) => piece.text), links);
  }
});

Deno.test("Initials stand for a name in any script", () => {
  const cases = [
    ["Anna Lindgren", "AL"],
    ["anna", "A"],
    ["王小明", "小明"],
    ["李雷", "李雷"],
    ["+86 138 0000 1234", "34"],
    ["👩‍🌾 Farm", "👩F"],
    ["", ""],
    ["   ", ""],
  ];
  for (const [name, initials] of cases) assert.equal(initialsOf(name!), initials, `${name}`);
});

Deno.test("A colour is one of those there are, and always the same for the same id", () => {
  for (const id of ["", "anna", "u".repeat(64)]) {
    assert.ok(hueOf(id, 8) >= 0 && hueOf(id, 8) < 8);
    assert.equal(hueOf(id, 8), hueOf(id, 8));
  }
});

Deno.test("Times are the hour today, a word yesterday, the day this week, and a date before", () => {
  language.value = "en";
  const nowMs = new Date(2026, 2, 10, 15, 30).getTime();
  const at = (...[month, day, hour]: [number, number, number]) =>
    new Date(2026, month, day, hour, 5).getTime();
  assert.equal(shortTime(at(2, 10, 9), nowMs), "09:05");
  assert.equal(shortTime(at(2, 9, 23), nowMs), "Yesterday");
  assert.equal(shortTime(at(2, 6, 9), nowMs), "Fri");
  assert.equal(shortTime(at(0, 6, 9), nowMs), "Jan 6");
  assert.equal(shortTime(new Date(2025, 0, 6).getTime(), nowMs), "Jan 6, 2025");
  assert.equal(longTime(at(2, 9, 23), nowMs), "Yesterday 23:05");
  assert.equal(longTime(at(2, 10, 0), nowMs), "00:05");
});

Deno.test("A browser is named by what it is, not by what it pretends to be", () => {
  const cases = [
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", "Chrome · Linux"],
    [
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140 Safari/537.36 Edg/140.0",
      "Edge · Windows",
    ],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/26.0 Safari/605.1.15", "Safari · Mac"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Safari/604.1", "Safari · iPhone"],
    ["Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", "Firefox · Android"],
    ["something else", ""],
  ];
  for (const [userAgent, name] of cases) assert.equal(browserName(userAgent!), name);
});
