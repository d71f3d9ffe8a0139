/**
 * Who a token belongs to. A token is `id.secret`: the id finds the login, the secret proves it; only a hash of the
 * secret is kept.
 */

import { findLoginSession, type LoginSession, sameBytes } from "../store/mod.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";

/** A login that has been proved. */
export interface Login {
  readonly userId: string;
  /** The installation the login was given to. */
  readonly clientId: string;
  readonly loginId: string;
  readonly platform: number;
}

const SECRET_BYTES = 32;
const TOKEN = /^([0-9a-z]{1,64})\.([A-Za-z0-9_-]{43})$/;

/** A new secret with the hash that is kept of it. */
export interface Secret {
  /** 43 characters of base64url. */
  readonly text: string;
  /** SHA-256 of `text`. */
  readonly hash: Uint8Array;
}

/** Makes a secret of 256 random bits. */
export async function makeSecret(): Promise<Secret> {
  const text = crypto.getRandomValues(new Uint8Array(SECRET_BYTES))
    .toBase64({ alphabet: "base64url", omitPadding: true });
  return { text, hash: await hashSecret(text) };
}

/** SHA-256; secrets are random, so nothing slower is needed. */
export async function hashSecret(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/**
 * The login of an IM token or an app token.
 *
 * @throws {ImError} `token/invalid`, `token/revoked`, `user/forbidden`
 */
export async function authenticateToken(im: Im, token: string, kind: "im" | "app"): Promise<Login> {
  const [, id, secret] = TOKEN.exec(token) ?? [];
  if (id === undefined || secret === undefined) throw invalidToken();
  const found = await findLoginSession(im.store, id);
  if (found.status === "revoked") throw new ImError("token/revoked", "This login has ended. Log in again.");
  if (found.status === "unknown") throw invalidToken();
  const { login } = found;
  const hash = kind === "im" ? login.imTokenHash : login.appTokenHash;
  if (!sameBytes(await hashSecret(secret), hash)) throw invalidToken();
  if (login.userDeleted) throw new ImError("user/forbidden", "This account has been closed.");
  await im.activity.note(login, im.nowMs());
  return toLogin(login);
}

/**
 * The login behind a CONNECT: an IM token as password, or the app token of a page of our own origin; user and client
 * identifier must be those of the login.
 *
 * @throws {ImError} `token/invalid`, `token/revoked`, `user/forbidden`
 */
export async function authenticateConnect(
  im: Im,
  connect: {
    readonly userId: string;
    readonly clientId: string;
    readonly password: string | null;
    readonly appToken: string | null;
  },
): Promise<Login> {
  const token = connect.password ?? connect.appToken;
  if (token === null) throw invalidToken();
  const login = await authenticateToken(im, token, connect.password === null ? "app" : "im");
  if (login.userId !== connect.userId || login.clientId !== connect.clientId) throw invalidToken();
  return login;
}

function toLogin({ id, userId, clientId, platform }: LoginSession): Login {
  return { userId, clientId, loginId: id, platform };
}

/** The same answer whatever was wrong. */
function invalidToken(): ImError {
  return new ImError("token/invalid", "The token is not valid. Log in again.");
}
