/** MQTT over TLS, through the real server. */
import assert from "node:assert/strict";
import { connect as connectTls } from "node:tls";
import mqtt from "mqtt";
import { Admissions } from "../broker/admission.ts";
import { OpenStreams } from "../broker/open_streams.ts";
import { TlsListener } from "../broker/tls_listener.ts";
import type { TlsStream } from "../broker/tls_stream.ts";
import { ConfigError, readCertificate, readConfig } from "../config.ts";
import { boot } from "../main.ts";
import { StartError } from "../store/mod.ts";
import { createLogin } from "./admin.ts";
import { createTestDatabase, quietLog } from "./database.ts";
import { connect } from "./mqtt_bytes.ts";
import { RawClient, within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";
import { CERTIFICATE, PRIVATE_KEY, writeTlsFiles } from "./tls.ts";

function mosquittoPub(): boolean {
  try {
    new Deno.Command("mosquitto_pub", { args: ["--help"], stdout: "null", stderr: "null" }).outputSync();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

// A machine that is there to test has the programs.
const hasMosquitto = mosquittoPub() || Deno.env.get("CI") === "true";

/** A TCP connection to the port of MQTT over TLS. */
function dial(server: TestServer): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: server.hearth.mqttTlsPort! });
}

/** Reads until the server has closed. */
async function readToEnd(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4_096);
  try {
    while (await conn.read(buffer) !== null);
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
}

async function readMetrics(server: TestServer): Promise<string> {
  return await (await fetch(`${server.url}/metrics`)).text();
}

/** Logs in over TLS with a client library of its own. */
async function logIn(
  server: TestServer,
  userId: string,
  password: string,
  port = server.hearth.mqttTlsPort!,
): Promise<mqtt.MqttClient> {
  const client = mqtt.connect(`mqtts://127.0.0.1:${port}`, {
    ca: CERTIFICATE,
    protocolVersion: 5,
    reconnectPeriod: 0,
    username: userId,
    clientId: `client-${userId}`,
    password,
  });
  const opened = Promise.withResolvers<void>();
  client.once("connect", () => opened.resolve());
  client.once("error", (error) => opened.reject(error));
  await within("the CONNACK", opened.promise);
  return client;
}

const hello = JSON.stringify({
  clientMessageId: "m1",
  conversation: { type: 0, target: "bob", line: 0 },
  content: { type: 1, searchableContent: "hello" },
});

Deno.test("MQTT.js sends over TLS what is heard over TCP", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer(files.settings);
  await using bob = await RawClient.login(server, "TCP", "bob");
  const alice = await logIn(server, "alice", await createLogin(server, "alice"));
  await alice.publishAsync("im/message.send", hello, { qos: 1 });
  const { payload } = await bob.nextPublish();
  assert.equal((payload as { message: { from: string } }).message.from, "alice");
  await alice.endAsync();
});

Deno.test("A large answer arrives whole over TLS, and what is sent before a close too", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer(files.settings);
  await using bob = await RawClient.login(server, "TCP", "bob", { qos: 0 });
  const alice = await logIn(server, "alice", await createLogin(server, "alice"));
  const reply = new Promise<string>((resolve) => alice.once("message", (_, body) => resolve(String(body))));
  const texts = Array.from({ length: 3 }, (_, i) => ({
    clientMessageId: `m${i}`,
    conversation: { type: 0, target: "alice", line: 0 },
    content: { type: 1, searchableContent: "x".repeat(40_000) },
  }));
  for (const text of texts) assert.equal((await bob.request("message.send", text)).code, 0);
  await alice.subscribeAsync("me/reply", { qos: 0 });
  await alice.publishAsync("im/message.pull", `{"cursor":"0"}`, { qos: 1 });
  const { result } = JSON.parse(await within("the reply", reply));
  assert.equal(result.entries.length, 3);
  const told = new Promise<number | undefined>((resolve) =>
    alice.once("disconnect", ({ reasonCode }) => resolve(reasonCode))
  );
  await server.hearth.drain("SIGTERM");
  assert.equal(await within("the DISCONNECT", told), 0x8b);
  await alice.endAsync(true);
});

