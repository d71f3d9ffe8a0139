import type { Bench, Scenario } from "../bench.ts";
import { reach } from "../clock.ts";
import { cpuUse, readCpu } from "../cpu_time.ts";
import { PairTraffic } from "../pair_traffic.ts";
import { describeCpu, describeTimes } from "../report.ts";
import { describeFlushes, readFlushes } from "../server_flushes.ts";
import type { ServerProcess } from "../server_process.ts";

const WARM_UP_MS = 4_000;

/** How many messages a second the whole path stores, acknowledges and delivers. */
export const oneToOne: Scenario = {
  name: "one-to-one",
  about:
    "messages sent and received, stored before the PUBACK, recipients online, as many as fit (closed loop)",
  async run(bench: Bench) {
    await using server = await bench.startServer();
    const traffic = await PairTraffic.open(bench, server);
    try {
      await measure(bench, traffic, server);
    } finally {
      traffic.close();
    }
  },
};

async function measure(bench: Bench, traffic: PairTraffic, server: ServerProcess): Promise<void> {
  const processes = { serverPid: server.pid, postmasterPid: bench.cluster.postmasterPid };
  const { seconds, users, window, bodyBytes } = bench.settings;
  const beginAt = performance.now() + WARM_UP_MS;
  const endAt = beginAt + seconds * 1_000;
  traffic.measure(beginAt, endAt);
  traffic.onDone = (user) => {
    const now = performance.now();
    if (now < endAt) user.send(now);
  };
  for (const user of traffic.users) {
    for (let i = 0; i < window; i++) user.send(performance.now());
  }
  await reach(beginAt);
  traffic.check();
  const before = { cpu: readCpu(processes), done: traffic.done, flushes: await readFlushes(server) };
  await reach(endAt);
  const after = { cpu: readCpu(processes), done: traffic.done, flushes: await readFlushes(server) };
  await traffic.drain();
  bench.report({
    scenario: "one-to-one",
    what: "sent and received, stored before ack",
    value: traffic.done / seconds,
    unit: "msg/s",
    target: { atLeast: 8_000 },
    notes: [
      describeTimes("ack", traffic.acknowledge.percentiles()),
      describeTimes("send to receive", traffic.receive.percentiles()),
      describeCpu("message", cpuUse(after.done - before.done, before.cpu, after.cpu)),
      describeFlushes(before.flushes, after.flushes),
      `${users} senders, ${users} receivers, ${window} under way each`,
      `${bodyBytes} bytes of text, QoS 1 both ways`,
    ],
  });
}
