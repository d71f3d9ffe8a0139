/**
 * People: profiles, and the timeline each of them has from the beginning.
 */

import { type Attempt, type ClientRequest, once } from "./client_requests.ts";
import { randomId } from "./ids.ts";
import { isUniqueViolation, type Sql } from "./sql.ts";
import type { Store } from "./store.ts";

/** A user as stored. */
export interface User {
  readonly userId: string;
  /** The unique account name. */
  readonly name: string;
  readonly displayName: string;
  readonly portrait: string;
  readonly gender: number;
  /** null: none. */
  readonly mobile: string | null;
  readonly email: string;
  readonly address: string;
  readonly company: string;
  readonly social: string;
  readonly extra: string;
  /** 0 person, 1 robot, 2 device, 3 moderator, 100 administrator. */
  readonly type: number;
  /** Milliseconds since 1970; grows with every change. */
  readonly updatedAt: number;
  readonly deleted: boolean;
}

/** What may be said of a user when he is made or changed; what is left out stays, or is empty. */
export type UserFields = Partial<Omit<User, "userId" | "updatedAt" | "deleted">>;

/** What a search looks at. */
export interface UserSearch {
  readonly keyword: string;
  /** Whether parts of display names match; account names, ids and mobile numbers match as a whole. */
  readonly byDisplayName: boolean;
  readonly byName: boolean;
  readonly byMobile: boolean;
  readonly byUserId: boolean;
  readonly limit: number;
  readonly offset: number;
}

interface UserRow {
  readonly uid: string;
  readonly name: string;
  readonly display_name: string;
  readonly portrait: string;
  readonly gender: number;
  readonly mobile: string | null;
  readonly email: string;
  readonly address: string;
  readonly company: string;
  readonly social: string;
  readonly extra: string;
  readonly type: number;
  readonly updated_at_ms: bigint;
  readonly deleted: boolean;
}

function toUser(row: UserRow): User {
  return {
    userId: row.uid,
    name: row.name,
    displayName: row.display_name,
    portrait: row.portrait,
    gender: row.gender,
    mobile: row.mobile,
    email: row.email,
    address: row.address,
    company: row.company,
    social: row.social,
    extra: row.extra,
    type: row.type,
    updatedAt: Number(row.updated_at_ms),
    deleted: row.deleted,
  };
}

/** A user by id. */
export async function getUser(store: Store, userId: string): Promise<User | null> {
  const [user] = await listUsers(store, [userId]);
  return user ?? null;
}

/** The users among these ids, in no order. */
export async function listUsers(store: Store, userIds: readonly string[]): Promise<readonly User[]> {
  const rows = await store.sql<UserRow[]>`SELECT * FROM t_user WHERE uid = ANY(${[...userIds]}::text[])`;
  return rows.map(toUser);
}

/** The user of a mobile number. */
export async function getUserByMobile(store: Store, mobile: string): Promise<User | null> {
  const [row] = await store.sql<UserRow[]>`SELECT * FROM t_user WHERE mobile = ${mobile}`;
  return row === undefined ? null : toUser(row);
}

/** What saving a user came to. */
export type SavedUser =
  | { readonly status: "created" | "updated"; readonly user: User }
  | { readonly status: "name-taken" | "mobile-taken" };

/**
 * Makes a user with his timeline, or changes the one that has this id. Of a change, only the fields given are
 * written; `updatedAt` grows even when the clock does not.
 *
 * @param userId made at random when null
 * @param fields `name` is made at random when a new user has none
 */
export async function saveUser(
  store: Store,
  userId: string | null,
  fields: UserFields,
  nowMs: number,
): Promise<SavedUser> {
  const uid = userId ?? randomId();
  const columns = toColumns(fields);
  try {
    return await store.sql.begin(async (sql) => {
      const created = await insertUser(sql as unknown as Sql, uid, columns, nowMs);
      if (created !== null) return { status: "created", user: created };
      const [row] = await sql<UserRow[]>`
        UPDATE t_user SET ${sql({ ...columns, deleted: false })},
          updated_at_ms = greatest(updated_at_ms + 1, ${nowMs})
        WHERE uid = ${uid} RETURNING *`;
      return { status: "updated", user: toUser(row!) };
    });
  } catch (error) {
    if (isUniqueViolation(error, "t_user_name")) return { status: "name-taken" };
    if (isUniqueViolation(error, "t_user_mobile")) return { status: "mobile-taken" };
    throw error;
  }
}

