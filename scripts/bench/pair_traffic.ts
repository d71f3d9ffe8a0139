/**
 * Virtual users in pairs who write to each other. A message is done when its PUBACK came to the sender **and** its
 * event to the partner; each of both must come once, and events in the order of sending.
 */
import { encodePublish } from "../../sdk/packet.ts";
import { type Bench, BenchError } from "./bench.ts";
import { Histogram } from "./histogram.ts";
import { type Account, createAccounts, inParallel, LoadClient } from "./load_client.ts";
import type { ServerProcess } from "./server_process.ts";

/** Messages of one user not done yet; the server takes as many unacknowledged ones. */
const RING = 1_024;
const ACKNOWLEDGED = 1, RECEIVED = 2, DONE = 3;
/** Digits of a message's number inside its clientMessageId. */
const DIGITS = 9;
const DRAIN_LIMIT_MS = 15_000;

/** The pairs and what is counted of their messages. */
export class PairTraffic {
  readonly users: readonly PairUser[];
  /** Messages sent in this span are in the histograms; messages done in it are counted. */
  #span = { fromMs: Infinity, toMs: Infinity };
  /** From sending, or from when it should have been sent, to the PUBACK. */
  acknowledge = new Histogram();
  /** From the same moment to the partner's event. */
  receive = new Histogram();
  /** Done within the span. */
  done = 0;
  /** Sent and not done. */
  underWay = 0;
  /** Called when a message of this user is done: the user may send the next one. */
  onDone: (user: PairUser) => void = () => {};
  #failure: BenchError | null = null;
  #drained: (() => void) | null = null;

  private constructor(accounts: readonly Account[], bodyBytes: number) {
    this.users = accounts.map((account, i) =>
      new PairUser(this, account, accounts[i ^ 1]!.userId, bodyBytes)
    );
    this.users.forEach((user, i) => user.partner = this.users[i ^ 1]!);
  }

  /** Makes the users and connects them. */
  static async open(bench: Bench, server: ServerProcess): Promise<PairTraffic> {
    const accounts = await createAccounts(server, "bench-", bench.settings.users);
    const traffic = new PairTraffic(accounts, bench.settings.bodyBytes);
    await inParallel(accounts.length, (i) => traffic.users[i]!.connect(server.wsUrl));
    return traffic;
  }

  /** Starts counting anew: histograms and `done` are of this span alone. */
  measure(fromMs: number, toMs: number): void {
    this.#span = { fromMs, toMs };
    this.acknowledge = new Histogram();
    this.receive = new Histogram();
    this.done = 0;
  }

  /** Waits until nothing is under way; what is still missing then is lost. */
  async drain(): Promise<void> {
    this.check();
    if (this.underWay === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      new Promise<void>((resolve) => this.#drained = resolve),
      new Promise<void>((resolve) => timer = setTimeout(resolve, DRAIN_LIMIT_MS)),
    ]);
    clearTimeout(timer);
    this.check();
    if (this.underWay > 0) throw new BenchError(`${this.underWay} messages did not arrive within 15 s.`);
  }

  /** @throws BenchError when something went wrong that makes figures meaningless. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Ends all connections. */
  close(): void {
    for (const user of this.users) user.close();
  }

  /** Keeps the first thing that went wrong. */
  fail(reason: string): void {
    this.#failure ??= new BenchError(reason);
    this.#drained?.();
  }

  /** A PUBACK or an event of a message sent at `sentAtMs`. */
  recordArrival(histogram: Histogram, sentAtMs: number, nowMs: number): void {
    if (sentAtMs >= this.#span.fromMs && sentAtMs < this.#span.toMs) histogram.record(nowMs - sentAtMs);
  }

  /** A message whose PUBACK and event came. */
  recordDone(user: PairUser, nowMs: number): void {
    this.underWay--;
    if (nowMs >= this.#span.fromMs && nowMs < this.#span.toMs) this.done++;
    this.onDone(user);
    if (this.underWay === 0) this.#drained?.();
  }
}

/** A virtual user who writes to his partner. */
export class PairUser {
  partner!: PairUser;
  readonly #traffic: PairTraffic;
  readonly #account: Account;
  readonly #request: SendRequest;
  readonly #sentAtMs = new Float64Array(RING);
  readonly #state = new Uint8Array(RING).fill(DONE);
  #client: LoadClient | null = null;
  #sent = 0;
  #received = 0;
  #refused = false;

  constructor(traffic: PairTraffic, account: Account, partnerId: string, bodyBytes: number) {
    this.#traffic = traffic;
    this.#account = account;
    this.#request = new SendRequest(partnerId, bodyBytes);
  }

  async connect(wsUrl: string): Promise<void> {
    this.#client = await LoadClient.connect({
      wsUrl,
      account: this.#account,
      observer: {
        acknowledged: (packetId, reasonCode) => this.#acknowledged(packetId, reasonCode),
        reply: (payload) => this.#reply(payload),
        event: (payload) => this.#event(payload),
        lost: (reason) => this.#traffic.fail(`${this.#account.userId} lost the connection: ${reason}.`),
      },
    });
  }

