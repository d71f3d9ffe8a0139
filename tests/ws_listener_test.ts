/** MQTT over WebSocket on a port of its own. */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { createLogin } from "./admin.ts";
import { type Answer, sendRaw } from "./http.ts";
import { connect, join, packet, publish, subscribe } from "./mqtt_bytes.ts";
import { RawClient, type Target, within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const PINGREQ = packet(0xc0);
const LISTENING = { MQTT_WS_PORT: "0" };

/** The port as a place for clients to dial. */
function door(server: TestServer, path = "/mqtt"): Target & { readonly url: string } {
  const authority = `127.0.0.1:${server.hearth.mqttWsPort}`;
  return { url: `http://${authority}`, wsUrl: `ws://${authority}${path}`, tcpPort: 0 };
}

const UPGRADE: Readonly<Record<string, string>> = {
  "upgrade": "websocket",
  "connection": "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": "mqtt",
  "sec-websocket-extensions": "permessage-deflate",
};

/** Asks for a WebSocket; null takes a header away. */
function ask(server: TestServer, differing: Record<string, string | null>, path = "/mqtt"): Promise<Answer> {
  const headers = Object.entries({ ...UPGRADE, ...differing });
  const given = headers.filter((pair): pair is [string, string] => pair[1] !== null);
  return sendRaw({ url: door(server).url } as TestServer, { path, headers: Object.fromEntries(given) });
}

/** A WebSocket whose every byte is the test's, and which reads only when it is told to. */
class RawSocket implements Disposable {
  readonly conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(65_536);

  private constructor(conn: Deno.TcpConn) {
    this.conn = conn;
  }

  static async open(server: TestServer, differing: Record<string, string> = {}): Promise<RawSocket> {
    const port = server.hearth.mqttWsPort!;
    const socket = new RawSocket(await Deno.connect({ hostname: "127.0.0.1", port }));
    const lines = Object.entries({ host: `127.0.0.1:${port}`, ...UPGRADE, ...differing })
      .map(([name, value]) => `${name}: ${value}\r\n`).join("");
    await socket.write(new TextEncoder().encode(`GET /mqtt HTTP/1.1\r\n${lines}\r\n`));
    const answer = new TextDecoder().decode(await socket.read());
    assert.match(answer, /^HTTP\/1\.1 101 /);
    assert.doesNotMatch(answer, /sec-websocket-extensions/i, "compressed messages hide their length");
    return socket;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  /** What comes next; nothing when the server has closed. */
  async read(): Promise<Uint8Array> {
    try {
      const count = await within("bytes", this.conn.read(this.#buffer));
      return this.#buffer.slice(0, count ?? 0);
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return new Uint8Array(0);
      throw error;
    }
  }

  /** Reads up to the PINGRESP. */
  async pong(): Promise<Uint8Array> {
    let heard = new Uint8Array(0);
    while (!(heard.at(-2) === 0xd0 && heard.at(-1) === 0)) {
      const more = await this.read();
      assert.ok(more.length > 0, `closed after ${heard.toHex()}`);
      heard = join(heard, more);
    }
    return heard;
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let part = await this.read(); part.length > 0; part = await this.read()) parts.push(part);
    return join(...parts);
  }

  [Symbol.dispose](): void {
    this.conn.close();
  }
}

/** The start of a masked frame; the mask is 0, so that content stands as it is. */
function frameHead(first: number, length: number): Uint8Array {
  if (length < 126) return join(first, 0x80 | length, 0, 0, 0, 0);
  if (length < 65_536) return join(first, 0xfe, length >> 8, length & 0xff, 0, 0, 0, 0);
  const head = new Uint8Array(14);
  head[0] = first;
  head[1] = 0xff;
  new DataView(head.buffer).setBigUint64(2, BigInt(length));
  return head;
}

function frame(first: number, content: Uint8Array): Uint8Array {
  return join(frameHead(first, content.length), content);
}

/** A frame as a server sends it: a close frame with its code. */
const closeFrame = (code: number) => join(0x88, 2, code >> 8, code & 0xff);

function hello(clientMessageId: string) {
  return {
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target: "bob", line: 0 },
    content: { type: 1, searchableContent: "hello" },
  };
}

async function figure(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

/** Resolves when a figure of `/metrics` is what it should be. */
async function until(server: TestServer, name: string, value: number): Promise<void> {
  const reached = async () => {
    while (await figure(server, name) !== value) await new Promise((resume) => setTimeout(resume, 10));
  };
  await within(`${name} ${value}`, reached());
}

for (const [level, version] of [[4, "3.1.1"], [5, "5.0"]] as const) {
  Deno.test(`MQTT.js sends and hears over the port of its own, in ${version}`, async () => {
    await using server = await startServer(LISTENING);
    await using bob = await RawClient.login(server, "TCP", "bob");
    const password = await createLogin(server, "alice");
    const client = mqtt.connect(door(server).wsUrl, {
      protocolVersion: level,
      reconnectPeriod: 0,
      username: "alice",
      clientId: "client-alice",
      password,
    });
    const reply = new Promise<string>((resolve) =>
      client.once("message", (_, body) => resolve(String(body)))
    );
    await within("the CONNACK", new Promise((resolve) => client.once("connect", resolve)));
    await client.subscribeAsync("me/#", { qos: 2 });
    await client.publishAsync("im/message.send", JSON.stringify(hello("m1")), { qos: 2 });
    assert.equal(JSON.parse(await within("the reply", reply)).code, 0);
    const { payload } = await bob.nextPublish();
    assert.equal((payload as { message: { from: string } }).message.from, "alice");
    await client.endAsync();
  });
}

Deno.test("Packets may be split and merged in any way, in frames and fragments too [MQTT-6.0.0-2] 3.1.1 [MQTT-6.0.0-2]", async () => {
  await using server = await startServer(LISTENING);
  const password = await createLogin(server, "alice");
  const login = connect({ userName: "alice", clientId: "client-alice", password });
  const stream = join(login, subscribe(5, 1, ["me/#", 0]), PINGREQ);
  for (const size of [1, 7, 10_000]) {
    using socket = await RawSocket.open(server);
    for (let at = 0; at < stream.length; at += size) {
      const piece = stream.slice(at, at + size);
      // Every frame in two fragments, a ping between the first ones.
      await socket.write(frame(0x02, piece.slice(0, 1)));
      if (at === 0) await socket.write(frame(0x89, Uint8Array.of(7)));
      await socket.write(frame(0x80, piece.slice(1)));
    }
    assert.ok((await socket.pong()).includes(0x8a), "the ping was answered");
  }
});

Deno.test("A text frame closes the connection with 1003 [MQTT-6.0.0-1]", async () => {
  await using server = await startServer(LISTENING);
  await using client = await RawClient.open(door(server), "WebSocket");
  client.sendText("hello");
  assert.equal(await client.closed, 1003);
  await using other = await RawClient.open(door(server), "WebSocket");
  other.sendText("");
  assert.equal(await other.closed, 1003);
  assert.equal(await figure(server, "hearth_protocol_errors_total"), 2);
});

Deno.test("A message over the limit is refused from its first bytes with 1009", async () => {
  await using server = await startServer({ ...LISTENING, MAX_PACKET_BYTES: "4096" });
  const most = 4 * 4_096;
  using whole = await RawSocket.open(server);
  await whole.write(frameHead(0x82, most + 1));
  assert.deepEqual(await whole.read(), closeFrame(1009));
  using huge = await RawSocket.open(server);
  await huge.write(frameHead(0x82, 60 * 1024 * 1024));
  assert.deepEqual(await huge.read(), closeFrame(1009));
  using fragments = await RawSocket.open(server);
  await fragments.write(frame(0x02, new Uint8Array(most)));
  await fragments.write(frameHead(0x80, 1));
  assert.deepEqual(await fragments.read(), closeFrame(1009));
  assert.equal(await figure(server, "hearth_protocol_errors_total"), 3);
  // A packet over its own limit is MQTT's to refuse.
  await using client = await RawClient.open(door(server), "WebSocket");
  await client.connect({
    userName: "alice",
    clientId: "client-alice",
    password: await createLogin(server, "alice"),
  });
  await client.send(publish("im/sync", { payload: "x".repeat(4_096) }));
  const [last] = await client.rest();
  assert.ok(last?.cmd === "disconnect" && last.reasonCode === 0x95);
});

/** Writes the same bytes again and again until the server has had enough; how many it and the kernels took. */
async function pour(socket: RawSocket, bytes: Uint8Array, most: number): Promise<number> {
  let poured = 0;
  try {
    for (; poured < most; poured += bytes.length) await within("the end", socket.write(bytes));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset)) {
      throw error;
    }
  }
  return poured;
}

Deno.test("What follows a message over the limit, or a close, is not read to be dropped", async () => {
  await using server = await startServer(LISTENING);
  const most = 60 * 1024 * 1024;
  using huge = await RawSocket.open(server);
  await huge.write(frameHead(0x82, most));
  // The kernels hold some megabytes.
  assert.ok(await pour(huge, new Uint8Array(65_536), most) < most / 2);
  assert.deepEqual(await huge.read(), closeFrame(1009));
  using broken = await RawSocket.open(server);
  await broken.write(frame(0x82, Uint8Array.of(0)));
  assert.ok(await pour(broken, frame(0x82, new Uint8Array(60_000)), most) < most / 2);
  assert.deepEqual(await broken.read(), closeFrame(1002));
});

Deno.test("A message of many packets is taken", async () => {
  await using server = await startServer({ ...LISTENING, MAX_PACKET_BYTES: "4096" });
  const password = await createLogin(server, "alice");
  await using client = await RawClient.open(door(server), "WebSocket");
  await client.connect({ userName: "alice", clientId: "client-alice", password });
  const ping = Array.from({ length: 4 * 4_096 / PINGREQ.length }, () => PINGREQ);
  await client.send(...ping);
  for (let i = 0; i < ping.length; i++) assert.equal((await client.next()).cmd, "pingresp");
});

Deno.test("Frames that break the protocol close their own connection and no other", async () => {
  await using server = await startServer(LISTENING);
  await using other = await RawClient.open(door(server), "WebSocket");
  const frames: readonly [string, Uint8Array, number][] = [
    ["not masked", Uint8Array.of(0x82, 1, 0), 1002],
    ["reserved bits", frame(0xc2, PINGREQ), 1002],
    ["an unknown kind", frame(0x83, PINGREQ), 1002],
    ["a fragment without a beginning", frame(0x80, PINGREQ), 1002],
    ["ill-formed text", frame(0x81, Uint8Array.of(0xff)), 1007],
  ];
  for (const [name, bytes, code] of frames) {
    using socket = await RawSocket.open(server);
    await socket.write(bytes);
    assert.deepEqual(await socket.read(), closeFrame(code), name);
  }
  assert.equal(await figure(server, "hearth_protocol_errors_total"), frames.length);
  assert.equal(other.isClosed, false);
});

Deno.test("Only MQTT, at its paths, for programs and pages of known origins, is let in", async (t) => {
  await using server = await startServer({
    ...LISTENING,
    PUBLIC_URL: "http://chat.example.org",
    ALLOWED_ORIGINS: "https://app.example.org",
  });
  const port = server.hearth.mqttWsPort!;
  const cases: readonly [string, Record<string, string | null>, string, number, string?][] = [
    ["a program", {}, "/mqtt", 101, "mqtt"],
    ["a program at the other path", {}, "/", 101, "mqtt"],
    ["a query", {}, "/mqtt?x=1", 101, "mqtt"],
    ["another path", {}, "/elsewhere", 404],
    ["a path below", {}, "/mqtt/x", 404],
    ["a page of ours", { origin: "http://chat.example.org" }, "/mqtt", 101, "mqtt"],
    ["a page of an allowed origin", { origin: "https://app.example.org" }, "/mqtt", 101, "mqtt"],
    ["a page of another origin", { origin: "https://evil.example.org" }, "/mqtt", 403],
    ["a page that had its name point here", { origin: `http://evil.example.org:${port}` }, "/mqtt", 403],
    ["a page from this very port", { origin: `http://127.0.0.1:${port}` }, "/mqtt", 403],
    ["a sandboxed frame", { origin: "null" }, "/mqtt", 403],
    ["the older name", { "sec-websocket-protocol": "mqttv3.1" }, "/mqtt", 101, "mqttv3.1"],
    ["both names without a space", { "sec-websocket-protocol": "mqttv3.1,mqtt" }, "/mqtt", 101, "mqtt"],
    ["others besides", { "sec-websocket-protocol": "chat , mqtt" }, "/mqtt", 101, "mqtt"],
    ["no sub-protocol", { "sec-websocket-protocol": null }, "/mqtt", 400],
    ["another sub-protocol", { "sec-websocket-protocol": "mqtt2" }, "/mqtt", 400],
    ["no key", { "sec-websocket-key": null }, "/mqtt", 400],
    ["no upgrade", { upgrade: null, connection: "close" }, "/mqtt", 426],
  ];
  for (const [name, headers, path, status, subProtocol] of cases) {
    await t.step(`${name}: ${status}`, async () => {
      const answer = await ask(server, headers, path);
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get("sec-websocket-protocol"), subProtocol ?? null);
    });
  }
  await t.step("a refusal says why", async () => {
    const refused = await ask(server, { origin: "https://evil.example.org" });
    assert.equal(refused.json().error, "request/no-right");
  });
});

