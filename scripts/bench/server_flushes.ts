/** What the server's commit pipeline has done, from its `/metrics`. */
import { BenchError } from "./bench.ts";
import { formatNumber } from "./report.ts";
import type { ServerProcess } from "./server_process.ts";

/** Counters since the start. */
export interface FlushCounts {
  readonly flushes: number;
  readonly flushSeconds: number;
  readonly stored: number;
  /** When they were read, as `performance.now()`. */
  readonly readAtMs: number;
}

/** Reads the counters. */
export async function readFlushes(server: ServerProcess): Promise<FlushCounts> {
  const response = await fetch(`${server.url}/metrics`);
  const text = await response.text();
  const counter = (name: string) => {
    const value = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
    if (value === undefined) throw new BenchError(`/metrics does not tell ${name}.`);
    return Number(value);
  };
  return {
    flushes: counter("hearth_flushes_total"),
    flushSeconds: counter("hearth_flush_seconds_total"),
    stored: counter("hearth_messages_stored_total"),
    readAtMs: performance.now(),
  };
}

/** As in `256 messages a flush of 14.1 ms, one under way 92 % of the time`. */
export function describeFlushes(before: FlushCounts, after: FlushCounts): string {
  const flushes = after.flushes - before.flushes;
  if (flushes === 0) return "no flush";
  const flushMs = (after.flushSeconds - before.flushSeconds) * 1_000;
  const share = flushMs / (after.readAtMs - before.readAtMs);
  return `${formatNumber((after.stored - before.stored) / flushes)} messages a flush of ${
    formatNumber(flushMs / flushes)
  } ms, one under way ${Math.round(share * 100)} % of the time`;
}
