/** Reads V8 CPU profiles, as `deno run --cpu-prof` writes them. */

/** The part of the format that is read; the times are microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Time spent in one place itself, without what it called. */
export interface SelfTime {
  readonly place: string;
  readonly ms: number;
  /** Of the time in which something ran. */
  readonly share: number;
}

/** Where a thread spent its time, the largest part first. */
export interface SelfTimes {
  readonly byFile: readonly SelfTime[];
  readonly byFunction: readonly SelfTime[];
}

const ROOT = new URL("../../", import.meta.url).href;
/** Pseudo-functions that stand for waiting. */
const WAITING = ["(idle)", "(root)"];

/** Reads the profiles in a folder. */
export async function readSelfTimes(folder: string): Promise<SelfTimes> {
  const byFile = new Map<string, number>(), byFunction = new Map<string, number>();
  let busyUs = 0;
  const add = (times: Map<string, number>, place: string, us: number) => {
    times.set(place, (times.get(place) ?? 0) + us);
  };
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.name.endsWith(".cpuprofile")) continue;
    const profile = JSON.parse(await Deno.readTextFile(`${folder}/${entry.name}`)) as CpuProfile;
    const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
    profile.samples.forEach((id, i) => {
      const { functionName, url, lineNumber } = frames.get(id)!;
      if (WAITING.includes(functionName)) return;
      const us = profile.timeDeltas[i] ?? 0;
      const name = functionName === "" ? "(anonymous)" : functionName;
      const file = fileOf(url);
      busyUs += us;
      add(byFile, file === "" ? name : file, us);
      add(byFunction, file === "" ? name : `${name} ${file}:${lineNumber + 1}`, us);
    });
  }
  const largestFirst = (times: Map<string, number>) =>
    [...times].sort(([, a], [, b]) => b - a).map(([place, us]) => ({
      place,
      ms: us / 1_000,
      share: us / busyUs,
    }));
  return { byFile: largestFirst(byFile), byFunction: largestFirst(byFunction) };
}

/** Files of ours by their path, packages by name and file, the runtime by its module; "" for native functions. */
function fileOf(url: string): string {
  if (url.startsWith(ROOT)) return url.slice(ROOT.length);
  const npm = /\/npm\/registry\.npmjs\.org\/((?:@[^/]+\/)?[^/]+)\/[^/]+\/(.+)$/.exec(url);
  return npm === null ? url : `npm:${npm[1]}/${npm[2]}`;
}