Deno.test("An address with too many connections is told when to come again, by the address its proxy names", async () => {
  await using server = await startServer({
    ...LISTENING,
    TRUSTED_PROXIES: "127.0.0.1",
    MAX_UNAUTHENTICATED_PER_IP: "1",
  });
  const from = (address: string) => ({ "x-forwarded-for": address });
  using _first = await RawSocket.open(server, from("203.0.113.1"));
  const refused = await ask(server, from("198.51.100.9, 203.0.113.1"));
  assert.deepEqual([refused.status, refused.json().code], [429, 250]);
  assert.equal(refused.headers.get("retry-after"), "10");
  assert.equal((await ask(server, from("203.0.113.2"))).status, 101);
});

Deno.test("Connections that never ask for a WebSocket are few", async () => {
  await using server = await startServer({
    ...LISTENING,
    MAX_UNAUTHENTICATED: "1",
    CONNECT_TIMEOUT_SECONDS: "600",
  });
  const dial = () => Deno.connect({ hostname: "127.0.0.1", port: server.hearth.mqttWsPort! });
  const silent = await dial();
  await until(server, "hearth_connections_unauthenticated", 1);
  const refused = await dial();
  assert.equal(await within("the refusal", refused.read(new Uint8Array(1)).catch(() => null)), null);
  refused.close();
  silent.close();
  await until(server, "hearth_connections_unauthenticated", 0);
  assert.equal((await ask(server, {})).status, 101);
});

