/** MQTT clients that send any bytes a test wants, over TCP and over WebSocket. */
import assert from "node:assert/strict";
import { type IConnackPacket, type Packet as CodecPacket, parser } from "mqtt-packet";
import type { ProtocolLevel } from "../broker/packet.ts";
import { createLogin } from "./admin.ts";
import {
  acknowledgement,
  connect,
  type ConnectParts,
  publish,
  type PublishParts,
  subscribe,
} from "./mqtt_bytes.ts";
import type { TestServer } from "./server.ts";

/** A way into the server. */
export type Door = "TCP" | "WebSocket";

/** Both ways in. */
export const DOORS: readonly Door[] = ["TCP", "WebSocket"];

/** Where a server listens. */
export type Target = Pick<TestServer, "wsUrl" | "tcpPort">;

/** Longer than anything a test waits for: what does not come by then fails the test instead of hanging it. */
const PATIENCE_MS = 20_000;

/** Rejects when it takes too long. */
export async function within<T>(what: string, promise: Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), patienceMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes both ways; `closed` gives the WebSocket's close code, null over TCP. */
interface Wire {
  readonly closed: Promise<number | null>;
  send(bytes: Uint8Array): Promise<void>;
  sendText?(text: string): void;
  close(): void;
}

/** The answer to a request. */
export interface RawReply {
  readonly requestId?: string;
  readonly command: string;
  readonly code: number;
  readonly error?: string;
  // deno-lint-ignore no-explicit-any
  readonly result?: any;
}

/** A client whose every byte is the test's. */
export class RawClient implements AsyncDisposable {
  readonly level: ProtocolLevel;
  /** Hears the bytes themselves, before they are read. */
  onBytes: ((bytes: Uint8Array) => void) | null = null;
  readonly #wire: Wire;
  readonly #packets: CodecPacket[] = [];
  #awaited: { resolve(packet: CodecPacket): void; reject(error: Error): void } | null = null;
  #isClosed = false;
  #lastPacketId = 0;

