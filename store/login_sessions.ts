/**
 * Logins: the truth for tokens and devices is `t_user_session`; a cache in KV spares Postgres the question at every
 * CONNECT and request. That a login ends is noted in the cache before Postgres stores it: should one of the two fail,
 * the login is refused for a while, and never stands though it has ended.
 */

import { type Attempt, type ClientRequest, once } from "./client_requests.ts";
import { randomId } from "./ids.ts";
import type { LoginSession } from "./login_session.ts";
import { isUniqueViolation } from "./sql.ts";
import type { Store } from "./store.ts";

/** A login that is over. */
export interface EndedLogin {
  readonly id: string;
  readonly userId: string;
  readonly clientId: string;
}

/** What a new login is made of. */
export interface NewLoginSession {
  readonly userId: string;
  readonly clientId: string;
  readonly platform: number;
  readonly deviceName: string;
  readonly imTokenHash: Uint8Array;
  readonly appTokenHash: Uint8Array;
  readonly address: string;
  readonly userAgent: string;
  /** The user's logins on these platforms end. */
  readonly endPlatforms: readonly number[];
}

/** Logins ended by a new one, by why. */
export interface ReplacedLogins {
  /** The same installation, the same user. */
  readonly renewed: readonly EndedLogin[];
  /** The same installation, another user. */
  readonly otherUser: readonly EndedLogin[];
  /** The same user on another installation of the platforms named. */
  readonly samePlatform: readonly EndedLogin[];
}

interface SessionRow {
  readonly id: string;
  readonly uid: string;
  readonly client_id: string;
  readonly platform: number;
  readonly device_name: string;
  readonly im_token_hash: Uint8Array;
  readonly app_token_hash: Uint8Array;
  readonly last_active_at_ms: bigint;
  readonly deleted: boolean;
}

function toSession(row: SessionRow): LoginSession {
  return {
    id: row.id,
    userId: row.uid,
    userDeleted: row.deleted,
    clientId: row.client_id,
    platform: row.platform,
    deviceName: row.device_name,
    // Plain bytes: what the driver gives is a Buffer, which KV does not take.
    imTokenHash: new Uint8Array(row.im_token_hash),
    appTokenHash: new Uint8Array(row.app_token_hash),
    lastActiveAtMs: Number(row.last_active_at_ms),
  };
}

/** Makes a login; the installation's former one ends in the same transaction. */
export async function createLoginSession(
  store: Store,
  login: NewLoginSession,
  nowMs: number,
): Promise<{ readonly id: string; readonly replaced: ReplacedLogins }> {
  const id = randomId();
  const replaced = await retryRaces(() => replaceAndInsert(store, id, login, nowMs));
  return { id, replaced };
}

function replaceAndInsert(
  store: Store,
  id: string,
  login: NewLoginSession,
  nowMs: number,
): Promise<ReplacedLogins> {
  return store.sql.begin(async (sql) => {
    const rows = await sql<{ id: string; uid: string; client_id: string; revoked_reason: string }[]>`
      UPDATE t_user_session SET revoked_at_ms = ${nowMs}, revoked_reason = CASE
        WHEN client_id <> ${login.clientId} THEN 'same-platform'
        WHEN uid = ${login.userId} THEN 'renewed' ELSE 'other-user' END
      WHERE revoked_at_ms IS NULL AND (client_id = ${login.clientId}
        OR (uid = ${login.userId} AND platform = ANY(${[...login.endPlatforms]}::int[])))
      RETURNING id, uid, client_id, revoked_reason`;
    for (const row of rows) await store.kv.cacheRevocation(row.id, row.revoked_reason);
    await sql`
      INSERT INTO t_user_session (id, uid, client_id, platform, device_name, im_token_hash, app_token_hash,
        created_at_ms, last_active_at_ms, ip, user_agent)
      VALUES (${id}, ${login.userId}, ${login.clientId}, ${login.platform}, ${login.deviceName},
        ${login.imTokenHash}, ${login.appTokenHash}, ${nowMs}, ${nowMs}, ${login.address}, ${login.userAgent})`;
    const ended = rows.map((row) => ({ id: row.id, userId: row.uid, clientId: row.client_id }));
    const here = ended.filter((former) => former.clientId === login.clientId);
    return {
      renewed: here.filter((former) => former.userId === login.userId),
      otherUser: here.filter((former) => former.userId !== login.userId),
      samePlatform: ended.filter((former) => former.clientId !== login.clientId),
    };
  });
}

/** Two logins of one installation at once: the later one ends the earlier, however they interleave. */
async function retryRaces<T>(attempt: () => Promise<T>): Promise<T> {
  for (let round = 0;; round++) {
    try {
      return await attempt();
    } catch (error) {
      if (round === 20 || !isUniqueViolation(error, "t_user_session_client")) throw error;
    }
  }
}

