/**
 * `user.*`: profiles and search, and what the server API does with users.
 */

import {
  type ClientRequest,
  getUser,
  listUsers,
  saveUser,
  searchUsers,
  updateUser,
  type User,
  type UserFields,
  type UserSearch,
} from "../store/mod.ts";
import { PROFILE_FIELDS, type UserInfo } from "../wire.ts";
import type { Caller } from "./caller.ts";
import type { OnceOutcome } from "./once.ts";
import type { Outcome } from "./outcome.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { type Installation, makeLogin, type NewLogin } from "./login.ts";
import type { Notice } from "./notice.ts";
import type { Origin } from "./origin.ts";

/** What a stranger is told of a user. */
function publicInfo(user: User): UserInfo {
  return { userId: user.userId, displayName: user.displayName, portrait: user.portrait, type: user.type };
}

/** What a user is told of himself. */
function ownInfo(user: User): UserInfo {
  return {
    ...publicInfo(user),
    name: user.name,
    gender: user.gender,
    ...(user.mobile === null ? {} : { mobile: user.mobile }),
    email: user.email,
    address: user.address,
    company: user.company,
    social: user.social,
    extra: user.extra,
    updatedAt: user.updatedAt,
    deleted: user.deleted,
  };
}

function infoFor(userId: string, user: User): UserInfo {
  return user.userId === userId ? ownInfo(user) : publicInfo(user);
}

/** Profiles, in the order asked for: 0 given, 1 unknown, 2 unchanged. */
export async function getUserInfos(
  im: Im,
  caller: Caller,
  request: { users: readonly { userId: string; updatedAt?: number | undefined }[] },
): Promise<Outcome> {
  const found = await listUsers(im.store, request.users.map(({ userId }) => userId));
  const byId = new Map(found.map((user) => [user.userId, user]));
  const users = request.users.map(({ userId, updatedAt }) => {
    const user = byId.get(userId);
    if (user === undefined) return { userId, code: 1 };
    if (user.updatedAt === updatedAt) return { userId, code: 2 };
    return { userId, code: 0, user: infoFor(caller.userId, user) };
  });
  return { resultJson: JSON.stringify({ users }), notices: [] };
}

/**
 * Changes my own profile; my devices hear `user`.
 *
 * Refusals: `request/invalid`, `user/not-found`.
 */
export async function updateMyProfile(
  im: Im,
  caller: Caller,
  request: { entries: readonly { type: number; value: string }[] },
  identity: ClientRequest | null,
): Promise<OnceOutcome> {
  const fields: Record<string, string | number> = {};
  for (const [i, { type, value }] of request.entries.entries()) {
    const field = PROFILE_FIELDS[type as keyof typeof PROFILE_FIELDS];
    if (field === "displayName" && value.trim() === "") {
      throw new ImError("request/invalid", "A display name must say something.", {
        field: `entries.${i}.value`,
      });
    }
    fields[field] = field === "gender" ? requireGender(value, i) : value;
  }
  const updated = await updateUser(im.store, caller.userId, fields as UserFields, identity, im.nowMs());
  if (updated === null) throw new ImError("user/not-found", "Your account no longer exists.");
  const { updatedAt, repeated } = updated;
  return {
    resultJson: JSON.stringify({ updatedAt }),
    notices: [userChanged(caller.userId, updatedAt, caller.connection)],
    repeated,
  };
}

function requireGender(value: string, entry: number): number {
  if (!/^\d{1,3}$/.test(value)) {
    throw new ImError("request/invalid", "A gender is a number: 0 unknown, 1 male, 2 female.", {
      field: `entries.${entry}.value`,
    });
  }
  return Number(value);
}

function userChanged(userId: string, updatedAt: number, exceptConnection: object | null): Notice {
  return {
    kind: "event",
    userId,
    event: { type: "user", userId, version: String(updatedAt) },
    exceptConnection,
  };
}

const PAGE = 20;

/** How many hits each kind of search gives, and where it looks; 0 general, 1 name or mobile, 2, 3, 4 one of them, 5 all three. */
const SEARCH_TYPES: readonly Omit<UserSearch, "keyword" | "offset">[] = [
  { byDisplayName: true, byName: true, byMobile: true, byUserId: true, limit: PAGE },
  { byDisplayName: false, byName: true, byMobile: true, byUserId: false, limit: 2 },
  { byDisplayName: false, byName: true, byMobile: false, byUserId: false, limit: 1 },
  { byDisplayName: false, byName: false, byMobile: true, byUserId: false, limit: 1 },
  { byDisplayName: false, byName: false, byMobile: false, byUserId: true, limit: 1 },
  { byDisplayName: false, byName: true, byMobile: true, byUserId: true, limit: 3 },
];

/** People by display name, account name, mobile number or id. */
export async function searchUserInfos(
  im: Im,
  caller: Caller,
  request: { keyword: string; type: number; page: number },
): Promise<Outcome> {
  const keyword = request.keyword.trim();
  const kind = SEARCH_TYPES[request.type]!;
  const found = keyword === ""
    ? []
    : await searchUsers(im.store, { ...kind, keyword, offset: request.page * kind.limit });
  const users = found.map((user) => infoFor(caller.userId, user));
  return { resultJson: JSON.stringify({ users }), notices: [] };
}

/** What the server API says of a user. */
export interface UserRequest extends UserFields {
  readonly userId?: string;
}

/**
 * The server API makes a user, or changes the one of this id.
 *
 * @throws {ImError} `user/name-taken`, `user/mobile-taken`
 */
export async function createUser(
  im: Im,
  request: UserRequest,
): Promise<{ readonly userId: string; readonly name: string; readonly notices: readonly Notice[] }> {
  const { userId, ...fields } = request;
  const saved = await saveUser(im.store, userId ?? null, fields, im.nowMs());
  switch (saved.status) {
    case "name-taken":
      throw new ImError("user/name-taken", "Another user has this name.", { field: "name" });
    case "mobile-taken":
      throw new ImError("user/mobile-taken", "Another user has this mobile number.", { field: "mobile" });
    default: {
      const { user } = saved;
      const notices = saved.status === "updated" ? [userChanged(user.userId, user.updatedAt, null)] : [];
      return { userId: user.userId, name: user.name, notices };
    }
  }
}

/**
 * The server API logs a user in on an installation.
 *
 * @throws {ImError} `user/not-found`, `user/forbidden`
 */
export async function issueToken(
  im: Im,
  request: Installation & { readonly userId: string },
  origin: Origin,
): Promise<NewLogin> {
  const user = await getUser(im.store, request.userId);
  if (user === null) throw new ImError("user/not-found", "There is no such user.", { field: "userId" });
  if (user.deleted) throw new ImError("user/forbidden", "This account has been closed.");
  return await makeLogin(im, user, request, origin);
}
