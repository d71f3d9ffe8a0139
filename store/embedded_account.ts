/**
 * Who the database runs as. PostgreSQL refuses root, so under root another account is needed that reaches both
 * the programs and the data.
 */
import type { Log } from "../log.ts";
import { type Binaries, copyBinaries, exists } from "./embedded_binaries.ts";
import { StartError } from "./start_error.ts";

/** How child processes are started. */
export type Account =
  /** As ourselves. */
  | { readonly kind: "self" }
  /** As another account of this machine. */
  | { readonly kind: "other"; readonly name: string; readonly uid: number; readonly gid: number }
  /** In a user namespace in which our root is somebody else; files stay root's. */
  | { readonly kind: "namespace" };

/** The id that root has inside a user namespace of ours; any but 0 will do. */
const NAMESPACE_ID = "65534";

/** Makes a command that runs `binary` as `account`, with nothing of our environment. */
export function commandAs(
  account: Account,
  binary: string,
  args: readonly string[],
  options: Deno.CommandOptions,
): Deno.Command {
  const common: Deno.CommandOptions = { stdin: "null", clearEnv: Deno.build.os !== "windows", ...options };
  if (account.kind === "self") return new Deno.Command(binary, { ...common, args: [...args] });
  if (account.kind === "other") {
    return new Deno.Command(binary, { ...common, args: [...args], uid: account.uid, gid: account.gid });
  }
  const mapping = ["--user", `--map-user=${NAMESPACE_ID}`, `--map-group=${NAMESPACE_ID}`, "--"];
  return new Deno.Command("unshare", { ...common, args: [...mapping, binary, ...args] });
}

/**
 * Chooses the account for the database in `folder`, gives it the folder, and says where it finds the programs.
 *
 * @throws StartError when root can use no account that reaches the folder; it names the ways out.
 */
export async function chooseAccount(
  folder: string,
  binaries: Binaries,
  log: Log,
): Promise<{ account: Account; binaries: Binaries }> {
  if (Deno.uid() !== 0) return { account: { kind: "self" }, binaries };
  const other = await unprivilegedAccount();
  if (other !== null && await canReach(other, folder)) {
    await giveFolder(folder, other.uid, other.gid);
    if (await canRun(other, binaries)) return { account: other, binaries };
    const copied = await copyBinaries(binaries, folder, log);
    await giveFolder(copied.native, other.uid, other.gid);
    await giveFolder(`${folder}/lib`, other.uid, other.gid);
    if (await canRun(other, copied)) return { account: other, binaries: copied };
  }
  const namespace: Account = { kind: "namespace" };
  await giveFolder(folder, 0, 0);
  if (await canReach(namespace, folder) && await canRun(namespace, binaries)) {
    return { account: namespace, binaries };
  }
  throw new StartError(
    `PostgreSQL does not run as root, and no other account can reach ${folder}. ` +
      "Set DATA_DIR to a folder outside of private homes (as in DATA_DIR=/var/lib/hearth), or let others pass " +
      "through the folders above it (chmod o+x), or start Hearth as an ordinary user, or set DATABASE_URL.",
  );
}

async function unprivilegedAccount(): Promise<Extract<Account, { kind: "other" }> | null> {
  const lines = (await Deno.readTextFile("/etc/passwd")).split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "_postgres", "nobody"]) {
    const [, , uid, gid] = lines.find((fields) => fields[0] === name) ?? [];
    if (Number(uid) > 0 && Number(gid) > 0) {
      return { kind: "other", name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return null;
}

/** Tried instead of reasoned about: modes, ACLs, mount options and container rules all have a say. */
async function canReach(account: Account, folder: string): Promise<boolean> {
  return await succeeds(account, "/bin/sh", ["-c", 'test -x "$1/."', "sh", parent(folder)], {
    PATH: "/usr/bin:/bin",
  });
}

async function canRun(account: Account, binaries: Binaries): Promise<boolean> {
  return await succeeds(account, binaries.postgres, ["--version"], binaries.env) &&
    await succeeds(account, binaries.initdb, ["--version"], binaries.env);
}

async function succeeds(
  account: Account,
  binary: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<boolean> {
  try {
    const command = commandAs(account, binary, args, {
      env: { ...env },
      cwd: "/",
      stdout: "null",
      stderr: "null",
    });
    return (await command.output()).success;
  } catch (error) {
    // No such program (unshare), or not allowed to start it: that is the answer.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/** Changes the owner of everything in `folder`, unless the folder and its data have the right one already. */
async function giveFolder(folder: string, uid: number, gid: number): Promise<void> {
  const owned = async (path: string) => (await Deno.lstat(path)).uid === uid;
  const data = `${folder}/data`;
  if (await owned(folder) && (!await exists(data) || await owned(data))) return;
  const give = async (path: string): Promise<void> => {
    for await (const entry of Deno.readDir(path)) {
      if (entry.isSymlink) continue;
      if (entry.isDirectory) await give(`${path}/${entry.name}`);
      else await Deno.chown(`${path}/${entry.name}`, uid, gid);
    }
    await Deno.chown(path, uid, gid);
  };
  await give(folder);
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
