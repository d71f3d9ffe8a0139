/** A run of the fuzzer: a server of its own, many connections at a time, and what must be true afterwards. */
import assert from "node:assert/strict";
import { readConfig } from "../../config.ts";
import { createLogin } from "../admin.ts";
import { type BrokerProcess, type LogLine, startBrokerProcess } from "../broker_process.ts";
import { type Door, DOORS } from "../mqtt_client.ts";
import { Bystander } from "./bystander.ts";
import type { Login } from "./packets.ts";
import { type Plan, planConnection, type PlanRules } from "./plan.ts";
import { play, type Ports } from "./play.ts";

/** How long to go on, and with what. */
export interface CampaignOptions {
  readonly seed: number;
  readonly doors: readonly Door[];
  /** Ends when so many changed packets were sent; null: at the end of `seconds`. */
  readonly packets: number | null;
  readonly seconds: number | null;
  /** Plays this connection alone. */
  readonly only: number | null;
  /** Hears how it goes on. */
  readonly tell: (line: string) => void;
}

/** What a run has seen. */
export interface CampaignReport {
  readonly seconds: number;
  readonly connections: number;
  readonly packets: number;
  readonly mutated: number;
  /** Messages the bystanders got through meanwhile. */
  readonly trips: number;
  /** Resident memory of the server after it has warmed up and at the end, in bytes. */
  readonly warmBytes: number;
  readonly endBytes: number;
  /** How far the packets got, by the names of the metrics. */
  readonly figures: ReadonlyMap<string, number>;
  /** Lines of the server's log by level and event. */
  readonly log: ReadonlyMap<string, number>;
}

const AT_A_TIME = 48;
const USERS = 24;
/** What a server may keep is bounded by settings: here so small that every one of them is met. */
const SETTINGS = {
  MAX_PERSISTENT_SESSIONS: "12",
  MAX_SESSION_EXPIRY_SECONDS: "5",
  MAX_QUEUED_MESSAGES: "50",
  MAX_RETAINED_PER_FILTER: "100",
  MAX_RETAINED_BYTES: "100000",
  // The runtime holds a WebSocket whose peer just left until the next look at silent ones.
  IDLE_TIMEOUT_SECONDS: "10",
};
/** Metrics that tell how far the packets got. */
const FIGURES = [
  "connects_failed",
  "connections_taken_over",
  "protocol_errors",
  "requests",
  "published",
  "delivered",
  "dropped",
].map((name) => `hearth_${name}_total`);
/** Memory counts as flat up to this. The collector takes its time, so a part may come on top. */
const MOST_GROWTH = 1.25;
const MOST_GROWTH_BYTES = 32 * 1024 * 1024;
/** How long leftovers may take to go: wills, sessions and sockets that nobody closed. */
const QUIET_MS = 20_000;

