/** What a figure depends on besides the program. */
import type { BenchCluster } from "./bench_cluster.ts";

/** The circumstances of a run. */
export interface Conditions {
  /** ISO date and time. */
  readonly startedAt: string;
  /** Short hash of the commit, with `+` when files differ from it; "unknown" outside a checkout. */
  readonly commit: string;
  readonly cpuModel: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  /** Runnable processes over the last minute, before anything was started: above 0.5 figures are not to be trusted. */
  readonly loadAverage: number;
  readonly deno: string;
  readonly v8: string;
  readonly postgres: string;
  readonly fsync: string;
  readonly synchronousCommit: string;
  readonly fullPageWrites: string;
  readonly sharedBuffers: string;
}

/** Reads the circumstances of a run on this machine and that Postgres. */
export async function readConditions(cluster: BenchCluster, loadAverage: number): Promise<Conditions> {
  const { settings } = cluster;
  return {
    startedAt: new Date().toISOString(),
    commit: await readCommit(),
    cpuModel: await readCpuModel(),
    cores: navigator.hardwareConcurrency,
    memoryGib: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    system: `${Deno.build.os} ${Deno.osRelease()}`,
    loadAverage,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    postgres: `${settings.serverVersion} ${cluster.kind}`,
    fsync: settings.fsync,
    synchronousCommit: settings.synchronousCommit,
    fullPageWrites: settings.fullPageWrites,
    sharedBuffers: settings.sharedBuffers,
  };
}

/** The circumstances as lines of text. */
export function describeConditions(conditions: Conditions): readonly string[] {
  const c = conditions;
  return [
    `${c.startedAt.slice(0, 16).replace("T", " ")} UTC, commit ${c.commit}`,
    `${c.cpuModel}, ${c.cores} cores for server, Postgres and load generator together, ${c.memoryGib} GiB, ` +
    `${c.system}, load average before ${c.loadAverage.toFixed(2)}`,
    `Deno ${c.deno}, V8 ${c.v8}, Postgres ${c.postgres}: fsync=${c.fsync} ` +
    `synchronous_commit=${c.synchronousCommit} full_page_writes=${c.fullPageWrites} ` +
    `shared_buffers=${c.sharedBuffers}; everything over loopback`,
  ];
}

async function readCommit(): Promise<string> {
  const hash = await git("rev-parse", "--short", "HEAD");
  if (hash === null) return "unknown";
  const changes = await git("status", "--porcelain", "--", ".", ":!scripts/bench/RESULTS.md");
  return changes === "" ? hash : `${hash}+`;
}

/** What git answers; `null` outside a checkout and where there is no git. */
async function git(...args: readonly string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command("git", {
      args: [...args],
      cwd: new URL("../../", import.meta.url),
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function readCpuModel(): Promise<string> {
  if (Deno.build.os !== "linux") return Deno.build.arch;
  const model = /^model name\s*:\s*(.+)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"));
  return model?.[1]?.trim() ?? Deno.build.arch;
}
