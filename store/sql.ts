import postgres from "postgres";
import type { Log } from "../log.ts";

/** A pool of Postgres connections; `bigint` columns arrive as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

/** How a pool is opened. */
export interface SqlOptions {
  /** Most connections open at once, 1 and up. */
  readonly maxConnections: number;
  readonly log: Log;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Server settings of every connection of the pool. */
  readonly startupSettings?: Readonly<Record<string, string>>;
  /** Told when a connection has closed; such a pool never recycles connections by age. */
  readonly onClose?: () => void;
  /** Asks each connection for the array types, so that arrays may be parameters and columns; on by default. */
  readonly arrayTypes?: boolean;
}

/**
 * Opens a pool on `url`; nothing is connected before the first query.
 *
 * As in libpq, `?host=/folder` names the folder of a Unix socket. After a lost connection the pool connects again
 * by itself, at most a second apart, so that a restarted database is found at once.
 */
export function openSql(url: string, options: SqlOptions): Sql {
  const { address, socketFolder } = splitSocket(url);
  return postgres(address, {
    ...(socketFolder === null ? {} : { host: socketFolder }),
    max: options.maxConnections,
    connect_timeout: 10,
    idle_timeout: 0,
    backoff: (retries: number) => Math.min(0.02 * 2 ** Math.min(retries, 6), 1),
    fetch_types: options.arrayTypes ?? true,
    types: { bigint: postgres.BigInt },
    connection: { application_name: options.applicationName, ...options.startupSettings },
    ...(options.onClose === undefined ? {} : { max_lifetime: null, onclose: options.onClose }),
    onnotice: (notice) => options.log.debug("postgres notice", { text: notice.message }),
  });
}

/** What decides whether "stored" survives a power cut, and what the database is. */
export interface DatabaseSettings {
  readonly serverVersion: string;
  /** `server_version_num`, as in 180004. */
  readonly serverVersionNumber: number;
  readonly fsync: string;
  readonly synchronousCommit: string;
  readonly fullPageWrites: string;
  readonly sharedBuffers: string;
  readonly maxConnections: number;
}

/** Reads the durability settings of the database; printed at every start and in every benchmark. */
export async function databaseSettings(sql: Sql): Promise<DatabaseSettings> {
  const [row] = await sql<{
    version: string;
    number: string;
    fsync: string;
    synchronous_commit: string;
    full_page_writes: string;
    shared_buffers: string;
    max_connections: string;
  }[]>`
    SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS number,
      current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
      current_setting('full_page_writes') AS full_page_writes,
      current_setting('shared_buffers') AS shared_buffers, current_setting('max_connections') AS max_connections`;
  if (row === undefined) throw new Error("The database did not answer with its settings");
  return {
    serverVersion: row.version,
    serverVersionNumber: Number(row.number),
    fsync: row.fsync,
    synchronousCommit: row.synchronous_commit,
    fullPageWrites: row.full_page_writes,
    sharedBuffers: row.shared_buffers,
    maxConnections: Number(row.max_connections),
  };
}

/** The driver takes a socket folder as an option only, not inside the address. */
function splitSocket(url: string): { address: string; socketFolder: string | null } {
  const question = url.indexOf("?");
  if (question < 0) return { address: url, socketFolder: null };
  const query = new URLSearchParams(url.slice(question + 1));
  const host = query.get("host");
  if (host === null || !host.startsWith("/")) return { address: url, socketFolder: null };
  query.delete("host");
  const rest = query.toString();
  return { address: url.slice(0, question) + (rest === "" ? "" : `?${rest}`), socketFolder: host };
}

/** Whether a statement failed because of this unique index. */
export function isUniqueViolation(error: unknown, index: string): boolean {
  return error instanceof postgres.PostgresError && error.code === "23505" && error.constraint_name === index;
}
