/** A client of plain MQTT 3.1.1 that costs next to nothing, for brokers of any make. */
import { acknowledgement, connect, type ConnectParts, packet, subscribe } from "../../tests/mqtt_bytes.ts";
import { BenchError } from "./bench.ts";
import { LoadSocket } from "./load_socket.ts";
import { MqttReader } from "./mqtt_reader.ts";

/** Who hears of what arrives. */
export interface MqttLoadObserver {
  /** A PUBLISH; `mark` is the number in the first two bytes of its payload. */
  message(mark: number): void;
  /** The PUBACK or PUBCOMP of a PUBLISH. */
  completed(packetId: number): void;
  /** The connection was lost. */
  lost(reason: string): void;
}

/** How a client connects. */
export interface MqttLoadClientOptions {
  /** ws: or tcp:. */
  readonly url: string;
  readonly connect: ConnectParts;
  readonly observer: MqttLoadObserver;
  /** Size of the read buffer. */
  readonly readBytes: number;
}

const TYPE = { connack: 2, publish: 3, puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7, suback: 9, pingresp: 13 };
const LEVEL = 4;
/** Beyond the longest scenario, so that pings are no part of a figure. */
const KEEP_ALIVE_SECONDS = 600;
const SUBSCRIBE_ID = 65_535;
const PINGREQ = packet(0xc0);

/** A connected client, which acknowledges what it is sent. */
export class MqttLoadClient {
  readonly #observer: MqttLoadObserver;
  readonly #reader = new MqttReader({ packet: (bytes, at, bodyAt) => this.#take(bytes, at, bodyAt) });
  readonly #acknowledgement = acknowledgement(0, 0);
  #socket!: LoadSocket;
  /** The one thing that was asked and is not answered. */
  #asked: PromiseWithResolvers<void> | null = null;

  private constructor(observer: MqttLoadObserver) {
    this.#observer = observer;
  }

  /** Connects; rejects with a BenchError when the broker does not want it. */
  static async connect(options: MqttLoadClientOptions): Promise<MqttLoadClient> {
    const client = new MqttLoadClient(options.observer);
    client.#socket = await LoadSocket.open(options.url, {
      receive: (bytes) => client.#reader.push(bytes),
      closed: (reason) => client.#lose(reason),
    }, options.readBytes);
    await client.#ask(connect({ level: LEVEL, keepAliveSeconds: KEEP_ALIVE_SECONDS, ...options.connect }));
    return client;
  }

  /** Whether packets travel in WebSocket frames. */
  get isFramed(): boolean {
    return this.#socket.isFramed;
  }

  /** Subscribes to one filter. */
  async subscribe(topicFilter: string, qos: number): Promise<void> {
    await this.#ask(subscribe(LEVEL, SUBSCRIBE_ID, [topicFilter, qos]));
  }

  /** Resolves with the answer to a PINGREQ. */
  async ping(): Promise<void> {
    await this.#ask(PINGREQ);
  }

  /** Sends packets that are framed already, where there are frames. */
  sendFramed(frames: Uint8Array): void {
    this.#socket.sendFramed(frames);
  }

  /** Closes without a word. */
  close(): void {
    this.#socket.close();
  }

  async #ask(request: Uint8Array): Promise<void> {
    this.#asked = Promise.withResolvers();
    this.#socket.send(request);
    await this.#asked.promise;
  }

  #take(bytes: Uint8Array, at: number, bodyAt: number): void {
    const first = bytes[at]!;
    switch (first >> 4) {
      case TYPE.publish: {
        const qos = first >> 1 & 3;
        const idAt = bodyAt + 2 + uint16At(bytes, bodyAt);
        if (qos > 0) this.#acknowledge(qos === 1 ? 0x40 : 0x50, bytes, idAt);
        return this.#observer.message(uint16At(bytes, qos > 0 ? idAt + 2 : idAt));
      }
      case TYPE.puback:
      case TYPE.pubcomp:
        return this.#observer.completed(uint16At(bytes, bodyAt));
      case TYPE.pubrec:
        return this.#acknowledge(0x62, bytes, bodyAt);
      case TYPE.pubrel:
        return this.#acknowledge(0x70, bytes, bodyAt);
      case TYPE.connack:
        return this.#answered(bytes[bodyAt + 1]! === 0, `CONNACK ${bytes[bodyAt + 1]}`);
      case TYPE.suback:
        return this.#answered(bytes[bodyAt + 2]! < 0x80, "the subscription was refused");
      case TYPE.pingresp:
        return this.#answered(true, "");
      default:
        return this.#lose(`a packet of type ${first >> 4} came`);
    }
  }

  /** In a frame of its own, as most clients do. */
  #acknowledge(first: number, bytes: Uint8Array, idAt: number): void {
    const acknowledgement = this.#acknowledgement;
    acknowledgement[0] = first;
    acknowledgement[2] = bytes[idAt]!;
    acknowledgement[3] = bytes[idAt + 1]!;
    this.#socket.send(acknowledgement);
  }

  #answered(isGood: boolean, refusal: string): void {
    if (!isGood) return this.#lose(refusal);
    this.#asked?.resolve();
    this.#asked = null;
  }

  #lose(reason: string): void {
    this.#socket?.close();
    if (this.#asked !== null) {
      this.#asked.reject(new BenchError(`A client was refused or lost: ${reason}.`));
      this.#asked = null;
    } else this.#observer.lost(reason);
  }
}

function uint16At(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}