/** What a login id stands for. */
export type FoundLogin =
  | { readonly status: "live"; readonly login: LoginSession }
  | { readonly status: "revoked" }
  | { readonly status: "unknown" };

/** Looks a login up: in the cache, else in Postgres. */
export async function findLoginSession(store: Store, id: string): Promise<FoundLogin> {
  const { value: cached, version } = await store.kv.getCachedLogin(id);
  if (cached !== null) {
    return "login" in cached ? { status: "live", login: cached.login } : { status: "revoked" };
  }
  const [row] = await store.sql<(SessionRow & { revoked_at_ms: bigint | null })[]>`
    SELECT s.id, s.uid, s.client_id, s.platform, s.device_name, s.im_token_hash, s.app_token_hash,
      s.last_active_at_ms, s.revoked_at_ms, u.deleted
    FROM t_user_session s JOIN t_user u ON u.uid = s.uid WHERE s.id = ${id}`;
  if (row === undefined) return { status: "unknown" };
  if (row.revoked_at_ms !== null) return { status: "revoked" };
  const login = toSession(row);
  await store.kv.cacheLogin(login, version);
  return { status: "live", login };
}

/** Notes that a login was used, unless that was noted less than `pauseMs` ago, by whichever node. */
export async function touchLoginSession(
  store: Store,
  id: string,
  { nowMs, pauseMs }: { readonly nowMs: number; readonly pauseMs: number },
): Promise<void> {
  await store.sql`
    UPDATE t_user_session SET last_active_at_ms = ${nowMs}
    WHERE id = ${id} AND last_active_at_ms <= ${nowMs - pauseMs}`;
}

/** Ends a login by its id; null when it had ended. */
export async function revokeLoginSession(
  store: Pick<Store, "sql" | "kv">,
  id: string,
  reason: string,
  nowMs: number,
): Promise<EndedLogin | null> {
  await store.kv.cacheRevocation(id, reason);
  const [row] = await store.sql<{ uid: string; client_id: string }[]>`
    UPDATE t_user_session SET revoked_at_ms = ${nowMs}, revoked_reason = ${reason}
    WHERE id = ${id} AND revoked_at_ms IS NULL RETURNING uid, client_id`;
  return row === undefined ? null : { id, userId: row.uid, clientId: row.client_id };
}

/**
 * Ends the login of a user's installation, once per request; null when there is none.
 *
 * @throws RequestIdTakenError
 */
export async function kickLogin(
  store: Store,
  userId: string,
  clientId: string,
  request: ClientRequest | null,
  nowMs: number,
): Promise<{ readonly ended: EndedLogin; readonly repeated: boolean } | null> {
  const kicked = await once(store, request, nowMs, async (sql): Promise<Attempt<EndedLogin, null>> => {
    const [row] = await sql<{ id: string }[]>`
      SELECT id FROM t_user_session
      WHERE uid = ${userId} AND client_id = ${clientId} AND revoked_at_ms IS NULL`;
    if (row === undefined) return { refused: null };
    const ended = await revokeLoginSession({ sql, kv: store.kv }, row.id, "kicked", nowMs);
    return ended === null ? { refused: null } : { done: ended };
  });
  return "refused" in kicked ? null : { ended: kicked.done, repeated: kicked.repeated };
}

/** A login as its user sees it among his devices. */
export interface DeviceLogin {
  readonly id: string;
  readonly clientId: string;
  readonly platform: number;
  readonly deviceName: string;
  readonly lastActiveAtMs: number;
  readonly online: boolean;
}

/** A user's live logins, the most recently used first. */
export async function listDeviceLogins(store: Store, userId: string): Promise<readonly DeviceLogin[]> {
  const [rows, nodes, presence] = await Promise.all([
    store.sql<Pick<SessionRow, "id" | "client_id" | "platform" | "device_name" | "last_active_at_ms">[]>`
      SELECT id, client_id, platform, device_name, last_active_at_ms FROM t_user_session
      WHERE uid = ${userId} AND revoked_at_ms IS NULL ORDER BY last_active_at_ms DESC, id`,
    store.sql<{ epoch: string }[]>`SELECT epoch FROM t_node WHERE expires_at > clock_timestamp()`,
    store.kv.listPresence(userId),
  ]);
  const liveEpochs = new Set(nodes.map((node) => node.epoch));
  return rows.map((row) => ({
    id: row.id,
    clientId: row.client_id,
    platform: row.platform,
    deviceName: row.device_name,
    lastActiveAtMs: Number(row.last_active_at_ms),
    online: liveEpochs.has(presence.get(row.client_id)?.epoch ?? ""),
  }));
}
