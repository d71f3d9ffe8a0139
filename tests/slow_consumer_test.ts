/** Subscribers that do not read, do not acknowledge, or are only slow. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { acknowledgement, connect, join, packet, publish, subscribe } from "./mqtt_bytes.ts";
import { type Door, DOORS, RawClient, type RawReply, within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const LARGE_TEXT = "x".repeat(40_000);

function message(clientMessageId: string, target: string, text: string) {
  return {
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target, line: 0 },
    content: { type: 1, searchableContent: text },
  };
}

/** A counter from `/metrics`. */
async function figure(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

/** A frame as browsers send it: binary, masked. */
function frame(content: Uint8Array): Uint8Array {
  const mask = [0x11, 0x22, 0x33, 0x44];
  const length = content.length < 126
    ? [0x80 | content.length]
    : [0xfe, content.length >> 8, content.length & 0xff];
  return join(0x82, length, mask, content.map((byte, i) => byte ^ mask[i & 3]!));
}

/** Logs in and subscribes at QoS 0, reads until the SUBACK has come, and never again. */
async function stopReading(
  server: TestServer,
  door: Door,
  userId: string,
  token: string,
): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({
    hostname: "127.0.0.1",
    port: door === "TCP" ? server.tcpPort : server.hearth.port,
  });
  const packets = join(
    connect({ userName: userId, clientId: `client-${userId}`, password: token }),
    subscribe(5, 1, ["me/#", 0]),
    packet(0xc0),
  );
  const upgrade = [
    "GET /mqtt HTTP/1.1",
    `host: 127.0.0.1:${server.hearth.port}`,
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    `sec-websocket-key: ${btoa("0123456789abcdef")}`,
    "sec-websocket-protocol: mqtt",
    "",
    "",
  ].join("\r\n");
  if (door === "TCP") await conn.write(packets);
  else await conn.write(join(new TextEncoder().encode(upgrade), frame(packets)));
  // PINGRESP is the last of the answers.
  const heard: number[] = [];
  const buffer = new Uint8Array(4_096);
  while (!(heard.at(-2) === 0xd0 && heard.at(-1) === 0)) {
    const count = await within("the PINGRESP", conn.read(buffer));
    assert.ok(count !== null);
    heard.push(...buffer.subarray(0, count));
  }
  return conn;
}

