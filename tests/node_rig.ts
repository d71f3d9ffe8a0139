/**
 * The MQTT state of one node on a real key-value store, and clients connected to it without sockets: bytes in and bytes
 * out, everything between them as in the server.
 */
import assert from "node:assert/strict";
import type { Packet as CodecPacket } from "mqtt-packet";
import { readConfig } from "../config.ts";
import type { ByteStream } from "../broker/byte_stream.ts";
import { Connection, type ConnectionHost } from "../broker/connection.ts";
import { Flusher } from "../broker/flusher.ts";
import type { BrokerLimits } from "../broker/limits.ts";
import { NodeState } from "../broker/node_state.ts";
import type { ProtocolLevel } from "../broker/packet.ts";
import { REASONS } from "../broker/protocol_error.ts";
import { createLog } from "../log.ts";
import { type MqttOwner, MqttState, type MqttWrite } from "../store/mod.ts";
import {
  acknowledgement,
  counted,
  join,
  packet,
  properties,
  publish,
  type PublishParts,
  readAsClient,
  subscribe,
  uint16,
  uint32,
  will as willOf,
} from "./mqtt_bytes.ts";
import { PUBACK, PUBCOMP, PUBREC, PUBREL, wordsOf } from "./session_rig.ts";

/** Real state, in which a test may do something before and behind the reading of bodies, and sees what is written. */
class WatchedState extends MqttState {
  /** Units as they were to be written, as the kinds of their writes. */
  readonly units: string[][] = [];
  beforeReading: (() => Promise<void> | void) | null = null;
  afterReading: (() => Promise<void> | void) | null = null;

  override write(units: readonly (readonly MqttWrite[])[]): Promise<void> {
    for (const unit of units) this.units.push(unit.map(({ kind }) => kind));
    return super.write(units);
  }

  override async listQueued(owner: MqttOwner): ReturnType<MqttState["listQueued"]> {
    await this.beforeReading?.();
    const queued = await super.listQueued(owner);
    await this.afterReading?.();
    return queued;
  }
}

/** A node that is begun again as often as the test likes, on what is stored. */
export class Node implements AsyncDisposable {
  readonly #folder: string;
  readonly #kv: Deno.Kv;
  readonly #limits: BrokerLimits;
  readonly state: WatchedState;
  /** What was logged as an error or a warning. */
  readonly lines: string[] = [];
  #node: NodeState | null = null;
  #flusher = new Flusher();

  private constructor(folder: string, kv: Deno.Kv, limits: Partial<BrokerLimits>) {
    this.#folder = folder;
    this.#kv = kv;
    this.#limits = { ...readConfig({}).limits, ...limits };
    this.state = new WatchedState(kv);
  }

  static async open(limits: Partial<BrokerLimits> = {}): Promise<Node> {
    const folder = await Deno.makeTempDir({ prefix: "hearth-node-" });
    const node = new Node(folder, await Deno.openKv(`${folder}/kv.sqlite3`), limits);
    await node.crash();
    return node;
  }

