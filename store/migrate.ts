import type { Sql } from "./sql.ts";
import { StartError } from "./start_error.ts";

/** How the schema is brought up to date. */
export interface MigrateOptions {
  /** Where the numbered files are; the ones of this program by default. */
  readonly directory?: URL;
  /** Partitions of `t_user_messages`, 1–1,024; fixed for good by the first migration. */
  readonly messageShards: number;
}

/** What a run did. */
export interface MigrateResult {
  /** The schema number before and after; 0 for an empty database. */
  readonly from: number;
  readonly to: number;
}

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/** Any number will do, as long as every Hearth takes the same one. */
const LOCK = 7_423_019n;

/**
 * Applies the migrations that are still missing, in order, each in a transaction of its own.
 *
 * An advisory lock lets one program migrate at a time; the lock is taken anew for every file, so an interrupted
 * run goes on where it stopped and several programs may start at once.
 *
 * @throws StartError when the schema is newer than this program, when an applied file was changed afterwards, or
 * when `messageShards` differs from the number the schema was made with.
 */
export async function migrate(sql: Sql, options: MigrateOptions): Promise<MigrateResult> {
  const migrations = await readMigrations(options.directory ?? new URL("./migrations/", import.meta.url));
  let from: number | null = null;
  while (true) {
    const before = await applyNext(sql, migrations, options.messageShards);
    from ??= before;
    if (before >= migrations.length) return { from, to: before };
  }
}

/** Applies the one after the newest; resolves to the number that was the newest before. */
function applyNext(sql: Sql, migrations: readonly Migration[], messageShards: number): Promise<number> {
  return sql.begin(async (tx) => {
    await tx`SELECT pg_advisory_xact_lock(${LOCK})`;
    const [present] = await tx<{ table: string | null }[]>`SELECT to_regclass('t_migration')::text AS table`;
    if (present?.table == null) {
      await tx`CREATE TABLE t_migration (
        number int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now())`;
      await tx`CREATE TABLE t_migration_setting (name text PRIMARY KEY, value text NOT NULL)`;
      await tx`INSERT INTO t_migration_setting VALUES ('message_shards', ${String(messageShards)})`;
    }
    const applied = await tx<{ number: number; name: string; checksum: string }[]>`
      SELECT number, name, checksum FROM t_migration ORDER BY number`;
    verifyApplied(applied, migrations);
    const [setting] = await tx<{ value: string }[]>`
      SELECT value FROM t_migration_setting WHERE name = 'message_shards'`;
    if (setting !== undefined && Number(setting.value) !== messageShards) {
      throw new StartError(
        `This database was made with MESSAGE_SHARDS=${setting.value}, which cannot be changed afterwards; ` +
          `it is now set to ${messageShards}. Set MESSAGE_SHARDS=${setting.value}, or use an empty database.`,
      );
    }
    const next = migrations[applied.length];
    if (next !== undefined) {
      await tx.unsafe(next.text.replaceAll("{{message_shards}}", String(messageShards))).simple();
      await tx`INSERT INTO t_migration (number, name, checksum) VALUES (${next.number}, ${next.name}, ${next.checksum})`;
    }
    return applied.length;
  });
}

function verifyApplied(
  applied: readonly { number: number; name: string; checksum: string }[],
  migrations: readonly Migration[],
): void {
  const newest = applied.at(-1)?.number ?? 0;
  if (newest > migrations.length) {
    throw new StartError(
      `The database has schema ${newest}, this program knows schemas up to ${migrations.length}: ` +
        "it is older than the one that used this database last. Start that release or a newer one.",
    );
  }
  applied.forEach((row, index) => {
    const file = migrations[index];
    if (file === undefined || row.number !== file.number) {
      throw new StartError(
        `The table t_migration has a gap before number ${row.number}; restore it from a backup.`,
      );
    }
    if (row.checksum !== file.checksum) {
      throw new StartError(
        `Migration ${file.name} was changed after it had been applied to this database (its checksum differs). ` +
          "Put the file back as it was and make the change in a new migration.",
      );
    }
  });
}

async function readMigrations(directory: URL): Promise<readonly Migration[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(directory)) if (entry.name.endsWith(".sql")) names.push(entry.name);
  names.sort();
  return await Promise.all(names.map(async (name, index) => {
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1]);
    if (number !== index + 1) {
      throw new Error(
        `Migrations are numbered 0001, 0002, … without a gap; ${name} is in place ${index + 1}`,
      );
    }
    // A checkout on Windows may have other line ends; that is no change.
    const text = (await Deno.readTextFile(new URL(name, directory))).replaceAll("\r\n", "\n");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return { number, name, text, checksum: new Uint8Array(digest).toHex() };
  }));
}
