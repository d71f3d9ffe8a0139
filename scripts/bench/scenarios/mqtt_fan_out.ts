import type { Bench, Scenario } from "../bench.ts";
import { describeTurns, openBrokers, takeTurns } from "../broker_turns.ts";
import { FanOut } from "../mqtt_fan_out.ts";
import type { Broker } from "../peers/broker.ts";
import { describeTimes } from "../report.ts";

const SUBSCRIBERS = 500;
/** Of the publisher, at which latency is measured: a rate that every broker here keeps up with. */
const PACED_PER_SECOND = 20;
/** Of `--seconds`. */
const PACED_SHARE = 0.3;
/** Messages under way: so many that a broker can join them on their way to a subscriber, and one, which it cannot. */
const WINDOWS = [32, 1] as const;

/** Messages of an open topic to very many subscribers: as fast as they go, and their latency at a fixed rate. */
export const mqttFanOut: Scenario = {
  name: "mqtt-fan-out",
  about: `plain MQTT 3.1.1, QoS 0, 1 publisher to ${SUBSCRIBERS} subscribers, beside aedes and mosquitto`,
  async run(bench: Bench) {
    await using brokers = await openBrokers(bench);
    const { bodyBytes } = bench.settings;
    const measure = (window: number) =>
      takeTurns(bench, brokers.all, async (broker, times) => {
        using fanOut = await FanOut.open(broker, SUBSCRIBERS, bodyBytes);
        return await fanOut.flood(window, times);
      });
    for (const window of WINDOWS) {
      for (const turns of await measure(window)) {
        bench.report({
          scenario: "mqtt-fan-out",
          what: `1 to ${SUBSCRIBERS}, QoS 0, ${window} under way, ${turns.broker.name}`,
          value: turns.median.perSecond,
          unit: "deliveries/s",
          notes: [...describeTurns("delivery", turns), `${bodyBytes} bytes`],
        });
      }
    }
    for (const broker of brokers.all) await pace(bench, broker);
  },
};

async function pace(bench: Bench, broker: Broker): Promise<void> {
  const { bodyBytes, seconds } = bench.settings;
  using fanOut = await FanOut.open(broker, SUBSCRIBERS, bodyBytes);
  const times = (await fanOut.pace(PACED_PER_SECOND, seconds * PACED_SHARE * 1_000)).percentiles();
  bench.report({
    scenario: "mqtt-fan-out",
    what: `1 to ${SUBSCRIBERS}, QoS 0, p99 at ${PACED_PER_SECOND} messages a second, ${broker.name}`,
    value: times.p99,
    unit: "ms",
    notes: [describeTimes("due to received", times), broker.about, `${bodyBytes} bytes`],
  });
}
