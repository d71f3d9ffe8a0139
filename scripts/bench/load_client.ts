/** One virtual user: MQTT 5.0 as the SDK speaks it, over a socket made for load. */
import { type AdminTarget, createLogin } from "../../tests/admin.ts";
import { encodeConnect, encodeSubscribe, type Packet, PacketStream, writePuback } from "../../sdk/packet.ts";
import { BenchError } from "./bench.ts";
import { reach } from "./clock.ts";
import { LoadSocket } from "./load_socket.ts";

/** A user with a login. */
export interface Account {
  readonly userId: string;
  readonly clientId: string;
  readonly token: string;
}

/** Who hears of what arrives; payloads are views, valid during the call. */
export interface LoadClientObserver {
  /** A PUBACK. */
  acknowledged(packetId: number, reasonCode: number): void;
  /** From `me/reply`. */
  reply(payload: Uint8Array): void;
  /** From `me/inbox`. */
  event(payload: Uint8Array): void;
  /** The connection was lost. */
  lost(reason: string): void;
}

/** How a virtual user connects. */
export interface LoadClientOptions {
  readonly wsUrl: string;
  readonly account: Account;
  readonly observer: LoadClientObserver;
  /** Size of the read buffer; 16 KiB unless said. */
  readonly readBytes?: number;
}

/** As the SDK's. */
const RECEIVE_MAXIMUM = 1_024;
/** Beyond the longest scenario, so that pings are no part of a figure. */
const KEEP_ALIVE_SECONDS = 600;
const SUBSCRIBE_ID = 65_535;
const PUBACK_BYTES = 4;
/** Users made, or connected, at the same time. */
const PARALLEL = 32;
/** Two requests each: the server API takes 10,000 in ten seconds. */
const ACCOUNTS_PER_SECOND = 450;

/** A connected virtual user, subscribed to `me/#` at QoS 1. */
export class LoadClient {
  /** When the bytes now being handled were read, as `performance.now()`. */
  receivedAtMs = 0;
  readonly #stream = new PacketStream();
  readonly #observer: LoadClientObserver;
  #acknowledgements = new Uint8Array(64);
  #acknowledged = 0;
  #socket: LoadSocket | null = null;
  #opened: PromiseWithResolvers<void> | null = Promise.withResolvers<void>();

  private constructor(observer: LoadClientObserver) {
    this.#observer = observer;
  }

  /** Connects and subscribes. */
  static async connect(options: LoadClientOptions): Promise<LoadClient> {
    const { account } = options;
    const client = new LoadClient(options.observer);
    const opened = client.#opened!.promise;
    const socket = client.#socket = await LoadSocket.open(options.wsUrl, {
      receive: (bytes) => client.#receive(bytes),
      closed: (reason) => client.#lose(reason),
    }, options.readBytes ?? 16_384);
    socket.send(encodeConnect({
      clientId: account.clientId,
      username: account.userId,
      password: account.token,
      keepAliveSeconds: KEEP_ALIVE_SECONDS,
      receiveMaximum: RECEIVE_MAXIMUM,
    }));
    await opened;
    return client;
  }

  /** Sends an encoded packet in a frame of its own; the bytes are copied at once. */
  send(packet: Uint8Array): void {
    this.#socket?.send(packet);
  }

  /** Closes without a word. */
  close(): void {
    this.#socket?.close();
  }

  #receive(bytes: Uint8Array): void {
    this.receivedAtMs = performance.now();
    // The stream keeps what is not whole yet, and the socket overwrites its buffer.
    this.#stream.push(bytes.slice());
    for (let packet = this.#stream.next(); packet !== null; packet = this.#stream.next()) this.#take(packet);
    this.#flushAcknowledgements();
  }

  #take(packet: Packet): void {
    switch (packet.type) {
      case "publish":
        if (packet.topic === "me/reply") this.#observer.reply(packet.payload);
        else this.#observer.event(packet.payload);
        if (packet.qos > 0) this.#acknowledge(packet.packetId);
        return;
      case "puback":
        return this.#observer.acknowledged(packet.packetId, packet.reasonCode);
      case "connack":
        if (packet.reasonCode !== 0) {
          return this.#lose(`CONNACK 0x${packet.reasonCode.toString(16)} ${packet.reasonString}`);
        }
        return this.send(encodeSubscribe(SUBSCRIBE_ID, "me/#", 1));
      case "suback":
        this.#opened?.resolve();
        this.#opened = null;
        return;
      case "disconnect":
        return this.#lose(`DISCONNECT 0x${packet.reasonCode.toString(16)} ${packet.reasonString}`);
      case "pingresp":
    }
  }

  /** Acknowledgements of what one read brought leave in one frame, as the SDK sends them. */
  #acknowledge(packetId: number): void {
    if (this.#acknowledged + PUBACK_BYTES > this.#acknowledgements.length) this.#flushAcknowledgements();
    this.#acknowledged = writePuback(this.#acknowledgements, this.#acknowledged, packetId);
  }

  #flushAcknowledgements(): void {
    if (this.#acknowledged === 0) return;
    this.send(this.#acknowledgements.subarray(0, this.#acknowledged));
    this.#acknowledged = 0;
  }

  #lose(reason: string): void {
    this.#socket?.close();
    if (this.#opened !== null) {
      this.#opened.reject(new BenchError(`A virtual user could not connect: ${reason}.`));
      this.#opened = null;
    } else this.#observer.lost(reason);
  }
}

/** Makes users with a login each, through the server API. */
export function createAccounts(server: AdminTarget, prefix: string, count: number): Promise<Account[]> {
  const beganAtMs = performance.now();
  return inParallel(count, async (i) => {
    await reach(beganAtMs + i / ACCOUNTS_PER_SECOND * 1_000);
    const userId = `${prefix}${i}`, clientId = `client-${userId}`;
    return { userId, clientId, token: await createLogin(server, userId, clientId) };
  });
}

/** Does something for 0 … count − 1, a few at a time; the results in order. */
export async function inParallel<T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(PARALLEL, count) }, async () => {
    while (next < count) {
      const i = next++;
      results[i] = await work(i);
    }
  }));
  return results;
}
