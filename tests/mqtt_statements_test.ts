/** Every statement of the MQTT specifications that asks something of a server has a test that names it. */
import assert from "node:assert/strict";
import {
  collectNames,
  listUntested,
  readNames,
  readTags,
  renderReport,
  VERSIONS,
} from "../scripts/conformance.ts";

const ROOT = new URL("../", import.meta.url);

const known = new Set(
  Object.entries(VERSIONS).flatMap(([version, statements]) =>
    statements.map(({ tag }) => `${version} ${tag}`)
  ),
);

/** The comments of a file, those of neighbouring lines as one text. */
function commentsOf(source: string): string {
  const comments = source.matchAll(/\/\*[\s\S]*?\*\/|\/\/.*(?:\n *\/\/.*)*/g);
  return [...comments].map(([comment]) => comment.replaceAll(/\n *(?:\/\/|\*)/g, "").replaceAll(/ +/g, " "))
    .join("\n");
}

Deno.test("Both tables are whole: every section counts on from its first number, and no tag stands twice", () => {
  for (const [version, statements] of Object.entries(VERSIONS)) {
    const tags = statements.map(({ tag }) => tag);
    assert.deepEqual(tags.filter((tag, i) => tags.indexOf(tag) !== i), []);
    for (const [section, inSection] of Map.groupBy(tags, (tag) => tag.slice(0, tag.indexOf("-")))) {
      // 5.0 has no 2.2.1-1.
      const first = version === "5.0" && section === "2.2.1" ? 2 : 1;
      assert.deepEqual(inSection, inSection.map((_, i) => `${section}-${first + i}`), version);
    }
  }
  assert.deepEqual([VERSIONS["3.1.1"].length, VERSIONS["5.0"].length], [141, 251]);
});

Deno.test("Tags are read with their version", () => {
  assert.deepEqual(readTags("A will [MQTT-3.1.2-9] [MQTT-3.1.2-12] 3.1.1 [MQTT-3.1.2-14] [MQTT-4.8.0-1]"), [
    "5.0 3.1.2-9",
    "5.0 3.1.2-12",
    "3.1.1 3.1.2-14",
    "3.1.1 4.8.0-1",
  ]);
  assert.deepEqual(readTags("in 5.0 [MQTT-1.5.4-1], 3.1.1 [MQTT-1.5.3-1], [MQTT-x]"), [
    "5.0 1.5.4-1",
    "3.1.1 1.5.3-1",
    "5.0 x",
  ]);
});

Deno.test("Names are read where they stand in the source of a test, and comments are not", () => {
  const source = `
    // What it says of [MQTT-1.5.4-1] is no test.
    Deno.test(\`A packet is answered, over \${door} [MQTT-3.12.4-1] 3.1.1 [MQTT-3.12.4-1]\`, () => {});
    /* Neither is [MQTT-1.5.4-2]. */
    refuses("A packet with flags", level === 5 ? "[MQTT-2.1.3-1]" : "3.1.1 [MQTT-2.2.2-1]", 1);
  `;
  const packet = { file: "x_test.ts", name: "A packet with flags" };
  assert.deepEqual(readNames("x_test.ts", source), [
    { file: "x_test.ts", name: "A packet is answered", keys: ["5.0 3.12.4-1", "3.1.1 3.12.4-1"] },
    { ...packet, keys: ["5.0 2.1.3-1"] },
    { ...packet, keys: ["3.1.1 2.2.2-1"] },
  ]);
});

Deno.test("Every statement that asks something of a server has a test that names it", async () => {
  assert.deepEqual(listUntested(await collectNames()), []);
});

Deno.test("No test names a statement that its version does not have", async () => {
  const tests = await collectNames();
  const wrong = tests.flatMap(({ file, name, keys }) =>
    keys.filter((key) => !known.has(key)).map((key) => `${key}: ${file}: ${name}`)
  );
  assert.deepEqual(wrong, []);
  assert.ok(tests.length > 100, "the names were read");
});

Deno.test("No comment of the broker names a statement that its version does not have", async () => {
  const wrong: string[] = [];
  let count = 0;
  for await (const { name } of Deno.readDir(new URL("broker/", ROOT))) {
    const keys = readTags(commentsOf(await Deno.readTextFile(new URL(`broker/${name}`, ROOT))));
    count += keys.length;
    wrong.push(...keys.filter((key) => !known.has(key)).map((key) => `broker/${name}: ${key}`));
  }
  assert.deepEqual(wrong, []);
  assert.ok(count > 50, "the comments were read");
});

Deno.test("The report of the statements is current", async () => {
  const written = await Deno.readTextFile(new URL("docs/mqtt_conformance.md", ROOT));
  const isCurrent = written === renderReport(await collectNames());
  assert.ok(isCurrent, "run deno task conformance --write docs/mqtt_conformance.md");
});
