/** The data folder of the own PostgreSQL: making it, knowing its version, clearing what a crash left behind. */
import { type Account, commandAs } from "./embedded_account.ts";
import { type Binaries, exists } from "./embedded_binaries.ts";
import type { Log } from "../log.ts";
import { StartError } from "./start_error.ts";

/** The database account inside the cluster, and its owner. */
export const CLUSTER_USER = "hearth";

/**
 * Refuses data of another major version than the programs have; an empty folder is fine.
 *
 * @throws StartError naming the two commands that move the data.
 */
export async function verifyMajor(folder: string, binaries: Binaries): Promise<void> {
  const written = await readIfPresent(`${folder}/HEARTH`) ?? await readIfPresent(`${folder}/data/PG_VERSION`);
  if (written === null) return;
  const major = Number.parseInt(written, 10);
  if (major === binaries.major) return;
  if (major > binaries.major) {
    throw new StartError(
      `The data in ${folder} was made by PostgreSQL ${major}, this Hearth brings PostgreSQL ${binaries.major}. ` +
        "Start the newer release of Hearth that used this folder before.",
    );
  }
  throw new StartError(
    `The data in ${folder} was made by PostgreSQL ${major}, this Hearth brings PostgreSQL ${binaries.major}. ` +
      `Run "deno task backup FILE" with the release of Hearth that used this folder before, move the folder away, ` +
      `then run "deno task restore FILE --verify" with this one.`,
  );
}

/**
 * Makes the cluster unless it is there; resolves to the password of its owner.
 *
 * It is initialised under another name and renamed when complete, so that a folder named `data` is always whole.
 */
export async function makeCluster(
  folder: string,
  binaries: Binaries,
  account: Account,
  log: Log,
): Promise<string> {
  const data = `${folder}/data`;
  const password = await openPassword(`${folder}/password`, account, await exists(data));
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.name.startsWith("data.half-")) continue;
    log.info("removing a half-made database folder", { folder: entry.name });
    await Deno.remove(`${folder}/${entry.name}`, { recursive: true });
  }
  if (!await exists(data)) {
    const half = `${data}.half-${crypto.randomUUID().slice(0, 8)}`;
    const started = performance.now();
    const { success, stdout, stderr } = await commandAs(account, binaries.initdb, [
      `--pgdata=${half}`,
      `--username=${CLUSTER_USER}`,
      `--pwfile=${folder}/password`,
      "--auth=scram-sha-256",
      "--locale=C",
      "--encoding=UTF8",
    ], { env: { ...binaries.env }, cwd: folder, stdout: "piped", stderr: "piped" }).output();
    if (!success) {
      const text = new TextDecoder();
      throw new Error(
        `PostgreSQL could not make its data folder: ${text.decode(stderr)}${text.decode(stdout)}`,
      );
    }
    await Deno.rename(half, data);
    log.info("database made", { folder: data, ms: Math.round(performance.now() - started) });
  }
  const version = `${folder}/HEARTH`;
  if (!await exists(version)) await Deno.writeTextFile(version, `${binaries.major}\n`);
  return password;
}

/**
 * Stops a server that a killed Hearth left running on `data`; adopting it would mean to live with its settings.
 *
 * Called with the folder locked, so no living Hearth owns it.
 */
export async function stopLeftOver(data: string, log: Log): Promise<void> {
  const text = await readIfPresent(`${data}/postmaster.pid`);
  const pid = Number.parseInt(text ?? "", 10);
  // The number may belong to some other program by now.
  if (!(pid > 1) || !await isPostgresOn(pid, data)) return;
  log.warn("stopping the database an earlier Hearth left running", { pid });
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    try {
      Deno.kill(pid, signal);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      throw new StartError(
        `A PostgreSQL (process ${pid}) of another account still runs on ${data}; stop it and start again.`,
      );
    }
    for (const until = performance.now() + 10_000; performance.now() < until;) {
      if (!await isPostgresOn(pid, data)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new StartError(
    `The PostgreSQL (process ${pid}) that an earlier start left on ${data} does not stop.`,
  );
}

/** Whether process `pid` is a PostgreSQL server that was started on `data`. */
export async function isPostgresOn(pid: number, data: string): Promise<boolean> {
  let commandLine: string;
  if (Deno.build.os === "linux") {
    const text = await readIfPresent(`/proc/${pid}/cmdline`);
    if (text === null || text === "") return false;
    commandLine = text.replaceAll("\0", " ");
  } else if (Deno.build.os === "windows") {
    // No cheap way to ask; a stale file is cleared by the server itself, a living one makes its start fail.
    return false;
  } else {
    const { stdout } = await new Deno.Command("ps", { args: ["-p", String(pid), "-o", "command="] }).output();
    commandLine = new TextDecoder().decode(stdout);
  }
  return commandLine.includes("postgres") && commandLine.includes(data);
}

async function openPassword(path: string, account: Account, needed: boolean): Promise<string> {
  try {
    const present = await readIfPresent(path);
    if (present !== null && present.trim() !== "") return present.trim();
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new StartError(
      `${path} cannot be read by this account: the database was made by another one, probably root. ` +
        "Start Hearth as that account, or change the owner of the whole DATA_DIR.",
    );
  }
  if (needed) throw new StartError(`${path} is missing, and with it the way into the database beside it.`);
  const password = crypto.getRandomValues(new Uint8Array(24)).toHex();
  const aside = `${path}.new`;
  await Deno.writeTextFile(aside, `${password}\n`, { mode: 0o600 });
  if (account.kind === "other") await Deno.chown(aside, account.uid, account.gid);
  await Deno.rename(aside, path);
  return password;
}

async function readIfPresent(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