  private constructor(level: ProtocolLevel, open: (receive: (bytes: Uint8Array) => void) => Wire) {
    this.level = level;
    const reader = parser({ protocolVersion: level });
    reader.on("packet", (packet) => this.#receive(packet));
    reader.on("error", (error) => {
      throw error;
    });
    this.#wire = open((bytes) => {
      this.onBytes?.(bytes);
      reader.parse(bytes as Parameters<typeof reader.parse>[0]);
    });
    this.#wire.closed.then(() => {
      this.#isClosed = true;
      this.#awaited?.reject(new Error("the server closed the connection"));
    });
  }

  /** Opens a socket and sends nothing. */
  static async open(server: Target, door: Door, level: ProtocolLevel = 5): Promise<RawClient> {
    if (door === "TCP") {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.tcpPort });
      conn.setNoDelay(true);
      return new RawClient(level, (receive) => tcpWire(conn, receive));
    }
    const socket = new WebSocket(server.wsUrl, ["mqtt"]);
    socket.binaryType = "arraybuffer";
    const opened = Promise.withResolvers<void>();
    socket.onopen = () => opened.resolve();
    const client = new RawClient(level, (receive) => webSocketWire(socket, receive));
    client.#wire.closed.then(() => opened.reject(new Error("the server refused the WebSocket")));
    await opened.promise;
    return client;
  }

  /** Opens a socket, logs in and subscribes to everything of the user's own. */
  static async login(
    server: TestServer,
    door: Door,
    userId: string,
    options: { level?: ProtocolLevel; clientId?: string; qos?: number; connect?: ConnectParts } = {},
  ): Promise<RawClient> {
    const { level = 5, clientId = `client-${userId}`, qos = 1 } = options;
    const password = await createLogin(server, userId, clientId);
    const client = await RawClient.open(server, door, level);
    const connack = await client.connect({ userName: userId, clientId, password, ...options.connect });
    assert.equal(level === 5 ? connack.reasonCode : connack.returnCode, 0);
    await client.subscribe("me/#", qos);
    return client;
  }

  /** The close code of the WebSocket, null over TCP; when the server has closed. */
  get closed(): Promise<number | null> {
    return within("the close", this.#wire.closed);
  }

  /** Whether the connection has ended. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  #receive(packet: CodecPacket): void {
    const awaited = this.#awaited;
    this.#awaited = null;
    if (awaited === null) this.#packets.push(packet);
    else awaited.resolve(packet);
  }

  /** Sends bytes as they are, in one frame over WebSocket. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return this.#wire.send(bytes);
  }

  /** Sends a text frame. */
  sendText(text: string): void {
    this.#wire.sendText!(text);
  }

  /** The next packet from the server; rejects when the connection ends first. */
  next(): Promise<CodecPacket> {
    const [packet] = this.#packets.splice(0, 1);
    if (packet !== undefined) return Promise.resolve(packet);
    if (this.#isClosed) return Promise.reject(new Error("the server closed the connection"));
    return within("a packet", new Promise((resolve, reject) => this.#awaited = { resolve, reject }));
  }

  /** Logs in with a token that was made before; the subscription is `me/#`. */
  static async resume(
    server: Target,
    door: Door,
    login: {
      readonly userId: string;
      readonly clientId: string;
      readonly token: string;
      readonly qos?: number;
    },
  ): Promise<RawClient> {
    const { userId, clientId, token, qos = 1 } = login;
    const client = await RawClient.open(server, door);
    assert.equal((await client.connect({ userName: userId, clientId, password: token })).reasonCode, 0);
    await client.subscribe("me/#", qos);
    return client;
  }

  /** Everything from after a cursor up to the head, page by page. */
  // deno-lint-ignore no-explicit-any
  async pull(cursor = "0"): Promise<any[]> {
    const entries = [];
    for (;;) {
      const { code, result } = await this.request("message.pull", { cursor });
      assert.equal(code, 0);
      entries.push(...result.entries);
      cursor = result.cursor;
      if (cursor === result.head) return entries;
    }
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<CodecPacket[]> {
    await this.closed;
    return this.#packets.splice(0);
  }

  /** Sends CONNECT and gives the CONNACK. */
  async connect(parts: ConnectParts = {}): Promise<IConnackPacket> {
    await this.send(connect({ level: this.level, ...parts }));
    const packet = await this.next();
    assert.equal(packet.cmd, "connack");
    return packet as IConnackPacket;
  }

  /** Subscribes; the code that was granted. */
  async subscribe(topicFilter: string, qos: number): Promise<number> {
    await this.send(subscribe(this.level, ++this.#lastPacketId, [topicFilter, qos]));
    const packet = await this.next();
    assert.ok(packet.cmd === "suback" && packet.messageId === this.#lastPacketId);
    return packet.granted[0] as number;
  }

  /** A request as bytes, so that many can be sent at once. */
  requestBytes(command: string, body: unknown, parts: PublishParts = {}): Uint8Array<ArrayBuffer> {
    const payload = typeof body === "string" ? body : JSON.stringify(body);
    return publish(`im/${command}`, {
      level: this.level,
      qos: 1,
      packetId: this.#lastPacketId = this.#lastPacketId % 65_535 + 1,
      payload,
      ...parts,
    });
  }

  /** Makes a request and gives its reply; acknowledges what comes, and skips everything else. */
  async request(command: string, body: unknown, parts: PublishParts = {}): Promise<RawReply> {
    await this.send(this.requestBytes(command, body, parts));
    for (;;) {
      const { topic, payload } = await this.nextPublish();
      if (topic === "me/reply") return payload as RawReply;
    }
  }

  /** The next PUBLISH, acknowledged; other packets are skipped. */
  async nextPublish(): Promise<{ readonly topic: string; readonly payload: unknown }> {
    for (;;) {
      const packet = await this.next();
      if (packet.cmd !== "publish") continue;
      if (packet.qos === 1) await this.send(acknowledgement(0x40, packet.messageId!));
      return { topic: packet.topic, payload: JSON.parse(String(packet.payload)) };
    }
  }

  /** Ends the connection without a word. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#wire.close();
    await this.#wire.closed;
  }
}

function tcpWire(conn: Deno.TcpConn, receive: (bytes: Uint8Array) => void): Wire {
  let isClosed = false;
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    conn.close();
  };
  const read = async () => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let count = await conn.read(buffer); count !== null; count = await conn.read(buffer)) {
        // The codec hands out views.
        receive(buffer.slice(0, count));
      }
    } catch (error) {
      // Reset by the server, or closed by the test.
      if (!(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BadResource)) {
        if (!(error instanceof Deno.errors.Interrupted)) throw error;
      }
    }
    close();
    return null;
  };
  return {
    closed: read(),
    close,
    async send(bytes) {
      try {
        for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
      } catch {
        // The server has closed: reading tells.
      }
    },
  };
}

function webSocketWire(socket: WebSocket, receive: (bytes: Uint8Array) => void): Wire {
  const closed = Promise.withResolvers<number | null>();
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => receive(new Uint8Array(data));
  socket.onerror = (event) => event.preventDefault();
  socket.onclose = ({ code }) => closed.resolve(code);
  return {
    closed: closed.promise,
    close: () => socket.close(),
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes as Uint8Array<ArrayBuffer>);
      return Promise.resolve();
    },
    sendText: (text) => socket.send(text),
  };
}
