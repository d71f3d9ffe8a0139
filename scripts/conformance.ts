/**
 * `deno task conformance [--write file]`: every normative statement of both MQTT versions, and which test shows that it
 * holds, or why it asks nothing of this server. Markdown, printed or written.
 *
 * A test names the statements it shows: `… [MQTT-3.1.2-22] 3.1.1 [MQTT-3.1.2-24]`. Tags are those of 5.0; those behind
 * `3.1.1`, one after the other, are of that version.
 */
import type { Statement } from "../tests/mqtt_statement.ts";
import { STATEMENTS_311 } from "../tests/mqtt_statements_311.ts";
import { STATEMENTS_50 } from "../tests/mqtt_statements_50.ts";

/** All statements of each version. */
export const VERSIONS = { "3.1.1": STATEMENTS_311, "5.0": STATEMENTS_50 } as const;

/** A name with tags, as it stands in the source of a test. */
export interface NamedTest {
  /** In `tests/`. */
  readonly file: string;
  /** The name without its tags; `…` stands for what is put in when it runs. */
  readonly name: string;
  /** What it shows, as {@linkcode readTags} gives it. */
  readonly keys: readonly string[];
}

const TESTS = new URL("../tests/", import.meta.url);
const TAG_RUN = /(3\.1\.1 )?(\[MQTT-[^\]]*\](?: \[MQTT-[^\]]*\])*)/g;
/** Comments, and literals of text; a template that holds another one comes in pieces. */
const COMMENT_OR_TEXT = /\/\/.*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
/** How many names a row of the report holds; the others are counted. */
const MOST_NAMED = 3;

/** The statements a text names, as `3.1.1 3.1.2-24` or `5.0 3.1.2-22`. */
export function readTags(text: string): string[] {
  const keys: string[] = [];
  for (const [, old, run] of text.matchAll(TAG_RUN)) {
    for (const [, tag] of run!.matchAll(/\[MQTT-([^\]]*)\]/g)) {
      keys.push(`${old === undefined ? "5.0" : "3.1.1"} ${tag}`);
    }
  }
  return keys;
}

/** The names with tags in the source of a test. Tags in a literal of their own belong to the name before them. */
export function readNames(file: string, source: string): NamedTest[] {
  const tests: NamedTest[] = [];
  let sentence = "";
  for (const [literal] of source.matchAll(COMMENT_OR_TEXT)) {
    if (literal.startsWith("/")) continue;
    const keys = readTags(literal);
    const name = plainName(literal);
    if (/\p{L} \S/u.test(name)) sentence = name;
    if (keys.length > 0) tests.push({ file, name: sentence, keys });
  }
  return tests;
}

/** A literal without quotes and tags, and without what is only put in behind it: a door, a version. */
function plainName(literal: string): string {
  return literal.slice(1, -1)
    .replaceAll(TAG_RUN, "")
    .replaceAll(/\$\{[^}]*\}/g, "…")
    .replaceAll('\\"', '"')
    .replaceAll(/…+/g, "…")
    .replaceAll(/ +/g, " ")
    .replace(/,? (?:over|in) …[ ,…]*$/, "")
    .replace(/(?<! )…$/, "")
    .trim();
}

/** The names with tags of all tests. */
export async function collectNames(): Promise<NamedTest[]> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(TESTS)) {
    // The test of this very file speaks of tags without showing anything.
    if (name.endsWith("_test.ts") && name !== "mqtt_statements_test.ts") files.push(name);
  }
  const tests: NamedTest[] = [];
  for (const file of files.sort()) {
    tests.push(...readNames(file, await Deno.readTextFile(new URL(file, TESTS))));
  }
  return tests;
}

/** The tests of each statement, by the keys of {@linkcode readTags}. */
function byStatement(tests: readonly NamedTest[]): Map<string, NamedTest[]> {
  const found = new Map<string, NamedTest[]>();
  for (const test of tests) {
    for (const key of test.keys) found.set(key, [...found.get(key) ?? [], test]);
  }
  return found;
}

/** Statements that ask something of this server and have no test. */
export function listUntested(tests: readonly NamedTest[]): string[] {
  const found = byStatement(tests);
  return Object.entries(VERSIONS).flatMap(([version, statements]) =>
    statements
      .filter(({ tag, whyNot }) => whyNot === null && !found.has(`${version} ${tag}`))
      .map(({ tag }) => `${version} ${tag}`)
  );
}

/** The report, as Markdown. */
export function renderReport(tests: readonly NamedTest[]): string {
  const found = byStatement(tests);
  const parts = [
    "# MQTT conformance",
    "",
    "Every numbered statement of MQTT 3.1.1 and 5.0, and the test that shows that it holds, or why it asks nothing of",
    "this server. Made by `deno task conformance --write docs/mqtt_conformance.md`; a test compares.",
  ];
  for (const [version, statements] of Object.entries(VERSIONS)) {
    const tested = statements.filter(({ tag }) => found.has(`${version} ${tag}`)).length;
    parts.push(
      "",
      `## MQTT ${version}`,
      "",
      `${statements.length} statements, ${tested} of them tested.`,
      "",
    );
    parts.push("| tag | binds | statement | tested by, or why not |", "| --- | --- | --- | --- |");
    for (const statement of statements) {
      parts.push(renderRow(statement, found.get(`${version} ${statement.tag}`) ?? []));
    }
  }
  return `${parts.join("\n")}\n`;
}

function renderRow({ tag, binds, says, whyNot }: Statement, tests: readonly NamedTest[]): string {
  const shown = tests.length === 0 ? whyNot ?? "**no test**" : renderTests(tests);
  return `| MQTT-${tag} | ${binds} | ${says} | ${shown} |`;
}

function renderTests(tests: readonly NamedTest[]): string {
  const names = new Set(
    tests.map(({ file, name }) => `\`${file}\`: ${name.replaceAll(/[|*_<>#$[\]]/g, "\\$&")}`),
  );
  const others = names.size - MOST_NAMED;
  return [...names].slice(0, MOST_NAMED).join("<br>") + (others > 0 ? `<br>and ${others} more` : "");
}

async function main(): Promise<void> {
  const report = renderReport(await collectNames());
  const [option, path] = Deno.args;
  if (option === "--write" && path !== undefined) await Deno.writeTextFile(path, report);
  else if (option === undefined) console.log(report.trimEnd());
  else throw new Error("deno task conformance [--write file]");
}

if (import.meta.main) await main();