Deno.test("Connections that never ask for a WebSocket have the time of a CONNECT", async () => {
  await using server = await startServer({ ...LISTENING, CONNECT_TIMEOUT_SECONDS: "2" });
  const port = server.hearth.mqttWsPort!;
  const dial = () => Deno.connect({ hostname: "127.0.0.1", port });
  const silent: Deno.TcpConn[] = [];
  for (let i = 0; i < 10; i++) {
    const conn = await dial();
    if (i % 2 === 0) await conn.write(new TextEncoder().encode("GET /mqtt HTTP/1.1\r\nhost: x\r\nx-slow: "));
    silent.push(conn);
  }
  await until(server, "hearth_connections_unauthenticated", 10);
  const end = async (conn: Deno.TcpConn) => {
    const count = await conn.read(new Uint8Array(1)).catch(() => null);
    conn.close();
    return count;
  };
  assert.deepEqual(await within("the ends", Promise.all(silent.map(end))), Array(10).fill(null));
  await until(server, "hearth_connections_unauthenticated", 0);
});

Deno.test("A peer that leaves the close frame unanswered is cut off", async () => {
  await using server = await startServer(LISTENING);
  using socket = await RawSocket.open(server);
  await socket.write(frame(0x81, Uint8Array.of(0x61)));
  assert.deepEqual(await socket.read(), closeFrame(1003));
  // It neither answers nor closes.
  assert.deepEqual(await socket.rest(), new Uint8Array(0));
});

