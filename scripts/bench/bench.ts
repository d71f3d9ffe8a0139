import type { BenchCluster } from "./bench_cluster.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Figure } from "./report.ts";
import type { ServerPlace, ServerProcess } from "./server_process.ts";

/** What a scenario is given. */
export interface Bench {
  readonly cluster: BenchCluster;
  readonly settings: BenchSettings;
  readonly cleanup: Cleanup;
  /**
   * A server, on a database of its own in the cluster unless a place is given; with `--profile` under the profiler.
   * What `--set` says goes before `env`.
   */
  startServer(place?: ServerPlace, env?: Readonly<Record<string, string>>): Promise<ServerProcess>;
  /** Prints a figure and keeps it for the record. */
  report(figure: Figure): void;
}

/** What can be set on the command line. */
export interface BenchSettings {
  /** How long each rate or load is measured. */
  readonly seconds: number;
  /** Virtual users of `one-to-one` and `latency`. */
  readonly users: number;
  /** Messages each user of `one-to-one` has under way. */
  readonly window: number;
  /** Messages a second that `latency` offers; `null` for its usual three rates. */
  readonly rate: number | null;
  /** Bytes of message text. */
  readonly bodyBytes: number;
}

/** Something that can be measured. */
export interface Scenario {
  readonly name: string;
  /** One sentence for `--help`. */
  readonly about: string;
  run(bench: Bench): Promise<void>;
}

/** A run whose figures would mean nothing: messages were lost, doubled or refused. */
export class BenchError extends Error {
  override readonly name = "BenchError";
}
