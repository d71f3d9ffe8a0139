/** A server under attack, honest clients beside it, and an eye on its memory. */
import assert from "node:assert/strict";
import { type BrokerProcess, startBrokerProcess } from "./broker_process.ts";
import { Bystander } from "./fuzz/bystander.ts";
import { messageFrame, upgradeRequest } from "./fuzz/frames.ts";
import { acknowledgement, connect, type ConnectParts, packet } from "./mqtt_bytes.ts";
import { type Door, DOORS, RawClient, within } from "./mqtt_client.ts";
import type { ProtocolLevel } from "../broker/packet.ts";

export const PINGREQ = packet(0xc0);
const QUOTA_EXCEEDED = 0x97;
/** How often the memory is looked at. */
const LOOK_MS = 100;
const PATIENCE_MS = 20_000;

/** What a siege must not go beyond. */
export interface SiegeRules {
  readonly settings?: Readonly<Record<string, string>>;
  /** By how much the resident memory may have grown at any moment. */
  readonly mostMb: number;
}

/**
 * Attacks a server of its own. Over both doors a bystander sends itself messages meanwhile and must notice nothing; the
 * memory stays within its bound; the server fails nowhere and ends as it should. `afterwards` is given the key-value
 * store of the ended server.
 */
export async function besiege(
  { settings = {}, mostMb }: SiegeRules,
  attack: (server: BrokerProcess) => Promise<void>,
  afterwards: (kv: Deno.Kv) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await using server = await startBrokerProcess(settings);
  const bystanders = await Promise.all(
    DOORS.map((door, i) => Bystander.start(server, door, i === 0 ? 5 : 4)),
  );
  const memory = new MemoryWatch(server);
  await memory.begin();
  try {
    await attack(server);
    const grownMb = await memory.end();
    assert.ok(grownMb <= mostMb, `the memory grew by ${grownMb} MB`);
  } finally {
    await memory.end();
    const trips = await Promise.all(bystanders.map((bystander) => bystander.stop()));
    // Each has had its turn, and has one more when it is over.
    assert.ok(trips.every((count) => count > 0));
  }
  assert.equal(await server.stop(), 0, "the server ends as it should");
  assert.deepEqual(server.lines.filter(({ level }) => level === "error"), []);
  const kv = await Deno.openKv(`${server.dataDir}/kv.sqlite3`);
  try {
    await afterwards(kv);
  } finally {
    kv.close();
  }
}

/** The most memory a server has had. */
class MemoryWatch {
  readonly #server: BrokerProcess;
  #leastBytes = 0;
  #mostBytes = 0;
  #isOver = false;
  #looking = Promise.resolve();

  constructor(server: BrokerProcess) {
    this.#server = server;
  }

  async begin(): Promise<void> {
    this.#leastBytes = await this.#look();
    this.#looking = this.#goOn();
  }

  async #goOn(): Promise<void> {
    while (!this.#isOver) {
      await this.#look();
      await new Promise((resume) => setTimeout(resume, LOOK_MS));
    }
  }

  async #look(): Promise<number> {
    const bytes = await this.#server.figure("process_resident_memory_bytes");
    this.#mostBytes = Math.max(this.#mostBytes, bytes);
    return bytes;
  }

  /** How much it has grown, in megabytes. Safe to call twice. */
  async end(): Promise<number> {
    this.#isOver = true;
    await this.#looking;
    return Math.round((this.#mostBytes - this.#leastBytes) / 1024 / 1024);
  }
}

/** Keys of sessions and retained messages in a store. */
export async function countMqttKeys(kv: Deno.Kv): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const { key } of kv.list({ prefix: [] })) {
    const [kind] = key;
    if (typeof kind !== "string" || !kind.startsWith("mqtt_")) continue;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** A client that was let in; it says only what it is told to. */
export async function connectGuest(
  server: BrokerProcess,
  door: Door,
  level: ProtocolLevel,
  parts: ConnectParts,
): Promise<RawClient> {
  const client = await RawClient.open(server, door, level);
  const connack = await client.connect(parts);
  assert.equal(level === 5 ? connack.reasonCode : connack.returnCode, 0);
  return client;
}

/** The reason of the server's DISCONNECT when it has closed; null where there is none. */
export async function reasonOfClose(client: RawClient): Promise<number | null> {
  const last = (await client.rest()).at(-1);
  return last?.cmd === "disconnect" ? last.reasonCode ?? null : null;
}

/** It was closed for what it asked for. Where nothing more fits into its socket, it is not told why. */
export async function expectQuotaExceeded(client: RawClient, what: string): Promise<void> {
  const reason = await reasonOfClose(client);
  assert.ok(reason === QUOTA_EXCEEDED || reason === null, `${what}: ${reason}`);
}

/** Sends the same bytes again and again, until the server has closed or they were sent so often; how often. */
export async function flood(client: RawClient, bytes: Uint8Array, most: number): Promise<number> {
  let times = 0;
  while (times < most && !client.isClosed) {
    await client.send(bytes);
    times++;
  }
  return times;
}

/** Looks until it is so. */
export async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!await isSo()) {
    assert.ok(performance.now() < deadline, `it never came: ${what}`);
    await new Promise((resume) => setTimeout(resume, LOOK_MS));
  }
}