Deno.test("A silent peer is pinged and let go; one that answers stays", async () => {
  await using server = await startServer({ ...LISTENING, IDLE_TIMEOUT_SECONDS: "10" });
  // Deno's own WebSocket answers pings by itself.
  await using alive = await RawClient.open(door(server), "WebSocket");
  const password = await createLogin(server, "alice");
  await alive.connect({ userName: "alice", clientId: "client-alice", password, keepAliveSeconds: 0 });
  using dead = await RawSocket.open(server);
  const bob = await createLogin(server, "bob");
  const login = connect({ userName: "bob", clientId: "client-bob", password: bob, keepAliveSeconds: 0 });
  await dead.write(frame(0x82, login));
  assert.equal((await dead.read())[0], 0x82, "the CONNACK");
  const rest = await dead.rest();
  assert.deepEqual(rest, join(0x89, 0, closeFrame(1001)));
  await alive.send(PINGREQ);
  assert.equal((await alive.next()).cmd, "pingresp");
});

Deno.test("Who stops reading is cut off, and what waited for it is given back", async () => {
  await using server = await startServer({
    ...LISTENING,
    RATE_LIMITS: "off",
    MAX_WAITING_BYTES: "262144",
    STALLED_SECONDS: "600",
  });
  const password = await createLogin(server, "bob");
  using deaf = await RawSocket.open(server);
  const login = connect({ userName: "bob", clientId: "client-bob", password });
  await deaf.write(frame(0x82, join(login, subscribe(5, 1, ["me/#", 0]), PINGREQ)));
  await deaf.pong();
  await using alice = await RawClient.login(server, "TCP", "alice");
  const large = { ...hello("m"), content: { type: 1, searchableContent: "x".repeat(40_000) } };
  for (let sent = 0; await figure(server, "hearth_connections_cut_off_total") === 0; sent++) {
    assert.ok(sent < 2_000, "80 MB went somewhere");
    assert.equal((await alice.request("message.send", { ...large, clientMessageId: `m${sent}` })).code, 0);
  }
  // Nothing is read until the server has given up: the socket is gone though its peer did nothing.
  const startedAt = performance.now();
  await server.hearth.drain("SIGTERM");
  assert.ok(performance.now() - startedAt < 10_000, "a drain does not wait for it");
});

