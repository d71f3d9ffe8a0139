/** Brokers under one load, turn by turn, so that what changes on the machine meanwhile meets them all. */
import type { Bench } from "./bench.ts";
import { type BrokerSpan, describeLoad, medianSpan } from "./broker_load.ts";
import { startAedes } from "./peers/aedes.ts";
import type { Broker } from "./peers/broker.ts";
import { startMosquitto } from "./peers/mosquitto.ts";
import { formatNumber } from "./report.ts";
import { type Door, DOOR_NAMES, openDoors } from "./server_doors.ts";

const ROUNDS = 3;
const WARM_UP_MS = 500;
const OPEN = { BROKER_ANONYMOUS: "true", OPEN_TOPICS: "bench/#" };

/** Our broker by both of its doors, and the peers that could be started. */
export interface Brokers extends AsyncDisposable {
  readonly native: Broker;
  /** All of them, in the order of their turns. */
  readonly all: readonly Broker[];
}

/** What one broker did under one load. */
export interface Turns {
  readonly broker: Broker;
  readonly spans: readonly BrokerSpan[];
  /** The one in the middle. */
  readonly median: BrokerSpan;
}

/** Starts them all. */
export async function openBrokers(bench: Bench): Promise<Brokers> {
  await using opened = new AsyncDisposableStack();
  const { server, urls } = opened.use(await openDoors(bench, OPEN));
  const door = (name: Door): Broker => ({
    name: `Hearth, ${DOOR_NAMES[name]}`,
    about: `Deno ${Deno.version.deno}`,
    url: urls[name],
    pid: server.pid,
  });
  const peers = [await startAedes(bench.cleanup), await startMosquitto(bench.cleanup)];
  const all: Broker[] = [door("native"), door("ws")];
  for (const peer of peers) {
    if (peer !== null) all.push(opened.use(peer));
  }
  const parts = opened.move();
  return { native: all[0]!, all, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/** Measures each broker in several turns of a tenth of `--seconds`. */
export async function takeTurns(
  bench: Bench,
  brokers: readonly Broker[],
  measure: (
    broker: Broker,
    times: { readonly warmUpMs: number; readonly spanMs: number },
  ) => Promise<BrokerSpan>,
): Promise<readonly Turns[]> {
  const spanMs = bench.settings.seconds * 100;
  const spans = brokers.map((): BrokerSpan[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, broker] of brokers.entries()) {
      spans[i]!.push(await measure(broker, { warmUpMs: WARM_UP_MS, spanMs }));
    }
  }
  return brokers.map((broker, i) => ({ broker, spans: spans[i]!, median: medianSpan(spans[i]!) }));
}

/** What stands beside the rate of a broker. */
export function describeTurns(unit: string, { broker, spans, median }: Turns): readonly string[] {
  const rates = spans.map(({ perSecond }) => formatNumber(perSecond)).join(", ");
  return [`median of ${rates}`, describeLoad(unit, median), broker.about];
}
