/** What one connection of a run does: a function of the seed and its number, whatever the server answers. */
import type { BrokerLimits } from "../../broker/limits.ts";
import type { ProtocolLevel } from "../../broker/packet.ts";
import { Dice } from "../dice.ts";
import { packet } from "../mqtt_bytes.ts";
import type { Door } from "../mqtt_client.ts";
import { cut, framesOf } from "./frames.ts";
import { mutate } from "./mutation.ts";
import { type Outlook, Reading } from "./outlook.ts";
import { type Login, rollConnect, rollPacket } from "./packets.ts";

/** One connection. */
export interface Plan {
  readonly number: number;
  readonly door: Door;
  readonly level: ProtocolLevel;
  /** As it was before the CONNECT was changed. */
  readonly clientId: string;
  readonly packets: readonly Uint8Array[];
  /** How many of them are changed. */
  readonly mutated: number;
  /** The bytes of the packets, as they are handed over; frames over WebSocket. */
  readonly pieces: readonly Uint8Array[];
  /** The state of the reader behind the last byte. */
  readonly outlook: Outlook;
  /** PINGREQs among the packets. */
  readonly pings: number;
  /** `wait`: until the server has answered the last packet or closed. `drop`: without waiting. `finish`: our side first. */
  readonly end: "wait" | "drop" | "finish";
  /** It begins to read when everything is written. */
  readonly isDeaf: boolean;
}

/** What all plans of a run have in common. */
export interface PlanRules {
  readonly seed: number;
  readonly doors: readonly Door[];
  readonly logins: readonly Login[];
  readonly limits: BrokerLimits;
}

const PINGREQ = packet(0xc0);
const MOST_PACKETS = 24;

/** Plans the connection with this number. */
export function planConnection(rules: PlanRules, number: number): Plan {
  const dice = new Dice((rules.seed + Math.imul(number, 0x9e37_79b1)) | 0);
  const door = rules.doors[number % rules.doors.length]!;
  const hello = rollConnect(dice, `once-${number}`, rules.logins);
  const packets: Uint8Array[] = [];
  const reading = new Reading(rules.limits);
  let mutated = 0;
  const add = (bytes: Uint8Array, changes: boolean) => {
    const others = () => [rollPacket(dice, hello), rollPacket(dice, hello)];
    const sent = changes ? mutate(dice, bytes, others()) : bytes;
    if (changes) mutated++;
    packets.push(sent);
    return reading.push(sent);
  };
  add(hello.bytes, dice.roll(10) === 0);
  // Mostly one in two is changed; the others bring the session to where changes mean something.
  const oneIn = dice.pick([1, 2, 2, 3]);
  for (let left = 1 + dice.roll(MOST_PACKETS); left > 0 && isReadOn(reading.outlook); left--) {
    add(rollPacket(dice, hello), dice.roll(oneIn) === 0);
  }
  if (reading.outlook === "whole") add(PINGREQ, false);
  else if (reading.outlook !== "partial" && dice.roll(4) === 0) packets.push(rollPacket(dice, hello));
  const cuts = cut(dice, packets);
  return {
    ...{ number, door, mutated, packets },
    level: hello.level,
    clientId: hello.clientId,
    pieces: door === "TCP" ? cuts : framesOf(dice, cuts),
    outlook: reading.outlook,
    pings: reading.pings,
    end: dice.pick(["wait", "wait", "wait", "wait", "wait", "wait", "drop", "finish"] as const),
    isDeaf: dice.roll(16) === 0,
  };
}

function isReadOn(outlook: Outlook): boolean {
  return outlook === "whole" || outlook === "partial";
}
