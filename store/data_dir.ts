import { StartError } from "./start_error.ts";

/** A folder that this process alone uses. */
export interface FolderLock {
  /** Lets others have it. */
  release(): void;
}

/**
 * Makes `dataDir` when it is missing, and takes it for this process until `release` or the end of the process.
 *
 * The lock is the operating system's on the open file `hearth.pid`, so that it cannot outlive its holder; the
 * number inside is for people to read.
 *
 * @throws StartError when another running Hearth has the folder, or when it cannot be written.
 */
export async function lockDataDir(dataDir: string): Promise<FolderLock> {
  await makeDataDir(dataDir);
  return await lockFolder(dataDir, dataDir);
}

/** Makes the folder of everything that is kept; private where that does not shut out the database's account. */
export async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await Deno.stat(dataDir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw unusable(dataDir, error);
    try {
      await Deno.mkdir(dataDir, { recursive: true });
      // As root the database runs under another account, which must get through, but need not list anything.
      if (Deno.build.os !== "windows") await Deno.chmod(dataDir, Deno.uid() === 0 ? 0o711 : 0o700);
    } catch (error) {
      throw unusable(dataDir, error);
    }
  }
}

/** Takes one folder; `dataDir` is what the refusal names. */
export async function lockFolder(folder: string, dataDir: string): Promise<FolderLock> {
  const path = `${folder}/hearth.pid`;
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    throw unusable(dataDir, error);
  }
  if (!await file.tryLock(true)) {
    file.close();
    const holder = (await Deno.readTextFile(path)).trim();
    throw new StartError(
      `Another Hearth${holder === "" ? "" : ` (process ${holder})`} is running on ${dataDir}. ` +
        "Stop it first, or give this one its own DATA_DIR.",
    );
  }
  await file.truncate();
  await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
  return { release: () => file.close() };
}

function unusable(dataDir: string, cause: unknown): unknown {
  if (!(cause instanceof Deno.errors.PermissionDenied)) return cause;
  return new StartError(
    `DATA_DIR ${dataDir} cannot be written by this account; change its owner or choose another.`,
  );
}