/** Carries one connection to a port, until it stops taking what the server sends. */
async function startRelay(targetPort: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let isStopped = false;
  const carry = async (from: Deno.TcpConn, to: Deno.TcpConn, mayStop: boolean) => {
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const count = await from.read(buffer).catch(() => null);
      if (count === null || (mayStop && isStopped)) return;
      for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
    }
  };
  const server = await Deno.connect({ hostname: "127.0.0.1", port: targetPort });
  const carrying = (async () => {
    using client = await listener.accept();
    await Promise.all([carry(client, server, false), carry(server, client, true)]);
  })();
  return {
    port: listener.addr.port,
    stop: () => isStopped = true,
    async [Symbol.asyncDispose]() {
      server.close();
      listener.close();
      await carrying;
    },
  };
}

Deno.test("Who stops reading over TLS is cut off, and does not hold a drain up", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer({
    ...files.settings,
    RATE_LIMITS: "off",
    MAX_WAITING_BYTES: "262144",
    STALLED_SECONDS: "600",
  });
  await using relay = await startRelay(server.hearth.mqttTlsPort!);
  const bob = await logIn(server, "bob", await createLogin(server, "bob"), relay.port);
  await bob.subscribeAsync("me/#", { qos: 0 });
  relay.stop();
  await using alice = await RawClient.login(server, "TCP", "alice");
  const cutOff = async () => /^hearth_connections_cut_off_total 1$/m.test(await readMetrics(server));
  for (let sent = 0; !await cutOff(); sent++) {
    assert.ok(sent < 2_000, "80 MB went somewhere");
    const { code } = await alice.request("message.send", {
      clientMessageId: `m${sent}`,
      conversation: { type: 0, target: "bob", line: 0 },
      content: { type: 1, searchableContent: "x".repeat(40_000) },
    });
    assert.equal(code, 0);
  }
  const startedAt = performance.now();
  await server.hearth.drain("SIGTERM");
  assert.ok(performance.now() - startedAt < 10_000);
  await bob.endAsync(true);
});

Deno.test("A peer that never closes its side does not hold a closed TLS stream up", async () => {
  const { limits } = readConfig({});
  const log = quietLog();
  const streams = new OpenStreams();
  const accepted = Promise.withResolvers<TlsStream>();
  const admissions = new Admissions(limits);
  const listener = await TlsListener.open(
    { log, streams, limits, admissions, accept: (stream) => accepted.resolve(stream) },
    { hostname: "127.0.0.1", port: 0, cert: CERTIFICATE, key: PRIVATE_KEY },
  );
  await using relay = await startRelay(listener.port);
  const peer = connectTls({ host: "127.0.0.1", port: relay.port, ca: CERTIFICATE });
  peer.on("error", () => {});
  const stream = await within("the handshake", accepted.promise);
  stream.open({ receive() {}, receiveText() {}, ended() {} });
  relay.stop();
  stream.close(1000);
  const startedAt = performance.now();
  await streams.settled(15_000);
  assert.ok(performance.now() - startedAt < 10_000);
  peer.destroy();
  listener.close();
});