  get #current(): NodeState {
    return this.#node!;
  }

  get sessions(): NodeState["sessions"] {
    return this.#current.sessions;
  }

  get router(): NodeState["router"] {
    return this.#current.router;
  }

  get stats(): ReturnType<NodeState["stats"]> {
    return this.#current.stats();
  }

  /** Everything that is not stored is gone, and what is stored is taken up. */
  async crash(): Promise<void> {
    this.#flusher = new Flusher();
    this.#node = await NodeState.load({
      state: this.state,
      log: createLog({ format: "text", level: "warn", write: (line) => this.lines.push(line) }),
      limits: this.#limits,
      openTopics: ["#"],
    });
  }

  /** Waits until everything is stored. */
  async settle(): Promise<void> {
    await this.#current.journal.settled();
  }

  /** So many seconds from now on: wills that are due are sent, and sessions end. */
  sweep(secondsFromNow: number): void {
    this.#current.sweep(Date.now() + secondsFromNow * 1_000);
  }

  /** Every key that is to be stored, as text. */
  async keys(): Promise<string[]> {
    await this.settle();
    return await this.storedKeys();
  }

  /** Every key that is stored by now, as text. */
  async storedKeys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.#kv.list({ prefix: [] })) keys.push(JSON.stringify(key));
    return keys;
  }

  /** What a connection finds here. */
  host(): ConnectionHost {
    const { journal, router, sessions, hasOpenTopics } = this.#current;
    return {
      ...{ limits: this.#limits, flusher: this.#flusher, journal, router, sessions, hasOpenTopics },
      allowsAnonymous: true,
      accessFor: (isAnonymous) => this.#current.accessFor(isAnonymous),
      authenticate: () => Promise.resolve(null),
      register: (connection) => {
        sessions.connectionOf(connection.owner!)?.close(REASONS.takenOver);
        return null;
      },
      closed: (connection) => {
        if (connection.owner !== null) sessions.detach(connection.owner, connection);
      },
      perform: () => assert.fail("who has no login has no commands"),
      peerBroke: (_, { message }) => assert.fail(message),
      failed: (_, cause) => assert.fail(cause as Error),
      connectFailed: () => {},
      paused: () => {},
      cutOff: () => {},
    };
  }

  /** A client that sends its CONNECT; it is let in, or not, when it hears so. */
  call(clientId: string, hello: Hello = {}): Client {
    const client = new Client(this.host(), hello.level ?? 5);
    client.say(connectOf(clientId, hello));
    return client;
  }

  /** A client that is let in; `isPresent` is whether it must find a session. */
  async connect(clientId: string, hello: Hello = {}, isPresent = false): Promise<Client> {
    const client = this.call(clientId, hello);
    assert.equal(await client.next(), isPresent ? "connack 0 present" : "connack 0");
    return client;
  }

  /** A session that outlives its connections. */
  lasting(clientId: string, hello: Hello = {}, isPresent = false): Promise<Client> {
    return this.connect(clientId, { clean: false, expirySeconds: 100, ...hello }, isPresent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.settle();
    this.#kv.close();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** What a CONNECT says. */
export interface Hello {
  readonly level?: ProtocolLevel;
  readonly clean?: boolean;
  readonly expirySeconds?: number;
  readonly will?: {
    readonly topic: string;
    readonly text: string;
    readonly qos?: number;
    readonly isRetain?: boolean;
    readonly delaySeconds?: number;
    readonly expirySeconds?: number;
  };
}

function connectOf(clientId: string, hello: Hello): Uint8Array {
  const { level = 5, clean = true, expirySeconds, will } = hello;
  const flags = (clean ? 0x02 : 0) |
    (will === undefined ? 0 : 0x04 | ((will.qos ?? 1) << 3) | (will.isRetain ? 0x20 : 0));
  const expiry = expirySeconds === undefined ? [] : join(0x11, uint32(expirySeconds));
  const delay = will?.delaySeconds === undefined ? [] : join(0x18, uint32(will.delaySeconds));
  const willExpiry = will?.expirySeconds === undefined ? [] : join(0x02, uint32(will.expirySeconds));
  return packet(
    ...[0x10, counted("MQTT"), level, flags, uint16(0)] as const,
    level === 5 ? properties(expiry) : [],
    counted(clientId),
    will === undefined ? [] : willOf(level, will.topic, will.text, properties(delay, willExpiry)),
  );
}

/** One client. */
export class Client implements ByteStream {
  readonly peer = { address: "127.0.0.1", isTrustedProxy: false };
  bufferedAmount = 0;
  readonly #level: ProtocolLevel;
  readonly #connection: Connection;
  readonly #heard: string[] = [];
  #wake = Promise.withResolvers<void>();
  isClosed = false;

  constructor(host: ConnectionHost, level: ProtocolLevel) {
    const admission = { key: null, isAuthenticated: false, isClosed: false, isReleased: false };
    this.#level = level;
    this.#connection = new Connection(this, { host, admission, appToken: null, nowMs: performance.now() });
  }

  open(): void {}

  send(bytes: Uint8Array): void {
    for (const read of readAsClient(bytes.slice(), this.#level)) this.#heard.push(heardWords(read));
    this.#notify();
  }

  close(): void {
    this.isClosed = true;
    this.#notify();
  }

  #notify(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** Sends bytes. */
  say(...bytes: readonly Uint8Array[]): void {
    this.#connection.receive(join(...bytes));
  }

  /** The next packet, as words; `closed` when there is none. */
  async next(): Promise<string> {
    while (this.#heard.length === 0 && !this.isClosed) await this.#wake.promise;
    return this.#heard.shift() ?? "closed";
  }

  /** Everything up to now: a PINGRESP comes behind it. */
  async heard(): Promise<string[]> {
    this.say(packet(0xc0));
    const heard: string[] = [];
    for (let words = await this.next(); words !== "pingresp"; words = await this.next()) {
      heard.push(words);
      if (words === "closed") break;
    }
    return heard;
  }

  async subscribe(topicFilter: string, options = 2): Promise<void> {
    this.say(subscribe(this.#level, 1, [topicFilter, options]));
    assert.equal(await this.next(), `suback 1 ${options & 3}`);
  }

  /** Sends a PUBLISH and nothing more. */
  publish(topic: string, text: string, parts: PublishParts = {}): void {
    this.say(publish(topic, { level: this.#level, payload: text, ...parts }));
  }

  acknowledge(word: "puback" | "pubrec" | "pubrel" | "pubcomp", packetId: number): void {
    const first = { puback: PUBACK, pubrec: PUBREC, pubrel: PUBREL, pubcomp: PUBCOMP }[word];
    this.say(acknowledgement(first, packetId));
  }

  /** Its socket takes nothing any more. */
  async block(): Promise<void> {
    this.bufferedAmount = 1_000_000;
    this.say(packet(0xc0));
    while (!this.#connection.outbox.isPaused) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Says good-bye. */
  leave(reason = 0, expirySeconds: number | null = null): void {
    const expiry = expirySeconds === null ? [] : join(0x11, uint32(expirySeconds));
    this.say(this.#level === 4 ? packet(0xe0) : packet(0xe0, reason, properties(expiry)));
    assert.ok(this.isClosed);
  }

  /** Its connection is lost. */
  vanish(): void {
    this.isClosed = true;
    this.#connection.ended();
    this.#notify();
  }
}

function heardWords(read: CodecPacket): string {
  if (read.cmd === "disconnect") return `disconnect 0x${(read.reasonCode ?? 0).toString(16)}`;
  if (read.cmd !== "connack") return wordsOf(read);
  const code = read.reasonCode ?? read.returnCode ?? 0;
  return `connack ${code === 0 ? 0 : `0x${code.toString(16)}`}${read.sessionPresent ? " present" : ""}`;
}
