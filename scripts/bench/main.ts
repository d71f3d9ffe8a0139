/**
 * `deno task bench [scenario…]`: measures on the real path, stops by itself, cleans up behind itself.
 *
 * The load comes from this process; the server under measurement is another, and so is Postgres.
 */
import { type Bench, BenchError, type Scenario } from "./bench.ts";
import { type BenchCluster, openCluster } from "./bench_cluster.ts";
import { Cleanup } from "./cleanup.ts";
import { describeConditions, readConditions } from "./conditions.ts";
import { readSelfTimes } from "./cpu_profile.ts";
import { describeOptions, helpText, type Options, readOptions, UsageError } from "./options.ts";
import { describeFigure, type Figure, recordResults } from "./report.ts";
import { catchUp } from "./scenarios/catch_up.ts";
import { hostileFrames } from "./scenarios/hostile_frames.ts";
import { idle, idleWs } from "./scenarios/idle.ts";
import { latency } from "./scenarios/latency.ts";
import { mqtt } from "./scenarios/mqtt.ts";
import { mqttFanOut } from "./scenarios/mqtt_fan_out.ts";
import { oneToOne } from "./scenarios/one_to_one.ts";
import { start } from "./scenarios/start.ts";
import { store } from "./scenarios/store.ts";
import { type ServerPlace, type ServerProcess, startServer } from "./server_process.ts";

const SCENARIOS: readonly Scenario[] = [
  ...[store, oneToOne, latency, idle, idleWs, start, catchUp],
  ...[mqtt, mqttFanOut, hostileFrames],
];
const PROFILED_FILES = 30;
const PROFILED_FUNCTIONS = 40;
/** What a shell reports of a program that Ctrl-C ended. */
const INTERRUPTED = 130;

/** What the scenarios of one run share. */
class Run implements Bench {
  readonly cluster: BenchCluster;
  readonly settings: Bench["settings"];
  readonly cleanup: Cleanup;
  readonly figures: Figure[] = [];
  readonly #options: Options;

  constructor(options: Options, cluster: BenchCluster, cleanup: Cleanup) {
    this.#options = options;
    this.settings = options.settings;
    this.cluster = cluster;
    this.cleanup = cleanup;
  }

  async startServer(
    place?: ServerPlace,
    ownEnv?: Readonly<Record<string, string>>,
  ): Promise<ServerProcess> {
    const { profile } = this.#options;
    const env = { ...ownEnv, ...this.#options.env };
    await using opened = new AsyncDisposableStack();
    const at = place ?? { databaseUrl: opened.use(await this.cluster.createDatabase()).url };
    let profileDir: string | null = null;
    if (profile) {
      const folder = profileDir = await Deno.makeTempDir({ prefix: "hearth-profile-" });
      opened.use(this.cleanup.add(() => Deno.remove(folder, { recursive: true })));
      opened.defer(() => printProfile(folder));
    }
    const server = opened.use(await startServer({ ...at, env, profileDir }, this.cleanup));
    const parts = opened.move();
    return { ...server, [Symbol.asyncDispose]: () => parts.disposeAsync() };
  }

  report(figure: Figure): void {
    this.figures.push(figure);
    console.log(describeFigure(figure));
  }
}

async function printProfile(folder: string): Promise<void> {
  const { byFile, byFunction } = await readSelfTimes(folder);
  console.log(
    "\nWhere the server's own thread spent its time, start and stop included, by file and by function:",
  );
  for (const times of [byFile.slice(0, PROFILED_FILES), byFunction.slice(0, PROFILED_FUNCTIONS)]) {
    for (const { place, ms, share } of times) {
      console.log(`  ${(share * 100).toFixed(1).padStart(5)} %  ${ms.toFixed(0).padStart(6)} ms  ${place}`);
    }
    console.log();
  }
}

async function measure(options: Options, cleanup: Cleanup): Promise<void> {
  const loadAverage = Deno.loadavg()[0]!;
  await using cluster = await openCluster(Deno.env.get("DATABASE_URL") || null, cleanup);
  const conditions = await readConditions(cluster, loadAverage);
  console.log([...describeConditions(conditions), ...describeOptions(options)].join("\n") + "\n");
  const run = new Run(options, cluster, cleanup);
  try {
    for (let time = 0; time < options.repeat; time++) {
      for (const scenario of options.scenarios) await scenario.run(run);
    }
  } finally {
    if (options.record && run.figures.length > 0) {
      await recordResults(conditions, describeOptions(options), run.figures);
    }
  }
}

async function main(): Promise<number> {
  if (Deno.args.includes("--help")) {
    console.log(helpText(SCENARIOS));
    return 0;
  }
  const cleanup = new Cleanup();
  let interrupted = false;
  const interrupt = async () => {
    if (interrupted) Deno.exit(INTERRUPTED);
    interrupted = true;
    console.error("Interrupted: stopping the server and the database.");
    await cleanup.closeAll();
    Deno.exit(INTERRUPTED);
  };
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) Deno.addSignalListener(signal, interrupt);
  try {
    await measure(readOptions(Deno.args, SCENARIOS), cleanup);
    return 0;
  } catch (error) {
    // What is being closed fails under the scenario that used it; the interruption ends the process.
    if (interrupted) await new Promise(() => {});
    if (error instanceof UsageError || error instanceof BenchError) console.error(error.message);
    else console.error(error);
    return error instanceof UsageError ? 2 : 1;
  } finally {
    if (!interrupted) await cleanup.closeAll();
  }
}

if (import.meta.main) Deno.exit(await main());
