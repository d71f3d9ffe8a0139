import assert from "node:assert/strict";
import { launch } from "./launch.ts";

async function withFolder(run: (dataDir: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-start-" });
  await Deno.chmod(folder, 0o711);
  try {
    await run(`${folder}/data`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("An empty folder becomes a server; SIGTERM drains it with exit code 0; the next start finds everything", async () => {
  await withFolder(async (dataDir) => {
    const env = { PORT: "0", DATA_DIR: dataDir };
    const first = launch(env);
    const url = await first.ready;
    const response = await fetch(`${url}/readyz`);
    assert.equal(response.status, 200);
    await response.body?.cancel();
    const secret = await Deno.readTextFile(`${dataDir}/admin_secret`);
    assert.equal((await Deno.stat(`${dataDir}/admin_secret`)).mode! & 0o777, 0o600);

    const second = await launch(env).ended;
    assert.equal(second.code, 1);
    assert.match(second.output, /Hearth cannot start\. Another Hearth \(process \d+\) is running on/);

    first.kill("SIGTERM");
    const { code, output } = await first.ended;
    assert.equal(code, 0, output);
    const steps = [
      "configuration read",
      "data folder taken",
      "database open",
      "schema up to date",
      "secrets read",
    ];
    steps.push(
      "media folder",
      "key-value store open",
      "node number leased",
      "commit queue open",
      "commands ready",
    );
    steps.push(
      "broker ready",
      "HTTP open",
      "ready url=",
      "stopping reason=SIGTERM",
      "broker closed",
      "HTTP closed",
    );
    steps.push(
      "commit queue closed",
      "node lease closed",
      "key-value store closed",
      "database closed",
      "stopped",
    );
    const log = output.slice(output.indexOf("configuration read"));
    const places = steps.map((step) => log.indexOf(step));
    assert.ok(
      places.every((place) => place >= 0),
      `${steps.filter((_, index) => places[index]! < 0)} in ${log}`,
    );
    assert.deepEqual(places, places.toSorted((a, b) => a - b));
    assert.match(log, /database open .*fsync=on synchronousCommit=on ms=\d+/);

    const again = launch(env);
    await again.ready;
    assert.equal(await Deno.readTextFile(`${dataDir}/admin_secret`), secret);
    again.kill("SIGINT");
    assert.equal((await again.ended).code, 0);
  });
});

Deno.test("A bad setting ends the start with one sentence that names it and no stack", async () => {
  const { code, output } = await launch({ PORT: "eight" }).ended;
  assert.equal(code, 1);
  assert.match(output, /^Hearth cannot start\. PORT=eight cannot be used; it accepts a whole number/m);
  assert.doesNotMatch(output, /\n\s+at /);
});

Deno.test("A database that is not there ends the start with its reason and leaves nothing running", async () => {
  await withFolder(async (dataDir) => {
    const env = { PORT: "0", DATA_DIR: dataDir, DATABASE_URL: "postgres://nobody:nothing@127.0.0.1:1/none" };
    const { code, output } = await launch(env).ended;
    assert.equal(code, 1);
    assert.match(
      output,
      /^Hearth cannot start\. The database named by DATABASE_URL cannot be used: .*ECONNREFUSED/m,
    );
    assert.match(output, /data folder closed/);
  });
});

Deno.test("--help lists the settings and --version the version, without starting anything", async () => {
  const help = await launch({}, ["--help", "--lang=zh"]).ended;
  assert.equal(help.code, 0);
  assert.match(help.output, /^ {2}PORT +8000 +网页/m);
  const version = await launch({}, ["--version"]).ended;
  assert.match(version.output, /^hearth \d+\.\d+\.\d+\n/);
});
