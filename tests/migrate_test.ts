import assert from "node:assert/strict";
import { migrate } from "../store/migrate.ts";
import { openSql, type Sql } from "../store/sql.ts";
import { StartError } from "../store/start_error.ts";
import { createTestDatabase, quietLog } from "./database.ts";

/** A folder of migrations and an empty database to try them on. */
async function withMigrations(
  files: Readonly<Record<string, string>>,
  run: (sql: Sql, directory: URL, write: (name: string, text: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  await using database = await createTestDatabase();
  const folder = await Deno.makeTempDir({ prefix: "hearth-migrations-" });
  const sql = openSql(database.url, { maxConnections: 3, log: quietLog(), applicationName: "hearth test" });
  try {
    const write = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}`, text);
    for (const [name, text] of Object.entries(files)) await write(name, text);
    await run(sql, new URL(`file://${folder}/`), write);
  } finally {
    await sql.end();
    await Deno.remove(folder, { recursive: true });
  }
}

const TWO = {
  "0001_first.sql":
    "CREATE TABLE one (n int); INSERT INTO one SELECT generate_series(1, {{message_shards}});",
  "0002_second.sql": "ALTER TABLE one ADD COLUMN m int;",
};

Deno.test("Migrations are applied in order, once, and see the number of shards", async () => {
  await withMigrations(TWO, async (sql, directory) => {
    assert.deepEqual(await migrate(sql, { directory, messageShards: 7 }), { from: 0, to: 2 });
    assert.deepEqual(await migrate(sql, { directory, messageShards: 7 }), { from: 2, to: 2 });
    const [row] = await sql<{ rows: bigint }[]>`SELECT count(*) AS rows FROM one`;
    assert.equal(row!.rows, 7n);
  });
});

Deno.test("Several programs that migrate at once apply each file once", async () => {
  await withMigrations(TWO, async (sql, directory) => {
    await Promise.all([1, 2, 3].map(() => migrate(sql, { directory, messageShards: 4 })));
    const rows = await sql`SELECT number FROM t_migration ORDER BY number`;
    assert.deepEqual(rows.map((row) => row.number), [1, 2]);
    const [count] = await sql<{ rows: bigint }[]>`SELECT count(*) AS rows FROM one`;
    assert.equal(count!.rows, 4n);
  });
});

Deno.test("A failed migration leaves nothing of itself and is applied by the next run", async () => {
  const files = { ...TWO, "0002_second.sql": "CREATE TABLE two (n int); SELECT 1 / 0;" };
  await withMigrations(files, async (sql, directory, write) => {
    await assert.rejects(migrate(sql, { directory, messageShards: 4 }), /division by zero/);
    const [before] = await sql`SELECT to_regclass('one') AS one, to_regclass('two') AS two`;
    assert.deepEqual([before!.one, before!.two], ["one", null]);
    await write("0002_second.sql", "CREATE TABLE two (n int);");
    assert.deepEqual(await migrate(sql, { directory, messageShards: 4 }), { from: 1, to: 2 });
  });
});

Deno.test("A schema newer than the program is refused with both numbers", async () => {
  await withMigrations(TWO, async (sql, directory) => {
    await migrate(sql, { directory, messageShards: 4 });
    await sql`INSERT INTO t_migration (number, name, checksum) VALUES (3, '0003_later.sql', 'x')`;
    await assert.rejects(
      migrate(sql, { directory, messageShards: 4 }),
      (error) => error instanceof StartError && /schema 3, .* up to 2/.test(error.message),
    );
  });
});

Deno.test("A file changed after it was applied is refused by name; other line ends are no change", async () => {
  await withMigrations(TWO, async (sql, directory, write) => {
    await write("0001_first.sql", "CREATE TABLE one (\n  n int\n);\n");
    await migrate(sql, { directory, messageShards: 4 });
    await write("0001_first.sql", "CREATE TABLE one (\r\n  n int\r\n);\r\n");
    await migrate(sql, { directory, messageShards: 4 });
    await write("0001_first.sql", "CREATE TABLE one (n bigint);");
    await assert.rejects(
      migrate(sql, { directory, messageShards: 4 }),
      (error) => error instanceof StartError && error.message.includes("0001_first.sql"),
    );
  });
});

Deno.test("The number of shards cannot change after the first migration", async () => {
  await withMigrations(TWO, async (sql, directory) => {
    await migrate(sql, { directory, messageShards: 4 });
    await assert.rejects(
      migrate(sql, { directory, messageShards: 8 }),
      (error) => error instanceof StartError && /MESSAGE_SHARDS=4.*set to 8/.test(error.message),
    );
  });
});

Deno.test("A gap in the numbers is a mistake of ours and is named", async () => {
  await withMigrations({ "0002_second.sql": "SELECT 1" }, async (sql, directory) => {
    await assert.rejects(migrate(sql, { directory, messageShards: 4 }), /0002_second\.sql is in place 1/);
  });
});

Deno.test("The program's own migrations make every table with 128 and 36 partitions", async () => {
  await using database = await createTestDatabase({ migrated: true, messageShards: 128 });
  const sql = openSql(database.url, { maxConnections: 1, log: quietLog(), applicationName: "hearth test" });
  try {
    const rows = await sql<{ name: string; partitions: number }[]>`
      SELECT inhparent::regclass::text AS name, count(*)::int AS partitions FROM pg_inherits
      JOIN pg_class ON pg_class.oid = inhrelid WHERE relkind = 'r' GROUP BY 1 ORDER BY 1`;
    assert.deepEqual(rows.map((row) => [row.name, row.partitions]), [["t_messages", 36], [
      "t_user_messages",
      128,
    ]]);
  } finally {
    await sql.end();
  }
});
