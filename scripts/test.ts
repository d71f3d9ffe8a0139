/**
 * `deno task test [file…]`: every test on the embedded Postgres, then on `TEST_DATABASE_URL` where it is set.
 *
 * The last line is `N passed, N failed`, over all passes.
 */
import { createLog } from "../log.ts";
import { startEmbedded } from "../store/embedded.ts";

/** What makes a test depend on which Postgres is behind; the others need one pass only. */
const USES_CLUSTER = /\b(?:createTestDatabase|openIm|startServer)\(/;

interface Tally {
  passed: number;
  failed: number;
}

async function listTests(folder: URL): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) if (/_test\.tsx?$/.test(entry.name)) names.push(entry.name);
  return names.sort().map((name) => `tests/${name}`);
}

/** One `deno test` over `files`; what it prints goes straight through. */
async function runPass(files: readonly string[], clusterUrl: string, tally: Tally): Promise<void> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  try {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--sanitize-ops", "--sanitize-resources", `--junit-path=${report}`, ...files],
      env: { HEARTH_TEST_CLUSTER_URL: clusterUrl },
      stdin: "null",
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    const counted = countCases(await Deno.readTextFile(report));
    tally.passed += counted.passed;
    tally.failed += counted.failed;
    // A file that does not load, or a leak after the last test, is in no test case.
    if (!success && counted.failed === 0) tally.failed++;
  } finally {
    await Deno.remove(report);
  }
}

/** Ignored tests count neither way. */
function countCases(report: string): Tally {
  const tally = { passed: 0, failed: 0 };
  for (
    const [, attributes, body = ""] of report.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)
  ) {
    if (attributes === undefined || /<skipped\b/.test(body)) continue;
    if (/<(?:failure|error)\b/.test(body)) tally.failed++;
    else tally.passed++;
  }
  return tally;
}

async function main(): Promise<number> {
  const root = new URL("../", import.meta.url);
  Deno.chdir(root);
  const files = Deno.args.length > 0 ? [...Deno.args] : await listTests(new URL("tests/", root));
  const tally: Tally = { passed: 0, failed: 0 };
  const log = createLog({ format: "text", level: "warn" });
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-test-" });
  // The database may run under another account, which has to get through here.
  if (Deno.build.os !== "windows") await Deno.chmod(dataDir, 0o711);
  const embedded = await startEmbedded({ dataDir, log });
  try {
    console.log(`\nOn the embedded PostgreSQL ${embedded.version}`);
    await runPass(files, embedded.url, tally);
  } finally {
    await embedded.stop();
    await Deno.remove(dataDir, { recursive: true });
  }
  const external = Deno.env.get("TEST_DATABASE_URL") ?? "";
  const again: string[] = [];
  for (const file of files) if (USES_CLUSTER.test(await Deno.readTextFile(file))) again.push(file);
  if (external !== "" && again.length > 0) {
    console.log("\nOn TEST_DATABASE_URL");
    await runPass(again, external, tally);
  }
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed > 0 || tally.passed === 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
