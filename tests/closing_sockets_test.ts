/** Sockets that the server has closed and whose peers do not answer: nothing but their peers can end them. */
import assert from "node:assert/strict";
import { OpenStreams } from "../broker/open_streams.ts";
import { WebSocketStream } from "../broker/web_socket_stream.ts";
import { createLogin } from "./admin.ts";
import { connect, join, packet, type Part } from "./mqtt_bytes.ts";
import { within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";
import { upgradeRequest } from "./fuzz/frames.ts";

const PINGREQ = packet(0xc0);
const CLOSE_FRAME = 0x88;

/** A binary frame as clients send it; a mask of zeros leaves the content as it is. */
function frame(content: Uint8Array): Uint8Array {
  assert.ok(content.length < 126);
  return join(0x82, 0x80 | content.length, [0, 0, 0, 0], content);
}

/** A WebSocket client that does nothing by itself. */
class HandMadeSocket implements Disposable {
  readonly #conn: Deno.TcpConn;
  #unread: number[] = [];

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Asks for a WebSocket; `status` is what the server answered. */
  static async dial(port: number, address?: string) {
    const socket = new HandMadeSocket(await Deno.connect({ hostname: "127.0.0.1", port }));
    await socket.#write(upgradeRequest(port, address));
    let head = "";
    while (!head.endsWith("\r\n\r\n")) head += String.fromCharCode(await socket.#nextByte());
    return { socket, status: Number(head.split(" ")[1]), head };
  }

  /** A socket that is taken. */
  static async open(port: number, address?: string): Promise<HandMadeSocket> {
    const { socket, status } = await HandMadeSocket.dial(port, address);
    assert.equal(status, 101);
    return socket;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await this.#conn.write(bytes.subarray(sent));
  }

  async #nextByte(): Promise<number> {
    if (this.#unread.length === 0) {
      const buffer = new Uint8Array(1_024);
      const count = await within("an answer", this.#conn.read(buffer));
      assert.ok(count !== null, "the server has not closed the TCP connection");
      this.#unread = [...buffer.subarray(0, count)];
    }
    return this.#unread.shift()!;
  }

  send(...packets: readonly Part[]): Promise<void> {
    return this.#write(frame(join(...packets)));
  }

  /** Reads as far as the server's close frame, and leaves it without an answer. */
  async untilClosing(): Promise<void> {
    for (;;) {
      const first = await this.#nextByte();
      const length = await this.#nextByte();
      assert.ok(length < 126);
      for (let i = 0; i < length; i++) await this.#nextByte();
      if (first === CLOSE_FRAME) return;
    }
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

/** A socket without a good CONNECT that the server has closed. */
async function openClosing(server: TestServer, address?: string): Promise<HandMadeSocket> {
  const socket = await HandMadeSocket.open(server.hearth.port, address);
  await socket.send(PINGREQ);
  await socket.untilClosing();
  return socket;
}

/** What the server answers to one more. */
async function statusOf(server: TestServer, address?: string): Promise<number> {
  const { socket, status } = await HandMadeSocket.dial(server.hearth.port, address);
  socket[Symbol.dispose]();
  return status;
}

/** Waits until the server takes one more. */
async function untilTaken(server: TestServer, address?: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (await statusOf(server, address) !== 101) assert.ok(performance.now() < deadline, "still refused");
}

Deno.test("Sockets whose peers do not answer the close count for their address until the peers close them", async () => {
  await using server = await startServer({ LIMIT_LOOPBACK: "true", MAX_UNAUTHENTICATED_PER_IP: "3" });
  using closing = new DisposableStack();
  for (let i = 0; i < 3; i++) closing.use(await openClosing(server));
  const { socket, status, head } = await HandMadeSocket.dial(server.hearth.port);
  closing.use(socket);
  assert.equal(status, 429);
  assert.match(head, /^retry-after: 10\r$/im);
  closing.dispose();
  await untilTaken(server);
});

Deno.test("Sockets whose peers do not answer the close keep nobody else out", async () => {
  await using server = await startServer({
    TRUSTED_PROXIES: "127.0.0.1",
    MAX_UNAUTHENTICATED_PER_IP: "2",
    MAX_UNAUTHENTICATED: "2",
  });
  using closing = new DisposableStack();
  for (let i = 0; i < 2; i++) closing.use(await openClosing(server, `2001:db8:1:2::${i}`));
  assert.equal(await statusOf(server, "2001:db8:1:2::9"), 429, "an IPv6 network is one address");
  assert.equal(await statusOf(server, "2001:db8:1:3::9"), 101);
});

Deno.test("Sockets of a proxy that names no client are taken though their peers do not answer the close", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1", MAX_UNAUTHENTICATED_PER_IP: "1" });
  using closing = new DisposableStack();
  for (let i = 0; i < 3; i++) closing.use(await openClosing(server));
});

Deno.test("Sockets that had a good CONNECT count as connections of their address alone", async () => {
  await using server = await startServer({
    LIMIT_LOOPBACK: "true",
    MAX_UNAUTHENTICATED_PER_IP: "1",
    MAX_CONNECTIONS_PER_IP: "2",
  });
  using closing = new DisposableStack();
  for (const userName of ["alice", "bob"]) {
    const password = await createLogin(server, userName);
    const socket = closing.use(await HandMadeSocket.open(server.hearth.port));
    await socket.send(connect({ userName, clientId: `client-${userName}`, password }), packet(0xe0));
    await socket.untilClosing();
  }
  assert.equal(await statusOf(server), 429);
  closing.dispose();
  await untilTaken(server);
});

/** A server that hands over the socket of one upgrade as a stream, and waits before it answers. */
function serveOne(streams: OpenStreams, beforeUpgrade: (request: Request) => Promise<void>) {
  const { promise, resolve } = Promise.withResolvers<WebSocketStream>();
  const stop = new AbortController();
  const listening = { hostname: "127.0.0.1", port: 0, signal: stop.signal, onListen: () => {} };
  const http = Deno.serve(listening, async (request) => {
    await beforeUpgrade(request);
    const { socket, response } = Deno.upgradeWebSocket(request);
    const stream = new WebSocketStream(socket, { address: "127.0.0.1", isTrustedProxy: false }, streams);
    stream.open({
      receive: () => {},
      receiveText: () => {},
      ended: () => {},
    });
    stream.close(1008);
    resolve(stream);
    return response;
  });
  const end = () => {
    stop.abort();
    return within("the end of the server", http.finished);
  };
  return { port: http.addr.port, stream: promise, end };
}

Deno.test("A socket that is closed before it opens is closed when it has opened", async () => {
  const streams = new OpenStreams();
  const { port, end } = serveOne(streams, () => Promise.resolve());
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  const { code } = await within(
    "the close",
    new Promise<CloseEvent>((resolve) => client.addEventListener("close", resolve)),
  );
  assert.equal(code, 1008);
  await end();
});

Deno.test({
  name: "A socket that never opens, since its peer has left, is not waited for when it is closed",
  // The runtime goes on waiting for the upgrade, even when its server has ended.
  sanitizeOps: false,
  fn: closeNeverOpened,
});

async function closeNeverOpened(): Promise<void> {
  const streams = new OpenStreams();
  const begun = Promise.withResolvers<void>();
  const { port, stream, end } = serveOne(streams, (request) => {
    const gone = new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
    begun.resolve();
    return gone;
  });
  const client = await Deno.connect({ hostname: "127.0.0.1", port });
  const request = "GET / HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n" +
    "sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
  await client.write(new TextEncoder().encode(request));
  await begun.promise;
  client.close();
  const done = Promise.withResolvers<void>();
  streams.whenClosed(await within("the stream", stream), done.resolve);
  await within("the end of the stream", done.promise);
  await end();
}
