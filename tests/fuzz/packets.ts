/** Well-formed packets of every type a client sends, as the dice fall. */
import type { Dice } from "../dice.ts";
import {
  acknowledgement,
  counted,
  join,
  packet,
  type Part,
  properties,
  publish,
  uint16,
  uint32,
  userProperty,
  variable,
  will,
} from "../mqtt_bytes.ts";
import type { ProtocolLevel } from "../../broker/packet.ts";

/** Who sends a packet. */
export interface Author {
  readonly level: ProtocolLevel;
  /** null: an anonymous client. */
  readonly login: Login | null;
}

/** Whom a client says it is. */
export interface Login {
  readonly userId: string;
  readonly clientId: string;
  readonly token: string;
}

/** A CONNECT and what its client may do after it. */
export interface Hello extends Author {
  readonly clientId: string;
  readonly bytes: Uint8Array;
}

const LEVELS: readonly ProtocolLevel[] = [4, 5];
const TOPICS = ["a", "b", "c/d", "e/ä", "f/"].flatMap((end) => [0, 1, 2, 3].map((i) => `fuzz/${i}/${end}`));
const FILTERS = [
  ...TOPICS.slice(0, 6),
  ...["fuzz/+/a", "fuzz/1/#", "fuzz/+/c/+", "+/2/b", "fuzz/3/+/d", "fuzz/0/f/"],
  ...["$share/g1/fuzz/+/b", "$share/g2/fuzz/1/#", "$share/g1/fuzz/0/a"],
];
/** For clients that come again: few, so that they take turns and take over. */
const LASTING = Array.from({ length: 10 }, (_, i) => `lasting-${i}`);
const REFUSED_TOPICS = ["$SYS/x", "im/sync", "me/inbox", "me", `fuzz${"/x".repeat(40)}`, "y".repeat(1_500)];
const COMMANDS = ["sync", "message.pull", "message.send", "conversation.list", "no.such", "user.search", ""];
const PAYLOADS: readonly (string | readonly number[])[] = [
  "",
  "x",
  "{}",
  '{"cursor":"0"}',
  '{"requestId":"r1","conversation":{"type":0,"target":"user-1"}}',
  "x".repeat(300),
  [0xff, 0x00, 0xc0],
];

const optional = (dice: Dice, oneIn: number, ...parts: readonly Part[]): readonly Part[] =>
  dice.roll(oneIn) === 0 ? parts : [];

/** A CONNECT; one of `logins` may be behind it. `uniqueId` is a client identifier nobody else has. */
export function rollConnect(dice: Dice, uniqueId: string, logins: readonly Login[]): Hello {
  const level = dice.pick(LEVELS);
  const login = logins.length > 0 && dice.roll(3) === 0 ? dice.pick(logins) : null;
  const isLasting = dice.roll(4) === 0;
  const isClean = isLasting ? dice.roll(4) === 0 : level === 4 || dice.roll(4) > 0;
  const clientId = login?.clientId ??
    (isLasting ? dice.pick(LASTING) : isClean && dice.roll(8) === 0 ? "" : uniqueId);
  const hasWill = dice.roll(3) === 0;
  const willFlags = hasWill ? 0x04 | (dice.roll(3) << 3) | (dice.roll(4) === 0 ? 0x20 : 0) : 0;
  const bytes = packet(
    0x10,
    counted("MQTT"),
    level,
    (isClean ? 0x02 : 0) | willFlags | (login === null ? 0 : 0xc0),
    uint16(dice.pick([0, 0, 1, 60, 65_535])),
    level === 5 ? rollConnectProperties(dice, isLasting) : [],
    counted(clientId),
    hasWill ? rollWill(dice, level) : [],
    login === null ? [] : join(counted(login.userId), counted(login.token)),
  );
  return { level, login, clientId, bytes };
}

function rollConnectProperties(dice: Dice, isLasting: boolean): Uint8Array {
  return properties(
    ...(isLasting ? [join(0x11, uint32(dice.pick([1, 2, 60, 0xffff_ffff])))] : []),
    ...optional(dice, 3, 0x21, uint16(dice.pick([1, 2, 10, 65_535]))),
    ...optional(dice, 4, 0x27, uint32(dice.pick([64, 100, 1_000, 1_000_000]))),
    ...optional(dice, 3, 0x22, uint16(dice.pick([1, 3, 65_535]))),
    ...optional(dice, 6, 0x17, dice.roll(2)),
    ...optional(dice, 6, 0x19, dice.roll(2)),
    ...optional(dice, 6, userProperty("ä", "ö")),
  );
}

function rollWill(dice: Dice, level: ProtocolLevel): Uint8Array {
  const parts = properties(
    ...optional(dice, 2, 0x18, uint32(dice.pick([0, 1, 2, 100]))),
    ...optional(dice, 3, 0x02, uint32(dice.pick([1, 60]))),
    ...optional(dice, 6, userProperty("last", "word")),
  );
  const topic = dice.roll(20) === 0 ? dice.pick(REFUSED_TOPICS) : dice.pick(TOPICS);
  return will(level, topic, dice.pick(PAYLOADS), parts);
}

