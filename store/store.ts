import type { Log } from "../log.ts";
import { CommitPipeline } from "./commit.ts";
import { startEmbedded } from "./embedded.ts";
import type { Kv } from "./kv.ts";
import type { NodeLease } from "./node_lease.ts";
import { PipelineConnection } from "./pipeline_connection.ts";
import { type DatabaseSettings, databaseSettings, openSql, type Sql } from "./sql.ts";

/** Connections for everything but the commit pipeline, which has its own. */
const MAX_CONNECTIONS = 10;

/** An open Postgres, its own or another's. */
export interface Database {
  readonly url: string;
  readonly sql: Sql;
  readonly settings: DatabaseSettings;
  /** Whether Hearth runs it itself. */
  readonly embedded: boolean;
  /** Closes the connections, and stops a database of our own. */
  close(): Promise<void>;
}

/**
 * Opens the Postgres at `databaseUrl`; without one, starts our own under `dataDir`.
 *
 * @throws StartError when our own cannot run here
 */
export async function openDatabase(
  options: { readonly databaseUrl: string | null; readonly dataDir: string; readonly log: Log },
): Promise<Database> {
  const own = options.databaseUrl === null ? await startEmbedded(options) : null;
  const url = own?.url ?? options.databaseUrl!;
  const sql = openSql(url, { maxConnections: MAX_CONNECTIONS, log: options.log, applicationName: "hearth" });
  const close = async () => {
    await sql.end({ timeout: 5 });
    await own?.stop();
  };
  try {
    return { url, sql, settings: await databaseSettings(sql), embedded: own !== null, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** Everything that holds state; made once, handed to whoever needs it. */
export interface Store {
  /** Used within `store/` alone. */
  readonly sql: Sql;
  readonly kv: Kv;
  readonly lease: NodeLease;
  readonly commits: CommitPipeline;
  readonly log: Log;
}

/** Puts the open parts together and opens the commit pipeline; each part is closed by who opened it. */
export function createStore(
  parts: { readonly database: Database; readonly kv: Kv; readonly lease: NodeLease; readonly log: Log },
): Store {
  const { database, kv, lease, log } = parts;
  const connection = new PipelineConnection(database.url, log);
  return { sql: database.sql, kv, lease, log, commits: new CommitPipeline({ connection, lease, log }) };
}