/** Null when the id is taken. */
async function insertUser(
  sql: Sql,
  uid: string,
  columns: Readonly<Record<string, string | number | null>>,
  nowMs: number,
): Promise<User | null> {
  const values = { name: randomId(12), ...columns, uid, created_at_ms: nowMs, updated_at_ms: nowMs };
  const [row] = await sql<UserRow[]>`
    INSERT INTO t_user ${sql(values)} ON CONFLICT (uid) DO NOTHING RETURNING *`;
  if (row === undefined) return null;
  await sql`
    INSERT INTO t_user_timeline (uid, epoch) VALUES (${uid}, ${randomId()}) ON CONFLICT (uid) DO NOTHING`;
  return toUser(row);
}

/** The user of a mobile number, made with this display name when there is none. */
export async function getOrCreateUserByMobile(
  store: Store,
  mobile: string,
  displayName: string,
  nowMs: number,
): Promise<{ readonly user: User; readonly created: boolean }> {
  for (;;) {
    const user = await getUserByMobile(store, mobile);
    if (user !== null) return { user, created: false };
    const saved = await saveUser(store, null, { mobile, displayName }, nowMs);
    if (saved.status === "created") return { user: saved.user, created: true };
    // Another login of the same number was quicker, or a random name was taken: look again.
  }
}

/**
 * Changes a user, once per request; his new `updatedAt`, or null for an unknown user.
 *
 * @throws RequestIdTakenError
 */
export async function updateUser(
  store: Store,
  userId: string,
  fields: UserFields,
  request: ClientRequest | null,
  nowMs: number,
): Promise<{ readonly updatedAt: number; readonly repeated: boolean } | null> {
  const updated = await once(store, request, nowMs, async (sql): Promise<Attempt<number, null>> => {
    const [row] = await sql<{ updated_at_ms: bigint }[]>`
      UPDATE t_user SET ${sql(toColumns(fields))}, updated_at_ms = greatest(updated_at_ms + 1, ${nowMs})
      WHERE uid = ${userId} AND NOT deleted RETURNING updated_at_ms`;
    return row === undefined ? { refused: null } : { done: Number(row.updated_at_ms) };
  });
  return "refused" in updated ? null : { updatedAt: updated.done, repeated: updated.repeated };
}

/** People who match in at least one of the ways asked for, devices and deleted ones left out; by id. */
export async function searchUsers(store: Store, search: UserSearch): Promise<readonly User[]> {
  const { keyword } = search;
  const part = `%${keyword.replaceAll(/[\\%_]/g, "\\$&")}%`;
  const rows = await store.sql<UserRow[]>`
    SELECT * FROM t_user
    WHERE NOT deleted AND type <> 2 AND (
      (${search.byName} AND name = ${keyword}) OR (${search.byMobile} AND mobile = ${keyword}) OR
      (${search.byUserId} AND uid = ${keyword}) OR (${search.byDisplayName} AND display_name ILIKE ${part})
    )
    ORDER BY uid LIMIT ${search.limit} OFFSET ${search.offset}`;
  return rows.map(toUser);
}

const COLUMNS = {
  name: "name",
  displayName: "display_name",
  portrait: "portrait",
  gender: "gender",
  mobile: "mobile",
  email: "email",
  address: "address",
  company: "company",
  social: "social",
  extra: "extra",
  type: "type",
} as const satisfies Record<keyof UserFields, string>;

function toColumns(fields: UserFields): Record<string, string | number | null> {
  const columns: Record<string, string | number | null> = {};
  for (const field of Object.keys(COLUMNS) as (keyof UserFields)[]) {
    const value = fields[field];
    if (value !== undefined) columns[COLUMNS[field]] = value;
  }
  return columns;
}
