/** CPU time of processes, from Linux's /proc; elsewhere nothing is measured and the report says so. */

/** CPU time in microseconds; `null` where it cannot be read. */
export interface CpuTimes {
  readonly server: number | null;
  /** The postmaster and all its children, ended ones included. */
  readonly postgres: number | null;
  /** This process, which makes the load. */
  readonly load: number | null;
}

/** CPU time since each process began. */
export interface CpuReading extends CpuTimes {
  /** All processors since the machine began; `null` where it cannot be read. */
  readonly machine: { readonly busy: number; readonly total: number } | null;
}

/** CPU time of a measured span. */
export interface CpuUse {
  /** For one of what was counted. */
  readonly each: CpuTimes;
  /** What everything else on the machine took of it, 0–1: a figure is worth little where this is more than a little. */
  readonly othersShare: number | null;
}

/** Whose CPU time is read. */
export interface CpuProcesses {
  readonly serverPid: number | null;
  readonly postmasterPid: number | null;
}

/** /proc counts in ticks of USER_HZ, which is 100 on every Linux platform that Deno runs on. */
const TICK_US = 10_000;

/** Fields of /proc/<pid>/stat behind the name, which may itself hold blanks and parentheses. */
const FIELD = { parent: 1, user: 11, system: 12, childrenUser: 13, childrenSystem: 14 } as const;

interface ProcessStat {
  readonly name: string;
  readonly fields: readonly string[];
}

/** Reads the CPU time of all three, and of the machine, at one moment. */
export function readCpu(processes: CpuProcesses): CpuReading {
  return {
    server: processes.serverPid === null ? null : ownTime(readStat(processes.serverPid)),
    postgres: processes.postmasterPid === null ? null : clusterTime(processes.postmasterPid),
    load: ownTime(readStat(Deno.pid)),
    machine: readMachine(),
  };
}

/** What was used between two readings, in which `count` messages were handled. */
export function cpuUse(count: number, before: CpuReading, after: CpuReading): CpuUse {
  const between = (from: number | null, to: number | null) => from === null || to === null ? null : to - from;
  const server = between(before.server, after.server);
  const postgres = between(before.postgres, after.postgres);
  const load = between(before.load, after.load);
  const each = (us: number | null) => us === null || count === 0 ? null : us / count;
  let othersShare: number | null = null;
  if (before.machine !== null && after.machine !== null) {
    const busy = after.machine.busy - before.machine.busy;
    const ours = (server ?? 0) + (postgres ?? 0) + (load ?? 0);
    othersShare = Math.max(0, busy - ours) / (after.machine.total - before.machine.total);
  }
  return { each: { server: each(server), postgres: each(postgres), load: each(load) }, othersShare };
}

/** The postmaster behind a backend on this machine; `null` when the backend is no process here. */
export function postmasterOf(backendPid: number): number | null {
  const backend = readStat(backendPid);
  if (backend === null || !backend.name.startsWith("postgres")) return null;
  const parentPid = Number(backend.fields[FIELD.parent]);
  return readStat(parentPid)?.name.startsWith("postgres") ? parentPid : null;
}

/** A line of /proc/<pid>/status in KiB, as `VmRSS`; `null` where there is none. */
export function readMemoryKib(pid: number, line: string): number | null {
  const text = readIfThere(`/proc/${pid}/status`);
  const match = text === null ? null : new RegExp(`^${line}:\\s+(\\d+) kB`, "m").exec(text);
  return match === null ? null : Number(match[1]);
}

/** Kernel memory in slabs, where sockets, files and inodes live, in KiB; `null` where it cannot be read. */
export function readKernelSlabKib(): number | null {
  const match = /^Slab:\s+(\d+) kB/m.exec(readIfThere("/proc/meminfo") ?? "");
  return match === null ? null : Number(match[1]);
}

/** Columns of the first line of /proc/stat: user nice system idle iowait irq softirq steal. */
function readMachine(): CpuReading["machine"] {
  const line = /^cpu\s+(.+)$/m.exec(readIfThere("/proc/stat") ?? "")?.[1];
  if (line === undefined) return null;
  const ticks = line.split(" ").slice(0, 8).map(Number);
  const total = ticks.reduce((sum, count) => sum + count, 0);
  return { busy: (total - ticks[3]! - ticks[4]!) * TICK_US, total: total * TICK_US };
}

function ownTime(stat: ProcessStat | null): number | null {
  if (stat === null) return null;
  return (Number(stat.fields[FIELD.user]) + Number(stat.fields[FIELD.system])) * TICK_US;
}

/** A child that ends between two readings moves from the living into its parent's sum: nothing is lost. */
function clusterTime(postmasterPid: number): number | null {
  const postmaster = readStat(postmasterPid);
  if (postmaster === null) return null;
  const ended = (Number(postmaster.fields[FIELD.childrenUser]) +
    Number(postmaster.fields[FIELD.childrenSystem])) * TICK_US;
  let sum = ended + ownTime(postmaster)!;
  for (const entry of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    const stat = readStat(Number(entry.name));
    if (stat !== null && Number(stat.fields[FIELD.parent]) === postmasterPid) sum += ownTime(stat)!;
  }
  return sum;
}

function readStat(pid: number): ProcessStat | null {
  const text = readIfThere(`/proc/${pid}/stat`);
  if (text === null) return null;
  const open = text.indexOf("("), close = text.lastIndexOf(")");
  return { name: text.slice(open + 1, close), fields: text.slice(close + 2).trim().split(" ") };
}

/** `null` when the process has ended, and on systems without /proc. */
function readIfThere(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    // A process that ends while its file is read answers ESRCH.
    if (
      error instanceof Deno.errors.NotFound ||
      (error instanceof Error && "code" in error && error.code === "ESRCH")
    ) {
      return null;
    }
    throw error;
  }
}
