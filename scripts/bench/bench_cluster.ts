/**
 * The Postgres a benchmark runs on: the embedded one, started for it, or the one at `DATABASE_URL`. Either way every
 * server gets a database of its own, which is dropped afterwards.
 */
import { createLog } from "../../log.ts";
import {
  type DatabaseSettings,
  databaseSettings,
  openSql,
  type Sql,
  startEmbedded,
} from "../../store/mod.ts";
import type { Cleanup } from "./cleanup.ts";
import { postmasterOf } from "./cpu_time.ts";

/** A database that is dropped when it is disposed of, connections or not. */
export interface ScratchDatabase extends AsyncDisposable {
  readonly url: string;
}

/** A Postgres in which databases can be made. */
export interface BenchCluster extends AsyncDisposable {
  readonly kind: "embedded" | "external";
  readonly settings: DatabaseSettings;
  /** `null` when it runs on another machine. */
  readonly postmasterPid: number | null;
  createDatabase(): Promise<ScratchDatabase>;
}

const log = createLog({ format: "text", level: "warn" });

/** Opens the cluster at `databaseUrl`, or starts an embedded one in a temporary folder. */
export async function openCluster(databaseUrl: string | null, cleanup: Cleanup): Promise<BenchCluster> {
  await using opened = new AsyncDisposableStack();
  let url = databaseUrl;
  if (url === null) {
    const dataDir = opened.use(await makeDataFolder(cleanup)).path;
    const embedded = await startEmbedded({ dataDir, log });
    opened.use(cleanup.add(() => embedded.stop()));
    url = embedded.url;
  }
  const clusterUrl = url;
  const [settings, postmasterPid] = await withSql(clusterUrl, async (sql) => {
    const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
    return [await databaseSettings(sql), postmasterOf(row!.pid)] as const;
  });
  const parts = opened.move();
  return {
    kind: databaseUrl === null ? "embedded" : "external",
    settings,
    postmasterPid,
    async createDatabase() {
      const name = `hearth_bench_${crypto.randomUUID().replaceAll("-", "")}`;
      await withSql(
        clusterUrl,
        (sql) => sql.unsafe(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`),
      );
      const address = new URL(clusterUrl);
      address.pathname = `/${name}`;
      const dropped = cleanup.add(async () => {
        await withSql(clusterUrl, (sql) => sql.unsafe(`DROP DATABASE ${name} WITH (FORCE)`));
      });
      return { url: address.href, [Symbol.asyncDispose]: () => dropped[Symbol.asyncDispose]() };
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** A temporary folder that is removed when it is disposed of. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
}

/** Makes a folder that the account of the embedded Postgres can get through. */
export async function makeDataFolder(cleanup: Cleanup): Promise<DataFolder> {
  const path = await Deno.makeTempDir({ prefix: "hearth-bench-" });
  const removed = cleanup.add(() => Deno.remove(path, { recursive: true }));
  if (Deno.build.os !== "windows") await Deno.chmod(path, 0o711);
  return { path, [Symbol.asyncDispose]: () => removed[Symbol.asyncDispose]() };
}

/** One connection for as long as `use` runs. */
export async function withSql<T>(url: string, use: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = openSql(url, { maxConnections: 1, log, applicationName: "hearth bench" });
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}
