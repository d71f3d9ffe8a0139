/**
 * A fresh database for one test, on a real Postgres.
 *
 * `deno task test` starts one cluster for all tests and names it in `HEARTH_TEST_CLUSTER_URL`; a test file run by
 * itself starts a cluster of its own for each database.
 */
import { createLog, type Log } from "../log.ts";
import { startEmbedded } from "../store/embedded.ts";
import { migrate } from "../store/migrate.ts";
import { openSql } from "../store/sql.ts";

/** A database that is dropped with its test. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
}

/** How the database begins. */
export interface TestDatabaseOptions {
  /** Apply the program's migrations; otherwise the database is empty. */
  readonly migrated?: boolean;
  /** Partitions of `t_user_messages` when migrated; few of them save a quarter of a second. */
  readonly messageShards?: number;
}

/** A log for tests: silent below errors, since what is wrong shows in an assertion. */
export function quietLog(): Log {
  return createLog({
    format: "text",
    level: Deno.env.get("HEARTH_TEST_LOG") === "debug" ? "debug" : "error",
  });
}

/** Creates a database and drops it on disposal, connections or not. */
export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const cluster = await openCluster();
  const name = `hearth_test_${crypto.randomUUID().replaceAll("-", "")}`;
  const administer = async (statement: string) => {
    const sql = openSql(cluster.url, { maxConnections: 1, log: quietLog(), applicationName: "hearth test" });
    try {
      await sql.unsafe(statement);
    } finally {
      await sql.end();
    }
  };
  await administer(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  const url = new URL(cluster.url);
  url.pathname = `/${name}`;
  const dispose = async () => {
    await administer(`DROP DATABASE ${name} WITH (FORCE)`);
    await cluster.stop();
  };
  if (options.migrated === true) {
    const sql = openSql(url.href, { maxConnections: 1, log: quietLog(), applicationName: "hearth test" });
    try {
      await migrate(sql, { messageShards: options.messageShards ?? 4 });
    } finally {
      await sql.end();
    }
  }
  return { url: url.href, [Symbol.asyncDispose]: dispose };
}

async function openCluster(): Promise<{ url: string; stop(): Promise<void> }> {
  const url = Deno.env.get("HEARTH_TEST_CLUSTER_URL");
  if (url !== undefined && url !== "") return { url, stop: () => Promise.resolve() };
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-" });
  await Deno.chmod(dataDir, 0o711);
  const embedded = await startEmbedded({ dataDir, log: quietLog() });
  return {
    url: embedded.url,
    stop: async () => {
      await embedded.stop();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}
