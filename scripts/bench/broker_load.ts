/** What a broker did in a span of time, and what it and the load took of the machine. */
import type { CpuReading, CpuUse } from "./cpu_time.ts";
import { cpuUse, readCpu } from "./cpu_time.ts";
import { reach } from "./clock.ts";
import type { Broker } from "./peers/broker.ts";
import { formatNumber } from "./report.ts";

/** A measured span. */
export interface BrokerSpan {
  /** Messages, or deliveries. */
  readonly perSecond: number;
  readonly cpu: CpuUse;
  /** Of one core, 0–1 and above with several threads; `null` where it cannot be read. */
  readonly brokerShare: number | null;
  readonly loadShare: number | null;
}

interface Reading {
  readonly atMs: number;
  readonly count: number;
  readonly cpu: CpuReading;
}

/** Measures what `count` counts while a load is on. */
export async function measureSpan(
  broker: Broker,
  count: () => number,
  times: { readonly warmUpMs: number; readonly spanMs: number },
): Promise<BrokerSpan> {
  const read = (): Reading => ({
    atMs: performance.now(),
    count: count(),
    cpu: readCpu({ serverPid: broker.pid, postmasterPid: null }),
  });
  await reach(performance.now() + times.warmUpMs);
  const before = read();
  await reach(before.atMs + times.spanMs);
  const after = read();
  const ms = after.atMs - before.atMs;
  const share = (name: "server" | "load") => {
    const [from, to] = [before.cpu[name], after.cpu[name]];
    return from === null || to === null ? null : (to - from) / 1_000 / ms;
  };
  return {
    perSecond: (after.count - before.count) / ms * 1_000,
    cpu: cpuUse(after.count - before.count, before.cpu, after.cpu),
    brokerShare: share("server"),
    loadShare: share("load"),
  };
}

/** The span in the middle, by rate. */
export function medianSpan(spans: readonly BrokerSpan[]): BrokerSpan {
  return spans.toSorted((a, b) => a.perSecond - b.perSecond)[spans.length >> 1]!;
}

/** As in `CPU µs/message broker 8.1 load 4.2, of a core 98 % and 51 %, others 0.6 % of the machine`. */
export function describeLoad(unit: string, span: BrokerSpan): string {
  const { brokerShare, loadShare, cpu: { each, othersShare } } = span;
  if (brokerShare === null || loadShare === null || each.server === null || each.load === null) {
    return "CPU not measured";
  }
  const percent = (share: number) => `${formatNumber(share * 100)} %`;
  const others = othersShare === null ? "" : `, others ${percent(othersShare)} of the machine`;
  return `CPU µs/${unit} broker ${formatNumber(each.server)} load ${formatNumber(each.load)}, ` +
    `of a core ${percent(brokerShare)} and ${percent(loadShare)}${others}`;
}
