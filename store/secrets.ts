import { StartError } from "./start_error.ts";

/** What only this installation knows. */
export interface Secrets {
  /** Signs requests to the server API. */
  readonly adminSecret: string;
  /** Signs addresses and cookies that Hearth hands out and takes back. */
  readonly urlSecret: string;
}

/** 32 random bytes written as 43 characters of base64url. */
const SECRET_BYTES = 32;

/**
 * Reads the secrets of `dataDir`, making those that are missing: files that only their owner may read (mode 0600).
 *
 * `adminSecret`, when given, is used instead of the file, which is then not made.
 *
 * @throws StartError when a secret file is empty or unreadable.
 */
export async function openSecrets(
  dataDir: string,
  options: { readonly adminSecret?: string | null } = {},
): Promise<Secrets> {
  await Deno.mkdir(dataDir, { recursive: true });
  return {
    adminSecret: options.adminSecret ?? await openSecret(`${dataDir}/admin_secret`),
    urlSecret: await openSecret(`${dataDir}/url_secret`),
  };
}

/** Reads one secret file, or makes it; whoever makes it first wins, so that two programs agree. */
export async function openSecret(path: string): Promise<string> {
  const present = await readSecret(path);
  if (present !== null) return present;
  const made = crypto.getRandomValues(new Uint8Array(SECRET_BYTES)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  // Written aside and linked into place: the name never shows a half-written secret, and never replaces one.
  const aside = `${path}.${crypto.randomUUID()}`;
  const file = await Deno.open(aside, { write: true, createNew: true, mode: 0o600 });
  try {
    await file.write(new TextEncoder().encode(`${made}\n`));
    await file.sync();
  } finally {
    file.close();
  }
  try {
    await Deno.link(aside, path);
    return made;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    const other = await readSecret(path);
    if (other === null) throw error;
    return other;
  } finally {
    await Deno.remove(aside);
  }
}

async function readSecret(path: string): Promise<string | null> {
  try {
    const secret = (await Deno.readTextFile(path)).trim();
    if (secret.length < 16) {
      throw new StartError(
        `The secret in ${path} is shorter than 16 characters; remove the file to have a new one made.`,
      );
    }
    const { mode } = await Deno.stat(path);
    if (mode !== null && (mode & 0o077) !== 0) await Deno.chmod(path, 0o600);
    return secret;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new StartError(
        `The secret in ${path} cannot be read by this account; give it the file or another DATA_DIR.`,
      );
    }
    throw error;
  }
}