for (const door of DOORS) {
  Deno.test(`Who stops reading is cut off at the limit, others go on, and nothing is lost, over ${door}`, async () => {
    await using server = await startServer({
      RATE_LIMITS: "off",
      MAX_WAITING_BYTES: "262144",
      STALLED_SECONDS: "600",
    });
    const token = await createLogin(server, "bob");
    using _deaf = await stopReading(server, door, "bob", token);
    await using alice = await RawClient.login(server, door, "alice");
    await using carol = await RawClient.login(server, door, "carol");
    await using dave = await RawClient.login(server, door, "dave");
    let sent = 0;
    // The kernels hold some megabytes before anything waits at the server.
    while (await figure(server, "hearth_connections_cut_off_total") === 0) {
      assert.ok(sent < 2_000, "80 MB went somewhere");
      const batch = Array.from(
        { length: 10 },
        () => alice.requestBytes("message.send", message(`m${++sent}`, "bob", LARGE_TEXT)),
      );
      await alice.send(...batch);
      for (let i = 0; i < batch.length; i++) {
        const { payload } = await alice.nextPublish();
        assert.equal((payload as RawReply).code, 0, "the sender does not notice");
      }
      // Nor do others.
      assert.equal((await carol.request("message.send", message(`c${sent}`, "dave", "hello"))).code, 0);
      const { payload } = await dave.nextPublish();
      assert.equal((payload as { message: { clientMessageId: string } }).message.clientMessageId, `c${sent}`);
    }
    assert.equal(await figure(server, "hearth_connections"), 3);
    await using bob = await RawClient.resume(server, door, { userId: "bob", clientId: "client-bob", token });
    const entries = await bob.pull();
    assert.deepEqual(
      entries.map(({ message }) => message.clientMessageId),
      Array.from({ length: sent }, (_, i) => `m${i + 1}`),
    );
  });

  Deno.test(`Who reads and acknowledges nothing is cut off after its time with 0x97, over ${door}`, async () => {
    await using server = await startServer({
      RATE_LIMITS: "off",
      STALLED_SECONDS: "1",
      MAX_INFLIGHT_OUT: "5",
    });
    await using bob = await RawClient.login(server, door, "bob", { qos: 1 });
    await using alice = await RawClient.login(server, door, "alice");
    for (let i = 0; i < 8; i++) {
      assert.equal((await alice.request("message.send", message(`m${i}`, "bob", "hello"))).code, 0);
    }
    const heard = await bob.rest();
    // Not one packet more than the window. [MQTT-3.3.4-9]
    assert.deepEqual(heard.map(({ cmd }) => cmd), [...Array(5).fill("publish"), "disconnect"]);
    assert.ok(heard[5]!.cmd === "disconnect" && heard[5].reasonCode === 0x97);
    assert.equal(await bob.closed, door === "TCP" ? null : 1013);
    assert.equal(alice.isClosed, false);
  });

  Deno.test(`Who takes its time over a message of an open topic is not cut off for that, over ${door}`, async () => {
    await using server = await startServer({
      RATE_LIMITS: "off",
      STALLED_SECONDS: "1",
      MAX_INFLIGHT_OUT: "1",
      OPEN_TOPICS: "work/#",
    });
    await using worker = await RawClient.login(server, door, "worker", { qos: 1 });
    assert.equal(await worker.subscribe("work/#", 1), 1);
    await using bob = await RawClient.login(server, door, "bob", { qos: 1 });
    await using alice = await RawClient.login(server, door, "alice");
    for (const packetId of [101, 102]) {
      await alice.send(publish("work/a", { qos: 1, packetId, payload: `${packetId}` }));
    }
    const first = await worker.next();
    assert.ok(first.cmd === "publish");
    for (const id of ["m1", "m2"]) await alice.request("message.send", message(id, "bob", "hello"));
    // Bob has waited no longer than the worker has, and events are waiting for him.
    await bob.closed;
    await worker.send(acknowledgement(0x40, first.messageId!));
    assert.deepEqual(await worker.nextPublish(), { topic: "work/a", payload: 102 });
  });

  Deno.test(`A burst larger than a socket is given at a time arrives whole and in order, over ${door}`, async () => {
    await using server = await startServer({ RATE_LIMITS: "off", STALLED_SECONDS: "5" });
    await using bob = await RawClient.login(server, door, "bob", { qos: 0 });
    await using alice = await RawClient.login(server, door, "alice", { qos: 0 });
    const count = 20;
    // 800 KB for Bob in one turn: three times what is handed over.
    await alice.send(
      ...Array.from(
        { length: count },
        (_, i) => alice.requestBytes("message.send", message(`m${i}`, "bob", LARGE_TEXT)),
      ),
    );
    const heard: string[] = [];
    const startedAt = performance.now();
    while (heard.length < count) {
      const { payload } = await bob.nextPublish();
      heard.push((payload as { message: { clientMessageId: string } }).message.clientMessageId);
    }
    assert.deepEqual(heard, Array.from({ length: count }, (_, i) => `m${i}`));
    assert.ok(performance.now() - startedAt < 3_000, "nothing had to wait for the clock");
  });

  Deno.test(`Replies wait for room: a client that asks for pages without reading them holds one, over ${door}`, async () => {
    await using server = await startServer({ RATE_LIMITS: "off" });
    const token = await createLogin(server, "bob");
    await using alice = await RawClient.login(server, door, "alice", { qos: 0 });
    for (let i = 0; i < 8; i++) {
      assert.equal((await alice.request("message.send", message(`m${i}`, "bob", LARGE_TEXT))).code, 0);
    }
    using deaf = await stopReading(server, door, "bob", token);
    const before = await figure(server, "hearth_requests_total");
    // Each page is 128 KiB; at QoS 0 a client may have 1,024 requests in the queue.
    const pull = publish("im/message.pull", { payload: '{"cursor":"0"}' });
    const burst = join(...Array.from({ length: 20 }, () => pull));
    for (let i = 0; i < 45; i++) await deaf.write(door === "TCP" ? burst : frame(burst));
    // Alice's own requests go through beside it, and give Bob's time to be read.
    for (let i = 0; i < 200; i++) assert.equal((await alice.request("sync", {})).code, 0);
    const performed = await figure(server, "hearth_requests_total") - before - 200;
    // 900 pages would be 115 MB; the kernels take some megabytes.
    assert.ok(performed > 0 && performed < 300, `${performed} pages were made`);
  });
}
