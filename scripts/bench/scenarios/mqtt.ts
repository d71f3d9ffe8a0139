import type { Bench, Scenario } from "../bench.ts";
import { describeTurns, openBrokers, takeTurns, type Turns } from "../broker_turns.ts";
import { measurePairs, type PairsLoad } from "../mqtt_pairs.ts";
import type { Figure } from "../report.ts";

const PAIRS = 10;

/** What is measured. */
interface Load extends Pick<PairsLoad, "qos" | "window" | "isPersistent"> {
  /** Messages a second that are wanted. */
  readonly atLeast?: number;
  /** How many times as many as aedes are wanted; `null` where the ratio is only told. */
  readonly againstAedes?: number | null;
}

/**
 * The windows of all brokers' own settings let so many pass. With one message under way nothing can be joined on its
 * way: that figure is of the round trip, not of the throughput.
 */
const LOADS: readonly Load[] = [
  { qos: 0, window: 256, isPersistent: false },
  { qos: 1, window: 100, isPersistent: false, againstAedes: 4 },
  { qos: 1, window: 1, isPersistent: false, againstAedes: null },
  { qos: 2, window: 100, isPersistent: true, atLeast: 1_000 },
];

/**
 * Messages of open topics, from one client to another. Without acknowledgements a publisher is held back by what its
 * subscriber has received, with them by both.
 */
export const mqtt: Scenario = {
  name: "mqtt",
  about: `plain MQTT 3.1.1, ${PAIRS} pairs: QoS 0 and 1 beside aedes and mosquitto, QoS 2 into kept sessions`,
  async run(bench: Bench) {
    await using brokers = await openBrokers(bench);
    const { bodyBytes } = bench.settings;
    for (const load of LOADS) {
      // What the others keep of a session is in their memory alone.
      const measured = load.isPersistent ? [brokers.native] : brokers.all;
      const turns = await takeTurns(
        bench,
        measured,
        (broker, times) => measurePairs(broker, { ...load, pairs: PAIRS, bodyBytes }, times),
      );
      for (const one of turns) bench.report(figureOf(load, one, bodyBytes));
      const ratio = ratioOf(load, turns);
      if (ratio !== null) bench.report(ratio);
    }
  },
};

function nameOf({ qos, window, isPersistent }: Load): string {
  const sessions = isPersistent ? ", into sessions that are kept" : "";
  return `QoS ${qos} one-to-one, ${window} under way${sessions}`;
}

function figureOf(load: Load, turns: Turns, bodyBytes: number): Figure {
  return {
    scenario: "mqtt",
    what: `${nameOf(load)}, ${turns.broker.name}`,
    value: turns.median.perSecond,
    unit: "msg/s",
    ...load.atLeast !== undefined && { target: { atLeast: load.atLeast } },
    notes: [
      ...describeTurns("message", turns),
      `${PAIRS} publishers and subscribers, ${bodyBytes} bytes`,
    ],
  };
}

function ratioOf(load: Load, turns: readonly Turns[]): Figure | null {
  const [ours] = turns;
  const aedes = turns.find(({ broker }) => broker.name === "aedes");
  if (load.againstAedes === undefined || ours === undefined || aedes === undefined) return null;
  return {
    scenario: "mqtt",
    what: `${nameOf(load)}, ${ours.broker.name} against aedes`,
    value: ours.median.perSecond / aedes.median.perSecond,
    unit: "times",
    ...load.againstAedes !== null && { target: { atLeast: load.againstAedes } },
    notes: ["medians of the above"],
  };
}