Deno.test({
  name: "mosquitto_pub sends over TLS",
  ignore: !hasMosquitto,
  async fn() {
    await using files = await writeTlsFiles();
    await using server = await startServer(files.settings);
    await using bob = await RawClient.login(server, "TCP", "bob");
    const password = await createLogin(server, "alice");
    const { code, stderr } = await new Deno.Command("mosquitto_pub", {
      args: [
        ...["-h", "127.0.0.1", "-p", String(server.hearth.mqttTlsPort), "--cafile", files.cert],
        ...["-V", "mqttv5", "-i", "client-alice", "-u", "alice", "-P", password],
        ...["-t", "im/message.send", "-q", "1", "-m", hello],
      ],
      stdout: "null",
      stderr: "piped",
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const { payload } = await bob.nextPublish();
    assert.equal((payload as { message: { from: string } }).message.from, "alice");
  },
});

Deno.test("Bytes that are no TLS end their own connection and no other", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer(files.settings);
  const password = await createLogin(server, "alice");
  const starts: readonly Uint8Array[] = [
    connect({ userName: "alice", clientId: "client-alice", password }),
    new TextEncoder().encode("GET /mqtt HTTP/1.1\r\nhost: x\r\n\r\n"),
    // A record of the handshake with a length of its content that is none.
    Uint8Array.of(0x16, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 0),
    Uint8Array.of(0x16, 3, 1, 0xff, 0xff, ...new Uint8Array(70_000)),
  ];
  for (const bytes of starts) {
    using conn = await dial(server);
    await conn.write(bytes);
    await within("the end", readToEnd(conn));
  }
  const client = await logIn(server, "alice", password);
  await client.endAsync();
});

Deno.test("Handshakes that never end hold nobody up, and end with the time for the CONNECT", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer({ ...files.settings, CONNECT_TIMEOUT_SECONDS: "2" });
  const half: Deno.TcpConn[] = [];
  for (let i = 0; i < 100; i++) {
    const conn = await dial(server);
    // The first bytes of a ClientHello of 512.
    if (i % 2 === 0) await conn.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3));
    half.push(conn);
  }
  const client = await logIn(server, "alice", await createLogin(server, "alice"));
  await client.publishAsync("im/sync", "{}", { qos: 1 });
  await within("the ends", Promise.all(half.map(readToEnd)));
  assert.equal(client.connected, true);
  await client.endAsync();
  for (const conn of half) conn.close();
});

Deno.test("Handshakes are connections without a CONNECT: they are few, and make room when they end", async () => {
  await using files = await writeTlsFiles();
  await using server = await startServer({
    ...files.settings,
    MAX_UNAUTHENTICATED: "3",
    CONNECT_TIMEOUT_SECONDS: "600",
  });
  const half = [await dial(server), await dial(server), await dial(server)];
  using more = await dial(server);
  await within("the refusal", readToEnd(more));
  for (const conn of half) conn.close();
  const password = await createLogin(server, "alice");
  let client: mqtt.MqttClient | null = null;
  while (client === null) client = await logIn(server, "alice", password).catch(() => null);
  await client.endAsync();
});

Deno.test("A certificate or key that cannot be used stops the start with a sentence that names it", async () => {
  const garbage = (kind: string) => `-----BEGIN ${kind}-----\nAAAA\n-----END ${kind}-----\n`;
  await using good = await writeTlsFiles();
  const files: readonly [{ cert: string; key: string }, RegExp][] = [
    [{ cert: `${good.cert}.none`, key: good.key }, /^MQTT_TLS_CERT=.*\.none cannot be read: /],
    [{ cert: good.cert, key: `${good.key}.none` }, /^MQTT_TLS_KEY=.*\.none cannot be read: /],
    [{ cert: good.key, key: good.key }, /^MQTT_TLS_CERT=.*key\.pem is not a PEM file with a CERTIFICATE\.$/],
    [
      { cert: good.cert, key: good.cert },
      /^MQTT_TLS_KEY=.*cert\.pem is not a PEM file with a PRIVATE KEY\.$/,
    ],
  ];
  for (const [given, sentence] of files) {
    await assert.rejects(
      readCertificate(given),
      (error) => error instanceof ConfigError && sentence.test(error.message),
    );
  }
  assert.deepEqual(await readCertificate(good), { cert: CERTIFICATE, key: PRIVATE_KEY });

  await using database = await createTestDatabase();
  await using broken = await writeTlsFiles(garbage("CERTIFICATE"), garbage("PRIVATE KEY"));
  const unfit = [{ cert: broken.cert, key: good.key }, { cert: good.cert, key: broken.key }];
  for (const { cert, key } of unfit) {
    const dataDir = await Deno.makeTempDir({ prefix: "hearth-tls-" });
    const config = readConfig({
      PORT: "0",
      DATA_DIR: dataDir,
      DATABASE_URL: database.url,
      MESSAGE_SHARDS: "4",
      ...good.settings,
      MQTT_TLS_CERT: cert,
      MQTT_TLS_KEY: key,
    });
    await assert.rejects(
      boot(config, { log: quietLog() }),
      (error) =>
        error instanceof StartError &&
        error.message.startsWith("MQTT_TLS_CERT and MQTT_TLS_KEY cannot be used: "),
    );
    await Deno.remove(dataDir, { recursive: true });
  }
});