/** A packet of a running session. */
export function rollPacket(dice: Dice, author: Author): Uint8Array {
  const { level, login } = author;
  const kind = dice.roll(100);
  if (kind < 40) {
    return login !== null && dice.roll(3) === 0 ? rollRequest(dice, level) : rollPublish(dice, level);
  }
  if (kind < 60) return rollAcknowledgement(dice, level);
  if (kind < 78) return rollSubscribe(dice, author);
  if (kind < 86) return rollUnsubscribe(dice, author);
  if (kind < 95) return packet(0xc0);
  if (kind < 98) return rollDisconnect(dice, level);
  if (kind < 99) return level === 5 ? packet(0xf0, 0x18, properties(0x15, counted("x"))) : packet(0xf0);
  return rollConnect(dice, "again", []).bytes;
}

function rollQos(dice: Dice): { readonly qos: number; readonly packetId: number; readonly isDup: boolean } {
  const qos = dice.roll(3);
  return { qos, packetId: 1 + dice.roll(6), isDup: qos > 0 && dice.roll(5) === 0 };
}

function rollPublish(dice: Dice, level: ProtocolLevel): Uint8Array {
  const alias = dice.roll(5) === 0 ? [0x23, ...uint16(dice.pick([1, 2, 3, 64, 65]))] : [];
  const isKnown = alias.length > 0 && level === 5 && dice.roll(2) === 0;
  const topic = isKnown ? "" : dice.roll(15) === 0 ? dice.pick(REFUSED_TOPICS) : dice.pick(TOPICS);
  const payload = dice.pick(PAYLOADS);
  return publish(topic, {
    ...{ level, payload, ...rollQos(dice), isRetain: dice.roll(4) === 0 },
    properties: properties(
      ...optional(dice, 4, 0x02, uint32(dice.pick([0, 1, 60]))),
      ...(typeof payload === "string" ? optional(dice, 5, 0x01, 1) : []),
      ...optional(dice, 6, 0x03, counted("text/plain")),
      ...optional(dice, 6, 0x08, counted("fuzz/reply")),
      ...optional(dice, 6, 0x09, counted([0, 1, 2])),
      ...optional(dice, 6, userProperty("ä", "ö"), userProperty("b", ""), userProperty("ä", "again")),
      alias,
    ),
  });
}

function rollRequest(dice: Dice, level: ProtocolLevel): Uint8Array {
  const clientMessageId = `m${dice.roll(50)}`;
  const send = JSON.stringify({
    ...{ requestId: clientMessageId, clientMessageId },
    conversation: { type: 0, target: `user-${dice.roll(24)}`, line: 0 },
    content: { type: 1, searchableContent: "hello" },
  });
  const command = dice.pick(COMMANDS);
  return publish(`im/${command}`, {
    ...{ level, payload: command === "message.send" ? send : dice.pick(PAYLOADS), ...rollQos(dice) },
    properties: properties(
      ...optional(dice, 4, 0x08, counted(dice.pick(["me/reply", "me/reply/x", "fuzz/0/a"]))),
      ...optional(dice, 4, 0x09, counted([0, 1, 2])),
    ),
  });
}

function rollAcknowledgement(dice: Dice, level: ProtocolLevel): Uint8Array {
  const first = dice.pick([0x40, 0x50, 0x62, 0x62, 0x70]);
  // A session counts from 1: these meet what is out, or was, or will be.
  const packetId = dice.roll(4) === 0 ? 1 + dice.roll(100) : 1 + dice.roll(6);
  if (level === 4 || dice.roll(3) > 0) return acknowledgement(first, packetId);
  const reason = dice.pick(first < 0x60 ? [0, 0x10, 0x80, 0x97] : [0, 0x92]);
  return packet(first, uint16(packetId), reason, ...optional(dice, 2, properties(0x1f, counted("why"))));
}

function rollFilter(dice: Dice, { login }: Author): string {
  const kind = dice.roll(40);
  if (kind === 0) return "#";
  if (kind === 1) return dice.pick(REFUSED_TOPICS);
  if (login !== null && kind < 15) return dice.pick(["me/#", "me/+", "me/inbox", "me/reply/#"]);
  return dice.pick(FILTERS);
}

function rollSubscribe(dice: Dice, author: Author): Uint8Array {
  const filters = Array.from({ length: 1 + dice.roll(3) }, () => {
    const topicFilter = rollFilter(dice, author);
    const options = author.level === 4
      ? 0
      : (topicFilter.startsWith("$share") ? 0 : dice.roll(2) << 2) | (dice.roll(2) << 3) |
        (dice.roll(3) << 4);
    return join(counted(topicFilter), options | dice.roll(3));
  });
  const identifier = optional(dice, 3, 0x0b, variable(dice.pick([1, 127, 128, 268_435_455])));
  return packet(
    0x82,
    uint16(1 + dice.roll(9)),
    author.level === 5 ? properties(...identifier) : [],
    ...filters,
  );
}

function rollUnsubscribe(dice: Dice, author: Author): Uint8Array {
  const filters = Array.from({ length: 1 + dice.roll(2) }, () => counted(rollFilter(dice, author)));
  const parts = author.level === 5 ? properties(...optional(dice, 5, userProperty("a", "b"))) : [];
  return packet(0xa2, uint16(1 + dice.roll(9)), parts, ...filters);
}

function rollDisconnect(dice: Dice, level: ProtocolLevel): Uint8Array {
  if (level === 4 || dice.roll(2) === 0) return packet(0xe0);
  const expiry = optional(dice, 2, 0x11, uint32(dice.pick([0, 1, 5])));
  return packet(0xe0, dice.pick([0, 0x04, 0x80]), properties(...expiry));
}