Deno.test("A drain tells everybody why and takes nobody new", async () => {
  await using server = await startServer(LISTENING);
  await using client = await RawClient.open(door(server), "WebSocket");
  const password = await createLogin(server, "alice");
  await client.connect({ userName: "alice", clientId: "client-alice", password });
  using waiting = await RawSocket.open(server);
  await server.hearth.drain("SIGTERM");
  const [last] = await client.rest();
  assert.ok(last?.cmd === "disconnect" && last.reasonCode === 0x8b);
  assert.equal(await client.closed, 1001);
  assert.deepEqual(await waiting.rest(), closeFrame(1001));
  await assert.rejects(
    Deno.connect({ hostname: "127.0.0.1", port: server.hearth.mqttWsPort! }),
    Deno.errors.ConnectionRefused,
  );
});

Deno.test("The login cookie opens nothing on this port", async () => {
  await using server = await startServer({ ...LISTENING, PUBLIC_URL: "http://chat.example.org" });
  const headers = { origin: "http://chat.example.org", cookie: "hearth_session=anything" };
  using socket = await RawSocket.open(server, headers);
  await socket.write(frame(0x82, connect({ clientId: "client-alice" })));
  const answer = await socket.read();
  assert.deepEqual([answer[0], answer[2]], [0x82, 0x20], "a CONNACK");
  assert.ok(answer[5]! >= 0x80, "that refuses");
});
