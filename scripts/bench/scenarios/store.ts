import { type CommitPipeline, migrate } from "../../../store/mod.ts";
import type { Bench, Scenario } from "../bench.ts";
import { withSql } from "../bench_cluster.ts";
import { cpuUse, readCpu } from "../cpu_time.ts";
import { Histogram } from "../histogram.ts";
import { contentOf, openPipeline, storeMessage } from "../pipeline_load.ts";
import { describeCpu, describeTimes, formatNumber } from "../report.ts";
import { reach } from "../clock.ts";

const USERS = 1_000;
const IN_FLIGHT = [256, 1_000] as const;
const WARM_UP_MS = 2_000;

/** The commit pipeline alone: no broker, no sockets; what it takes to store a message. */
export const store: Scenario = {
  name: "store",
  about: "the commit pipeline alone: one-to-one messages, 256 and 1,000 in flight",
  async run(bench) {
    await using database = await bench.cluster.createDatabase();
    await withSql(database.url, async (sql) => {
      await migrate(sql, { messageShards: 128 });
      await sql`INSERT INTO t_user_timeline (uid, epoch)
        SELECT 'user-' || i, 'bench' FROM generate_series(0, ${USERS - 1}::int) i`;
    });
    const pipeline = openPipeline(database.url, { node: 1, canSend: () => true });
    try {
      for (const inFlight of IN_FLIGHT) await measure(bench, pipeline, inFlight);
    } finally {
      await pipeline.close();
    }
  },
};

async function measure(bench: Bench, pipeline: CommitPipeline, inFlight: number): Promise<void> {
  const { seconds, bodyBytes } = bench.settings;
  const contentJson = contentOf(bodyBytes);
  const processes = { serverPid: null, postmasterPid: bench.cluster.postmasterPid };
  const commit = new Histogram();
  const beginAt = performance.now() + WARM_UP_MS;
  const endAt = beginAt + seconds * 1_000;
  let made = 0;
  const keepSending = async () => {
    for (let sentAt = performance.now(); sentAt < endAt;) {
      // Neighbours write to each other, so every conversation has both directions.
      const number = made++, user = number % USERS;
      await storeMessage(pipeline, {
        from: `user-${user}`,
        to: `user-${user ^ 1}`,
        clientMessageId: `${inFlight}-${number}`,
        contentJson,
      });
      const now = performance.now();
      if (now >= beginAt && now < endAt) commit.record(now - sentAt);
      sentAt = now;
    }
  };
  const senders = Promise.all(Array.from({ length: inFlight }, keepSending));
  await reach(beginAt);
  const before = { cpu: readCpu(processes), stats: pipeline.stats };
  await reach(endAt);
  const after = { cpu: readCpu(processes), stats: pipeline.stats };
  await senders;
  const flushes = after.stats.flushes - before.stats.flushes;
  const cpu = cpuUse(commit.count, before.cpu, after.cpu);
  bench.report({
    scenario: "store",
    what: `one-to-one messages stored, ${inFlight} in flight`,
    value: commit.count / seconds,
    unit: "msg/s",
    target: { atLeast: 15_000 },
    notes: [
      describeTimes("commit", commit.percentiles()),
      `${Math.round(commit.count / flushes)} messages a flush of ${
        formatNumber((after.stats.flushMs - before.stats.flushMs) / flushes)
      } ms`,
      // The process that makes the load is the one that stores: both stand under "server".
      describeCpu("message", { ...cpu, each: { ...cpu.each, server: cpu.each.load, load: 0 } }),
      `${bodyBytes} bytes of text`,
      `${USERS} users`,
    ],
  });
}
