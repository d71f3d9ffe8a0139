import type { Bench, Scenario } from "../bench.ts";
import { reach } from "../clock.ts";
import { cpuUse, readCpu } from "../cpu_time.ts";
import { Histogram } from "../histogram.ts";
import { PairTraffic } from "../pair_traffic.ts";
import { describeCpu, describeTimes, type Figure } from "../report.ts";
import { describeFlushes, readFlushes } from "../server_flushes.ts";
import type { ServerProcess } from "../server_process.ts";

/** Messages a second offered, and the p99 from sending to receiving that is wanted there. */
const RATES: readonly { readonly perSecond: number; readonly p99Ms?: number }[] = [
  { perSecond: 500 },
  { perSecond: 2_000, p99Ms: 20 },
  { perSecond: 5_000 },
];
const WARM_UP_MS = 3_000;
const TICK_MS = 1;

/**
 * Latency at fixed rates. The loop is open: a message is due at its time whatever became of those before it, and its
 * latency counts from then, so that a stall shows in every message it held up.
 */
export const latency: Scenario = {
  name: "latency",
  about: "send to receive at 500, 2,000 and 5,000 msg/s, counted from when each message was due (open loop)",
  async run(bench: Bench) {
    await using server = await bench.startServer();
    const traffic = await PairTraffic.open(bench, server);
    try {
      const { rate } = bench.settings;
      const rates = rate === null ? RATES : [{ perSecond: rate }];
      for (const rate of rates) await measure(bench, traffic, rate, server);
    } finally {
      traffic.close();
    }
  },
};

async function measure(
  bench: Bench,
  traffic: PairTraffic,
  rate: { readonly perSecond: number; readonly p99Ms?: number },
  server: ServerProcess,
): Promise<void> {
  const processes = { serverPid: server.pid, postmasterPid: bench.cluster.postmasterPid };
  const { seconds, users, bodyBytes } = bench.settings;
  const startAt = performance.now();
  const beginAt = startAt + WARM_UP_MS;
  const endAt = beginAt + seconds * 1_000;
  traffic.measure(beginAt, endAt);
  const late = new Histogram();
  const sending = sendOnTime(traffic, { perSecond: rate.perSecond, startAt, beginAt, endAt }, late);
  await reach(beginAt);
  const before = { cpu: readCpu(processes), flushes: await readFlushes(server) };
  await reach(endAt);
  const after = { cpu: readCpu(processes), flushes: await readFlushes(server) };
  await sending;
  await traffic.drain();
  const receive = traffic.receive.percentiles();
  const figure = (what: string, value: number, target?: Figure["target"]): Figure => ({
    scenario: "latency",
    what: `${what} at ${rate.perSecond.toLocaleString("en-US")} msg/s offered`,
    value,
    unit: "ms",
    ...target && { target },
    notes: [
      describeTimes("send to receive", receive),
      describeTimes("ack", traffic.acknowledge.percentiles()),
      describeFlushes(before.flushes, after.flushes),
      `generator late p99 ${late.quantile(0.99).toFixed(1)} ms (included)`,
      describeCpu("message", cpuUse(receive.count, before.cpu, after.cpu)),
      `${
        receive.count.toLocaleString("en-US")
      } messages, ${users} senders and receivers, ${bodyBytes} bytes of text`,
    ],
  });
  bench.report(figure("p99", receive.p99, rate.p99Ms === undefined ? undefined : { atMost: rate.p99Ms }));
}

/** Sends message n at `startAt` + n / rate, the users taking turns. */
async function sendOnTime(
  traffic: PairTraffic,
  plan: {
    readonly perSecond: number;
    readonly startAt: number;
    readonly beginAt: number;
    readonly endAt: number;
  },
  late: Histogram,
): Promise<void> {
  const { users } = traffic;
  const apartMs = 1_000 / plan.perSecond;
  let number = 0;
  let dueAt = plan.startAt;
  while (dueAt < plan.endAt) {
    const now = performance.now();
    for (; dueAt <= now && dueAt < plan.endAt; dueAt = plan.startAt + ++number * apartMs) {
      users[number % users.length]!.send(dueAt);
      if (dueAt >= plan.beginAt) late.record(now - dueAt);
    }
    traffic.check();
    await new Promise((resume) => setTimeout(resume, TICK_MS));
  }
}
