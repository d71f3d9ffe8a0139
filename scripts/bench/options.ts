/** The command line of the benchmark. */
import type { BenchSettings, Scenario } from "./bench.ts";

/** What was asked for. */
export interface Options {
  readonly scenarios: readonly Scenario[];
  readonly settings: BenchSettings;
  readonly repeat: number;
  readonly record: boolean;
  readonly profile: boolean;
  /** Settings of the server, as in its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** A word on the command line that means nothing; the message says what does. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const DEFAULTS: BenchSettings = { seconds: 10, users: 200, window: 4, rate: null, bodyBytes: 100 };

/** What `--help` prints. */
export function helpText(scenarios: readonly Scenario[]): string {
  const width = Math.max(...scenarios.map(({ name }) => name.length));
  return [
    "deno task bench [scenario…] [options]",
    "",
    "Measures Hearth over loopback: starts its own server on its own Postgres, or on the one at DATABASE_URL, where it",
    "makes databases of its own and drops them. Without names every scenario runs, each for about a minute.",
    "",
    ...scenarios.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`),
    "",
    `  --seconds=N       how long each load is measured; beside peers, in three turns of a tenth (${DEFAULTS.seconds})`,
    `  --users=N         virtual users of one-to-one and latency, in pairs (${DEFAULTS.users})`,
    `  --window=N        messages each user of one-to-one has under way, 1 to 30 (${DEFAULTS.window})`,
    "  --rate=N          messages a second that latency offers, instead of its three rates",
    `  --body=N          bytes of text in a message (${DEFAULTS.bodyBytes})`,
    "  --repeat=N        run everything N times, one scenario after the other (1)",
    "  --set=NAME=VALUE  a setting of the server, as in its environment; may be given more than once",
    "  --profile         run the server under V8's profiler and print where its time goes; it is slower then",
    "  --record          append the figures to scripts/bench/RESULTS.md",
    "",
    "Exit code 1 when a message was lost, doubled, out of order or refused; a missed target is only printed.",
  ].join("\n");
}

/** @throws UsageError */
export function readOptions(args: readonly string[], known: readonly Scenario[]): Options {
  const settings = { ...DEFAULTS };
  const scenarios: Scenario[] = [];
  const env: Record<string, string> = {};
  const options = { repeat: 1, record: false, profile: false };
  for (const arg of args) {
    const [, option, value] = /^--([a-z]+)(?:=(.*))?$/.exec(arg) ?? [];
    const count = (least: number, most: number) => countOf(option ?? arg, value, least, most);
    if (option === undefined && !arg.startsWith("-")) scenarios.push(scenarioOf(arg, known));
    else if (option === "seconds") settings.seconds = count(1, 600);
    else if (option === "users") settings.users = 2 * Math.ceil(count(2, 2_000) / 2);
    else if (option === "window") settings.window = count(1, 30);
    else if (option === "rate") settings.rate = count(1, 100_000);
    else if (option === "body") settings.bodyBytes = count(1, 60_000);
    else if (option === "repeat") options.repeat = count(1, 100);
    else if (option === "record" && value === undefined) options.record = true;
    else if (option === "profile" && value === undefined) options.profile = true;
    else if (option === "set" && value !== undefined && /^[A-Z_]+=/.test(value)) {
      const equals = value.indexOf("=");
      env[value.slice(0, equals)] = value.slice(equals + 1);
    } else throw new UsageError(`${arg} means nothing here; --help shows what there is.`);
  }
  return { ...options, settings, env, scenarios: scenarios.length === 0 ? known : scenarios };
}

/** What differs from the defaults, for the record. */
export function describeOptions(options: Options): readonly string[] {
  const changed = Object.entries(options.env).map(([name, value]) => `${name}=${value}`);
  if (options.profile) changed.push("under the profiler");
  return changed.length === 0 ? [] : [`server with ${changed.join(" ")}`];
}

function scenarioOf(name: string, known: readonly Scenario[]): Scenario {
  const scenario = known.find((scenario) => scenario.name === name);
  if (scenario !== undefined) return scenario;
  throw new UsageError(
    `There is no scenario ${name}; there are ${known.map(({ name }) => name).join(", ")}.`,
  );
}

function countOf(option: string, value: string | undefined, least: number, most: number): number {
  const given = Number(value ?? NaN);
  if (Number.isInteger(given) && given >= least && given <= most) return given;
  throw new UsageError(
    `--${option} takes a whole number from ${least} to ${most}, as in --${option}=${least}.`,
  );
}
