import { type Bench, BenchError, type Scenario } from "../bench.ts";
import type { ServerPlace } from "../server_process.ts";
import { makeDataFolder } from "../bench_cluster.ts";
import type { Figure } from "../report.ts";

const RUNS = 5;

/** From the start of the process to the first 200 of `/readyz`; packages cached, page bundled. */
export const start: Scenario = {
  name: "start",
  about:
    `process start to /readyz: migrated database, empty DATA_DIR, empty external database; median of ${RUNS}`,
  async run(bench: Bench) {
    const time = async (place: ServerPlace) => {
      await using server = await bench.startServer(place);
      return server.startMs;
    };
    await using folder = await makeDataFolder(bench.cleanup);
    const own = { databaseUrl: null, dataDir: folder.path };
    // Not counted: it makes the database, and bundles the page where that was not done yet.
    await time(own);
    bench.report(figureOf("own database, migrated", 1_000, await repeat(() => time(own))));

    const empty = await repeat(async () => {
      await using folder = await makeDataFolder(bench.cleanup);
      return await time({ databaseUrl: null, dataDir: folder.path });
    });
    bench.report(figureOf("own database, DATA_DIR empty", 3_000, empty));

    await using database = await bench.cluster.createDatabase();
    await time({ databaseUrl: database.url });
    const migrated = await repeat(() => time({ databaseUrl: database.url }));
    bench.report(figureOf("external database, migrated", 1_000, migrated));

    const external = await repeat(async () => {
      await using database = await bench.cluster.createDatabase();
      return await time({ databaseUrl: database.url });
    });
    bench.report(figureOf("external database, empty", 2_500, external));
  },
};

async function repeat(once: () => Promise<number>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) times.push(await once());
  return times.sort((a, b) => a - b);
}

function figureOf(what: string, atMost: number, times: readonly number[]): Figure {
  const median = times[times.length >> 1];
  if (median === undefined) throw new BenchError("No start was measured.");
  return {
    scenario: "start",
    what,
    value: median,
    unit: "ms",
    target: { atMost },
    notes: [`median of ${times.length}`, `${times[0]!.toFixed(0)} to ${times.at(-1)!.toFixed(0)} ms`],
  };
}
