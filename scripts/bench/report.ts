/** Figures as lines, on the terminal and in RESULTS.md. */
import type { CpuUse } from "./cpu_time.ts";
import type { Percentiles } from "./histogram.ts";
import { type Conditions, describeConditions } from "./conditions.ts";

/** One measured number. */
export interface Figure {
  readonly scenario: string;
  /** What was measured, without the unit. */
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What it should be; none where the number stands for itself. */
  readonly target?: { readonly atLeast: number } | { readonly atMost: number };
  /** Conditions and further numbers of this figure alone. */
  readonly notes: readonly string[];
}

const RESULTS = new URL("./RESULTS.md", import.meta.url);

/** A figure as one line. */
export function describeFigure(figure: Figure): string {
  const { scenario, what, value, unit, target, notes } = figure;
  const parts = [`${scenario.padEnd(10)}  ${what}: ${formatNumber(value)} ${unit}`];
  if (target !== undefined) {
    const [sign, bound, met] = "atLeast" in target
      ? ["≥", target.atLeast, value >= target.atLeast] as const
      : ["≤", target.atMost, value <= target.atMost] as const;
    parts.push(`target ${sign} ${formatNumber(bound)} ${met ? "met" : "MISSED"}`);
  }
  return [...parts, ...notes].join(" · ");
}

/** As in `ack p50 3.1 p99 9.8 max 20.4 ms`. */
export function describeTimes(name: string, times: Percentiles): string {
  const { p50, p99, max } = times;
  return `${name} p50 ${formatNumber(p50)} p99 ${formatNumber(p99)} max ${formatNumber(max)} ms`;
}

/** As in `CPU µs/message server 52 Postgres 38 load 17, others 2 % of the machine`. */
export function describeCpu(unit: string, { each, othersShare }: CpuUse): string {
  const show = (name: string, us: number | null) =>
    `${name} ${us === null ? "not measured" : formatNumber(us)}`;
  const others = othersShare === null ? "" : `, others ${formatNumber(othersShare * 100)} % of the machine`;
  return `CPU µs/${unit} ${show("server", each.server)} ${show("Postgres", each.postgres)} ${
    show("load", each.load)
  }${others}`;
}

/** Three significant digits, or the whole number with commas. */
export function formatNumber(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: digits });
}

/** Appends a run to RESULTS.md. */
export async function recordResults(
  conditions: Conditions,
  settings: readonly string[],
  figures: readonly Figure[],
): Promise<void> {
  const heading = `## ${conditions.startedAt.slice(0, 10)}, commit ${conditions.commit}`;
  const about = [...describeConditions(conditions), ...settings].map((line) => `- ${line}`);
  const lines = figures.map((figure) => `    ${describeFigure(figure)}`);
  const section = `\n${heading}\n\n${about.join("\n")}\n\n${lines.join("\n")}\n`;
  await Deno.writeTextFile(RESULTS, section, { append: true });
}
