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

/** Time spent in one function itself, without what it called. */
export interface SelfTime {
  /** Name, and file and line where there is one. */
  readonly place: string;
  readonly us: number;
  /** Of the time in which something ran. */
  readonly share: number;
}

const ROOT = new URL("../../", import.meta.url).href;
/** Pseudo-functions that stand for waiting. */
const WAITING = ["(idle)", "(root)"];

/** The functions of a profile with the most time of their own, the largest first. */
export async function readSelfTimes(folder: string, most: number): Promise<readonly SelfTime[]> {
  const times = new Map<string, number>();
  let busyUs = 0;
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.name.endsWith(".cpuprofile")) continue;
    const profile = JSON.parse(await Deno.readTextFile(`${folder}/${entry.name}`)) as CpuProfile;
    const places = new Map(profile.nodes.map((node) => [node.id, placeOf(node.callFrame)]));
    profile.samples.forEach((id, i) => {
      const place = places.get(id) ?? "(unknown)";
      const us = profile.timeDeltas[i] ?? 0;
      if (WAITING.includes(place)) return;
      times.set(place, (times.get(place) ?? 0) + us);
      busyUs += us;
    });
  }
  return [...times].sort(([, a], [, b]) => b - a).slice(0, most)
    .map(([place, us]) => ({ place, us, share: us / busyUs }));
}

function placeOf(frame: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
  if (frame.url === "") return name;
  const file = frame.url.startsWith(ROOT)
    ? frame.url.slice(ROOT.length)
    : frame.url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, "…/");
  return `${name} ${file}:${frame.lineNumber + 1}`;
}
