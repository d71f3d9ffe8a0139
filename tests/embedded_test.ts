import assert from "node:assert/strict";
import type { Log } from "../log.ts";
import { type EmbeddedPostgres, startEmbedded } from "../store/embedded.ts";
import { isPostgresOn } from "../store/embedded_cluster.ts";
import { databaseSettings, openSql, type Sql } from "../store/sql.ts";
import { StartError } from "../store/start_error.ts";

/** Deaths are provoked here; what is logged about them is looked at, not printed. */
const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

async function withFolder(run: (dataDir: string) => Promise<void>): Promise<void> {
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-" });
  await Deno.chmod(dataDir, 0o711);
  try {
    await run(dataDir);
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
}

function start(dataDir: string, log: Log = silent): Promise<EmbeddedPostgres> {
  return startEmbedded({ dataDir, log });
}

async function withSql<T>(server: EmbeddedPostgres, run: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = openSql(server.url, { maxConnections: 2, log: silent, applicationName: "hearth test" });
  try {
    return await run(sql);
  } finally {
    await sql.end();
  }
}

/** Asks again until it answers; the deadline only bounds a failure. */
async function eventually<T>(ask: () => Promise<T | null>): Promise<T> {
  let last: unknown = "no answer";
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    try {
      const answer = await ask();
      if (answer !== null) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`It did not come true within 30 s: ${last}`);
}

Deno.test("The own database is made once, durable, with bytewise order, and kept over a restart", async () => {
  await withFolder(async (dataDir) => {
    const first = await start(dataDir);
    await withSql(first, async (sql) => {
      const settings = await databaseSettings(sql);
      assert.equal(settings.fsync, "on");
      assert.equal(settings.synchronousCommit, "on");
      assert.equal(settings.fullPageWrites, "on");
      assert.ok(settings.serverVersionNumber >= 180_000);
      const [row] = await sql`SELECT datcollate, pg_encoding_to_char(encoding) AS encoding
        FROM pg_database WHERE datname = current_database()`;
      assert.deepEqual([row!.datcollate, row!.encoding], ["C", "UTF8"]);
      await sql`CREATE TABLE kept (n int)`;
      await sql`INSERT INTO kept VALUES (1)`;
    });
    const pid = first.pid!;
    await first.stop();
    assert.equal(await isPostgresOn(pid, `${dataDir}/pg/data`), false);
    assert.equal((await Deno.stat(`${dataDir}/pg/password`)).mode! & 0o777, 0o600);
    assert.equal(await Deno.readTextFile(`${dataDir}/pg/HEARTH`), "18\n");
    const second = await start(dataDir);
    await withSql(second, async (sql) => assert.equal((await sql`SELECT n FROM kept`)[0]!.n, 1));
    await second.stop();
  });
});

Deno.test("A killed database is started again at the same address and has what was committed", async () => {
  await withFolder(async (dataDir) => {
    const server = await start(dataDir);
    const deaths: string[] = [];
    server.onExit((status) => deaths.push(String(status.signal)));
    await withSql(server, async (sql) => {
      await sql`CREATE TABLE kept (n int)`;
      for (let round = 1; round <= 3; round++) {
        await sql`INSERT INTO kept VALUES (${round})`;
        Deno.kill(server.pid!, "SIGKILL");
        const rows = await eventually(async () =>
          server.restarts === round ? await sql<{ n: number }[]>`SELECT n FROM kept ORDER BY n` : null
        );
        assert.deepEqual(rows.map((row) => row.n), Array.from({ length: round }, (_, index) => index + 1));
      }
    });
    assert.deepEqual(deaths, ["SIGKILL", "SIGKILL", "SIGKILL"]);
    await server.stop();
  });
});

Deno.test("Stopping right after the database was killed leaves no process behind", async () => {
  await withFolder(async (dataDir) => {
    const server = await start(dataDir);
    Deno.kill(server.pid!, "SIGKILL");
    await server.stop();
    const again = await start(dataDir);
    await withSql(again, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
    await again.stop();
  });
});

Deno.test("A second Hearth on the same folder is refused while the first is alive, and harms nothing", async () => {
  await withFolder(async (dataDir) => {
    const first = await start(dataDir);
    await assert.rejects(
      start(dataDir),
      (error) =>
        error instanceof StartError && error.message.includes(`Another Hearth (process ${Deno.pid})`),
    );
    await withSql(first, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
    assert.equal(first.restarts, 0);
    await first.stop();
  });
});

Deno.test("A database left running by a killed Hearth is stopped and started anew", async () => {
  await withFolder(async (dataDir) => {
    const program = `import { startEmbedded } from ${
      JSON.stringify(new URL("../store/embedded.ts", import.meta.url).href)
    };
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const server = await startEmbedded({ dataDir: ${JSON.stringify(dataDir)}, log });
      console.log(server.pid);
      setInterval(() => {}, 1000);`;
    const config = new URL("../deno.json", import.meta.url).pathname;
    const hearth = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", `--config=${config}`, "--ext=ts", "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = hearth.stdin.getWriter();
    await writer.write(new TextEncoder().encode(program));
    await writer.close();
    const reader = hearth.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const left = Number((await reader.read()).value);
    assert.ok(await isPostgresOn(left, `${dataDir}/pg/data`));
    hearth.kill("SIGKILL");
    await hearth.status;
    await reader.cancel();
    assert.ok(await isPostgresOn(left, `${dataDir}/pg/data`), "the database outlived its Hearth");

    const warnings: string[] = [];
    const server = await start(dataDir, { ...silent, warn: (event) => warnings.push(event) });
    assert.ok(warnings.some((event) => event.includes("an earlier Hearth left running")));
    assert.equal(await isPostgresOn(left, `${dataDir}/pg/data`), false);
    await withSql(server, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
    await server.stop();
  });
});

Deno.test("A folder half made by a start that was cut off is made again", async () => {
  await withFolder(async (dataDir) => {
    await Deno.mkdir(`${dataDir}/pg/data.half-12345678/base`, { recursive: true });
    await Deno.writeTextFile(`${dataDir}/pg/data.half-12345678/PG_VERSION`, "18\n");
    const server = await start(dataDir);
    await assert.rejects(Deno.stat(`${dataDir}/pg/data.half-12345678`), Deno.errors.NotFound);
    await withSql(server, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
    await server.stop();
  });
});

Deno.test("Data of another major version stops the start and names what to do", async () => {
  await withFolder(async (dataDir) => {
    await Deno.mkdir(`${dataDir}/pg`);
    await Deno.writeTextFile(`${dataDir}/pg/HEARTH`, "17\n");
    await assert.rejects(
      start(dataDir),
      (error) =>
        error instanceof StartError &&
        /PostgreSQL 17.*PostgreSQL 18.*task backup.*task restore/.test(error.message),
    );
    await Deno.writeTextFile(`${dataDir}/pg/HEARTH`, "19\n");
    await assert.rejects(
      start(dataDir),
      (error) => error instanceof StartError && /newer release/.test(error.message),
    );
  });
});

Deno.test("A folder whose path is too long for a socket is served over loopback", async () => {
  await withFolder(async (folder) => {
    const dataDir = `${folder}/${"long-".repeat(20)}`;
    const server = await start(dataDir);
    assert.match(server.url, /@127\.0\.0\.1:\d+\//);
    await withSql(server, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
    await server.stop();
  });
});

Deno.test({
  name:
    "As root, a folder that no other account reaches is served from a user namespace, or refused with ways out",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    await withFolder(async (dataDir) => {
      await Deno.chmod(dataDir, 0o700);
      let server: EmbeddedPostgres;
      try {
        server = await start(dataDir);
      } catch (error) {
        // A container may forbid user namespaces.
        assert.ok(
          error instanceof StartError && /DATA_DIR.*chmod o\+x.*DATABASE_URL/.test(error.message),
          `${error}`,
        );
        return;
      }
      await withSql(server, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
      assert.equal((await Deno.stat(`${dataDir}/pg/data`)).uid, 0);
      await server.stop();
      // Once it is reachable the data changes hands.
      await Deno.chmod(dataDir, 0o711);
      const again = await start(dataDir);
      await withSql(again, async (sql) => assert.equal((await sql`SELECT 1 AS one`)[0]!.one, 1));
      await again.stop();
    });
  },
});