  close(): void {
    this.#client?.close();
  }

  /** Sends the next message; `dueAtMs` is when it should leave, from which its latency is counted. */
  send(dueAtMs: number): void {
    const number = this.#sent++;
    const place = number % RING;
    if (this.#state[place] !== DONE) {
      return this.#traffic.fail(`The server is ${RING} messages of one user behind.`);
    }
    this.#state[place] = 0;
    this.#sentAtMs[place] = dueAtMs;
    this.#traffic.underWay++;
    this.#client!.send(this.#request.encode(number, place + 1));
  }

  #acknowledged(packetId: number, reasonCode: number): void {
    if (reasonCode >= 0x80) {
      this.#refused = true; // the reply that follows says why
      return;
    }
    const place = packetId - 1;
    const nowMs = this.#client!.receivedAtMs;
    this.#traffic.recordArrival(this.#traffic.acknowledge, this.#sentAtMs[place]!, nowMs);
    this.#arrived(place, ACKNOWLEDGED, nowMs);
  }

  #reply(payload: Uint8Array): void {
    if (this.#refused) this.#traffic.fail(`A message was refused: ${new TextDecoder().decode(payload)}`);
  }

  #event(payload: Uint8Array): void {
    const number = numberIn(payload);
    if (number === null) return; // another kind of event
    if (number !== this.#received) {
      return this.#traffic.fail(
        `${this.#account.userId} received message ${number} instead of ${this.#received}.`,
      );
    }
    this.#received++;
    this.partner.#delivered(number % RING, this.#client!.receivedAtMs);
  }

  #delivered(place: number, nowMs: number): void {
    this.#traffic.recordArrival(this.#traffic.receive, this.#sentAtMs[place]!, nowMs);
    this.#arrived(place, RECEIVED, nowMs);
  }

  #arrived(place: number, what: number, nowMs: number): void {
    const state = this.#state[place]!;
    if ((state & what) !== 0) return this.#traffic.fail("A PUBACK or an event came twice.");
    this.#state[place] = state | what;
    if ((state | what) === DONE) this.#traffic.recordDone(this, nowMs);
  }
}

/** `message.send` encoded once; only its numbers are written anew for every message. */
class SendRequest {
  readonly #packet: Uint8Array;
  readonly #packetIdAt: number;
  readonly #numberAts: readonly number[];

  constructor(target: string, bodyBytes: number) {
    const topic = "im/message.send";
    const number = "#".repeat(DIGITS);
    const payload = JSON.stringify({
      requestId: `r${number}`,
      clientMessageId: `m${number}`,
      conversation: { type: 0, target, line: 0 },
      content: { type: 1, searchableContent: "x".repeat(bodyBytes), persistFlag: 3 },
    });
    this.#packet = encodePublish(topic, payload, 1, 1);
    this.#packetIdAt = this.#packet.indexOf(topic.charCodeAt(0)) + topic.length;
    const text = new TextDecoder("latin1").decode(this.#packet);
    this.#numberAts = [text.indexOf(number), text.lastIndexOf(number)];
  }

  /** The packet with these numbers, valid until the next call. */
  encode(number: number, packetId: number): Uint8Array {
    const packet = this.#packet;
    packet[this.#packetIdAt] = packetId >> 8;
    packet[this.#packetIdAt + 1] = packetId & 0xff;
    for (const at of this.#numberAts) {
      for (let digit = DIGITS - 1, rest = number; digit >= 0; digit--, rest = Math.floor(rest / 10)) {
        packet[at + digit] = 0x30 + rest % 10;
      }
    }
    return packet;
  }
}

/** The number in the clientMessageId of an event, found without decoding it; `null` in an event of another kind. */
function numberIn(event: Uint8Array): number | null {
  for (let at = event.indexOf(KEY[0]!); at >= 0; at = event.indexOf(KEY[0]!, at + 1)) {
    let same = 1;
    while (same < KEY.length && event[at + same] === KEY[same]) same++;
    if (same < KEY.length) continue;
    let number = 0;
    for (let digit = 0; digit < DIGITS; digit++) number = number * 10 + event[at + same + digit]! - 0x30;
    return number;
  }
  return null;
}

const KEY = new TextEncoder().encode(`"clientMessageId":"m`);
