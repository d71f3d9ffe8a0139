/**
 * `deno task fuzz [--packets=1000000] [--seconds=…] [--seed=…] [--door=tcp|websocket|both] [--only=…]`: changed MQTT
 * packets against a server of its own, until so many were sent or the time is over.
 *
 * The same seed sends the same bytes in the same pieces; `--only` plays one connection of it alone. Exit code 1 tells
 * that the server did what no server may do.
 */
import { parseArgs } from "node:util";
import { runCampaign, toMb } from "../tests/fuzz/campaign.ts";
import type { Door } from "../tests/mqtt_client.ts";

const DOOR_NAMES: Readonly<Record<string, readonly Door[]>> = {
  tcp: ["TCP"],
  websocket: ["WebSocket"],
  both: ["TCP", "WebSocket"],
};

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      packets: { type: "string" },
      seconds: { type: "string" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
      door: { type: "string", default: "both" },
      only: { type: "string" },
    },
  });
  const doors = DOOR_NAMES[values.door];
  if (doors === undefined) throw new Error(`--door=${values.door}: tcp, websocket or both.`);
  const seed = toNumber("seed", values.seed);
  const seconds = values.seconds === undefined ? null : toNumber("seconds", values.seconds);
  console.log(`seed ${seed}, ${doors.join(" and ")}`);
  const report = await runCampaign({
    ...{ seed, doors, seconds },
    packets: values.packets === undefined
      ? seconds === null ? 1_000_000 : null
      : toNumber("packets", values.packets),
    only: values.only === undefined ? null : toNumber("only", values.only),
    tell: (line) => console.log(line),
  });
  const { mutated, packets, connections, trips, warmBytes, endBytes } = report;
  console.log(`${mutated} changed packets among ${packets} on ${connections} connections`);
  console.log(
    `in ${Math.round(report.seconds)} s; beside them ${trips} messages of QoS 1 and 2 went through`,
  );
  console.log(`memory ${toMb(warmBytes)} MB warm, ${toMb(endBytes)} MB at the end`);
  for (const [name, count] of report.figures) console.log(`${name} ${count}`);
  for (const [line, count] of report.log) console.log(`${count} × ${line}`);
}

function toNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name}=${text}: a whole number.`);
  return value;
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error);
    Deno.exit(1);
  }
}