/** Runs it; throws what no server may do, with what led to it. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  await using server = await startBrokerProcess(SETTINGS);
  const logins = await createLogins(server);
  const campaign = new Campaign(options, server, logins);
  const report = await campaign.run();
  assert.equal(await server.stop(), 0, "the server ends as it should");
  campaign.checkLog();
  return report;
}

async function createLogins(server: BrokerProcess): Promise<Login[]> {
  const logins: Login[] = [];
  for (let i = 0; i < USERS; i++) {
    const [userId, clientId] = [`user-${i}`, `client-${i}`];
    logins.push({ userId, clientId, token: await createLogin(server, userId, clientId) });
  }
  return logins;
}

class Campaign {
  readonly #options: CampaignOptions;
  readonly #server: BrokerProcess;
  readonly #rules: PlanRules;
  readonly #ports: Ports;
  readonly #open = new Set<Plan>();
  /** The last that ended: a fault may be told a little later. */
  #ended: Plan[] = [];
  #next = 0;
  #connections = 0;
  #packets = 0;
  #mutated = 0;
  #failure: Error | null = null;
  readonly #samples: number[] = [];
  #isOver = false;

  constructor(options: CampaignOptions, server: BrokerProcess, logins: readonly Login[]) {
    this.#options = options;
    this.#server = server;
    const { seed, doors } = options;
    this.#rules = { seed, doors, logins, limits: readConfig(SETTINGS).limits };
    this.#ports = { tcp: server.tcpPort, webSocket: Number(new URL(server.url).port) };
    server.onLine = (line) => this.#hearLine(line);
  }

  async run(): Promise<CampaignReport> {
    const { seconds, only, packets, tell } = this.#options;
    const startedAtMs = performance.now();
    const bystanders = await Promise.all(
      DOORS.map((door, i) => Bystander.start(this.#server, door, i === 0 ? 5 : 4)),
    );
    const isDone = () =>
      this.#failure !== null || bystanders.some(({ failure }) => failure !== null) ||
      (only !== null && this.#connections > 0) ||
      (packets !== null && this.#mutated >= packets) ||
      (seconds !== null && performance.now() - startedAtMs >= seconds * 1_000);
    const watch = this.#watch(tell);
    await Promise.all(Array.from({ length: only === null ? AT_A_TIME : 1 }, () => this.#work(isDone)));
    this.#isOver = true;
    await watch;
    if (this.#failure !== null) throw this.#failure;
    await this.#settle(bystanders.length);
    const trips = await Promise.all(bystanders.map((bystander) => bystander.stop()));
    await this.#checkHealth();
    this.checkLog();
    const memory = this.#memory();
    const { warmBytes, endBytes } = memory;
    const most = warmBytes * MOST_GROWTH + MOST_GROWTH_BYTES;
    assert.ok(endBytes <= most, `memory grew from ${toMb(warmBytes)} to ${toMb(endBytes)} MB`);
    return {
      seconds: (performance.now() - startedAtMs) / 1_000,
      ...{ connections: this.#connections, packets: this.#packets, mutated: this.#mutated },
      trips: trips.reduce((sum, count) => sum + count, 0),
      ...memory,
      figures: new Map(
        await Promise.all(FIGURES.map(async (name) => [name, await this.#server.figure(name)] as const)),
      ),
      log: countLines(this.#server.lines),
    };
  }

  async #work(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      const plan = planConnection(this.#rules, this.#options.only ?? this.#next++);
      this.#open.add(plan);
      try {
        await play(plan, this.#ports);
      } catch (cause) {
        this.#fail(`connection ${plan.number}: ${(cause as Error).message}`, [plan], cause);
      }
      this.#open.delete(plan);
      this.#ended = [...this.#ended.slice(-AT_A_TIME), plan];
      this.#connections++;
      this.#packets += plan.packets.length;
      this.#mutated += plan.mutated;
    }
  }

  /** Looks at the memory once a second. */
  async #watch(tell: (line: string) => void): Promise<void> {
    for (let seconds = 1; !this.#isOver; seconds++) {
      await new Promise((resume) => setTimeout(resume, 1_000));
      this.#samples.push(await this.#server.figure("process_resident_memory_bytes"));
      if (seconds % 10 === 0) {
        tell(`${seconds} s: ${this.#mutated} changed packets, ${toMb(this.#samples.at(-1)!)} MB`);
      }
    }
  }

  /** Waits until nobody is connected but the bystanders. */
  async #settle(bystanders: number): Promise<void> {
    const names = ["hearth_connections", "hearth_connections_unauthenticated"];
    const deadline = performance.now() + QUIET_MS;
    for (;;) {
      const left = await Promise.all(names.map((name) => this.#server.figure(name)));
      if (left[0] === bystanders && left[1] === 0) return;
      assert.ok(performance.now() < deadline, `connections are left over: ${left}`);
      await new Promise((resume) => setTimeout(resume, 100));
    }
  }

  async #checkHealth(): Promise<void> {
    const answer = await fetch(`${this.#server.url}/healthz`);
    await answer.body?.cancel();
    assert.equal(answer.status, 200);
  }

  /** Its second quarter against its last one: the first warms it up, and a single look may meet the collector. */
  #memory(): { readonly warmBytes: number; readonly endBytes: number } {
    const quarter = Math.max(1, this.#samples.length >> 2);
    const mean = (samples: readonly number[]) =>
      samples.reduce((sum, sample) => sum + sample, 0) / Math.max(1, samples.length);
    return {
      warmBytes: mean(this.#samples.slice(quarter, 2 * quarter)),
      endBytes: mean(this.#samples.slice(-quarter)),
    };
  }

  #hearLine(line: LogLine): void {
    if (line.level !== "error") return;
    const suspects = [...this.#open, ...this.#ended];
    const named = suspects.filter(({ clientId }) => clientId !== "" && clientId === line.clientId);
    this.#fail(`the server failed: ${JSON.stringify(line)}`, named.length > 0 ? named : suspects, null);
  }

  #fail(message: string, plans: readonly Plan[], cause: unknown): void {
    this.#failure ??= new Error(`${message}\n${plans.map(describe).join("\n")}`, { cause });
  }

  /** Throws when a line of the log tells of a fault of the server. */
  checkLog(): void {
    if (this.#failure !== null) throw this.#failure;
    assert.deepEqual(this.#server.lines.filter(({ level }) => level === "error"), []);
  }
}

function describe({ number, door, level, end, packets }: Plan): string {
  const shown = packets.map((bytes) => `  ${bytes.toHex()}`).join("\n");
  return `connection ${number}: ${door}, level ${level}, ${end}\n${shown}`;
}

function countLines(lines: readonly LogLine[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { level, event } of lines) {
    const key = `${level} ${event}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** Megabytes, as they are printed. */
export function toMb(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