/** The same bytes many times over. */
export function repeated(bytes: ArrayLike<number>, times: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

/** A PUBLISH with a long payload of zeros, made without looking at every byte. */
export function largePublish(topic: string, payloadBytes: number, level: ProtocolLevel, packetId = 0) {
  const head = packet(packetId === 0 ? 0x30 : 0x32, new TextEncoder().encode(topic));
  const topicBytes = head.subarray(2);
  const rest = [topicBytes.length >> 8, topicBytes.length & 0xff, ...topicBytes];
  if (packetId > 0) rest.push(packetId >> 8, packetId & 0xff);
  if (level === 5) rest.push(0);
  const remaining = rest.length + payloadBytes;
  const first = [head[0]!, (remaining & 0x7f) | 0x80, ((remaining >> 7) & 0x7f) | 0x80, remaining >> 14];
  assert.ok(remaining >= 16_384 && remaining < 2_097_152, "three bytes of remaining length");
  const bytes = new Uint8Array(first.length + remaining);
  bytes.set([...first, ...rest]);
  return bytes;
}

/** Waits until all that was sent has been dealt with: what comes before the PINGRESP. */
export async function untilAnswered(client: RawClient): Promise<void> {
  await client.send(PINGREQ);
  for (;;) {
    const { cmd } = await client.next();
    if (cmd === "pingresp") return;
  }
}

/** Connects, sends and reads until PINGRESP has come; then it never reads again. */
export async function openDeaf(
  server: BrokerProcess,
  door: Door,
  hello: ConnectParts,
  ...packets: readonly Uint8Array[]
): Promise<Deno.TcpConn> {
  const port = door === "TCP" ? server.tcpPort : Number(new URL(server.url).port);
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const heard: number[] = [];
  const buffer = new Uint8Array(4_096);
  const hear = async (isWhole: () => boolean) => {
    while (!isWhole()) {
      const count = await within("an answer", conn.read(buffer));
      assert.ok(count !== null, "the server closed the connection");
      heard.push(...buffer.subarray(0, count));
    }
  };
  const content = [connect(hello), ...packets, PINGREQ];
  if (door === "WebSocket") {
    await conn.write(upgradeRequest(port));
    await hear(() => String.fromCharCode(...heard.slice(-4)) === "\r\n\r\n");
  }
  for (const bytes of content) await conn.write(door === "TCP" ? bytes : messageFrame(bytes));
  await hear(() => heard.at(-2) === 0xd0 && heard.at(-1) === 0);
  return conn;
}

/** The next message, acknowledged to its end; other packets are passed over. */
export async function takeMessage(
  client: RawClient,
): Promise<{ readonly topic: string; readonly text: string }> {
  for (;;) {
    const heard = await client.next();
    if (heard.cmd === "pubrel") await client.send(acknowledgement(0x70, heard.messageId!));
    if (heard.cmd !== "publish") continue;
    if (heard.qos > 0) await client.send(acknowledgement(heard.qos === 1 ? 0x40 : 0x50, heard.messageId!));
    return { topic: heard.topic, text: String(heard.payload) };
  }
}
