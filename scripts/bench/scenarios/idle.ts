import { type Bench, BenchError, type Scenario } from "../bench.ts";
import { readKernelSlabKib, readMemoryKib } from "../cpu_time.ts";
import { type Account, createAccounts, inParallel, LoadClient } from "../load_client.ts";
import { formatNumber } from "../report.ts";
import { type Door, DOOR_NAMES, openDoors } from "../server_doors.ts";

/** Connections at which memory is read; the first step carries what is paid once. */
const STEPS = [2_000, 4_000, 6_000, 8_000, 10_000] as const;
/** Files besides the sockets: the runtime, KV, the database's connections. */
const OTHER_FILES = 200;
const READ_BYTES = 512;
/** V8 collects an idle heap some seconds after the last work. */
const SETTLE_MS = 3_000;
const SETTLE_LIMIT_MS = 12_000;
/** Memory counts as settled when a second changes it by less than this share. */
const SETTLED_SHARE = 0.002;

interface Reading {
  readonly connections: number;
  readonly rssKib: number;
  readonly slabKib: number | null;
}

/** Memory of a connection that is logged in, subscribed and silent: the slope, so that what is paid once is out. */
export const idle: Scenario = {
  name: "idle",
  about: "memory per idle connection: authenticated and subscribed, 2,000 to 10,000 of them (Linux)",
  run: (bench) => measure(bench, "native"),
};

/** The same by the door whose WebSockets are in JavaScript. */
export const idleWs: Scenario = {
  name: "idle-ws",
  about: "the same over MQTT_WS_PORT",
  run: (bench) => measure(bench, "ws"),
};

async function measure(bench: Bench, door: Door): Promise<void> {
  const most = largestStep();
  await using doors = await openDoors(bench);
  const { server } = doors;
  const began = performance.now();
  const accounts = await createAccounts(server, "idle-", most);
  const madeMs = performance.now() - began;
  const clients: LoadClient[] = [];
  const lost: string[] = [];
  try {
    const readings: Reading[] = [];
    let connectMs = 0;
    for (const step of STEPS.filter((step) => step <= most)) {
      const before = performance.now();
      const joining = accounts.slice(clients.length, step);
      clients.push(...await inParallel(joining.length, (i) => connect(doors.urls[door], joining[i]!, lost)));
      connectMs += performance.now() - before;
      readings.push(await readSettled(server.pid, step));
    }
    if (lost.length > 0) throw new BenchError(`${lost.length} idle connections were lost: ${lost[0]}.`);
    report(bench, door, readings, {
      usersPerSecond: most / madeMs * 1_000,
      connectsPerSecond: most / connectMs * 1_000,
    });
  } finally {
    for (const client of clients) client.close();
  }
}

/** Each process holds one end of every connection. */
function largestStep(): number {
  const match = /^Max open files\s+\d+\s+(\d+)/m.exec(Deno.readTextFileSync("/proc/self/limits"));
  const limit = match === null ? Infinity : Number(match[1]);
  const most = STEPS.findLast((step) => step + OTHER_FILES <= limit);
  if (most === undefined || most === STEPS[0]) {
    throw new BenchError(
      `A process may have ${limit} files open here, too few; raise the hard limit: ulimit -Hn 65536.`,
    );
  }
  if (most < STEPS.at(-1)!) {
    console.log(
      `A process may have ${limit} files open here: measuring up to ${most} connections instead of 10,000.`,
    );
  }
  return most;
}

async function connect(wsUrl: string, account: Account, lost: string[]): Promise<LoadClient> {
  return await LoadClient.connect({
    wsUrl,
    account,
    readBytes: READ_BYTES,
    observer: { acknowledged() {}, reply() {}, event() {}, lost: (reason) => lost.push(reason) },
  });
}

/** Waits until the collector has been, as seen by memory that stands still. */
async function readSettled(pid: number, connections: number): Promise<Reading> {
  const limit = performance.now() + SETTLE_LIMIT_MS;
  await new Promise((resume) => setTimeout(resume, SETTLE_MS));
  for (let former = requireRss(pid);;) {
    await new Promise((resume) => setTimeout(resume, 1_000));
    const rssKib = requireRss(pid);
    if (Math.abs(rssKib - former) < former * SETTLED_SHARE || performance.now() > limit) {
      return { connections, rssKib, slabKib: readKernelSlabKib() };
    }
    former = rssKib;
  }
}

function requireRss(pid: number): number {
  const rssKib = readMemoryKib(pid, "VmRSS");
  if (rssKib === null) throw new BenchError("The server's memory cannot be read: this scenario needs Linux.");
  return rssKib;
}

function report(
  bench: Bench,
  door: Door,
  readings: readonly Reading[],
  speed: { readonly usersPerSecond: number; readonly connectsPerSecond: number },
): void {
  const [first, last] = [readings[0]!, readings.at(-1)!];
  const slab = readings.every((reading) => reading.slabKib !== null)
    ? slopeOf(readings.map(({ connections, slabKib }) => [connections, slabKib!]))
    : null;
  bench.report({
    scenario: door === "native" ? idle.name : idleWs.name,
    what: `resident memory per idle connection, ${first.connections} to ${last.connections}, ${
      DOOR_NAMES[door]
    }`,
    value: slopeOf(readings.map(({ connections, rssKib }) => [connections, rssKib])),
    unit: "KiB",
    ...door === "native" && { target: { atMost: 28 } },
    notes: [
      `server ${
        readings.map((reading) => `${formatNumber(reading.rssKib / 1024)} MiB at ${reading.connections}`)
          .join(", ")
      }`,
      `kernel apart: ${slab === null ? "not measured" : `${formatNumber(slab)} KiB of slab for both ends`}`,
      `made ${formatNumber(speed.usersPerSecond)} users with a login a second, ` +
      `connected ${formatNumber(speed.connectsPerSecond)} a second`,
      "least-squares slope",
    ],
  });
}

/** The slope of the straight line with the least squared distance to the points. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  let above = 0, below = 0;
  for (const [x, y] of points) {
    above += (x - meanX) * (y - meanY);
    below += (x - meanX) ** 2;
  }
  return above / below;
}
