/** The life of connections on the real server: who takes over, who is closed, who is refused. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { connect, packet, properties, subscribe, uint32 } from "./mqtt_bytes.ts";
import { DOORS, RawClient } from "./mqtt_client.ts";
import { startServer } from "./server.ts";

function message(clientMessageId: string, text = "hello") {
  return {
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target: "bob", line: 0 },
    content: { type: 1, searchableContent: text },
  };
}

/** What a client heard to its end: reply codes, event types, the reason of the DISCONNECT. */
async function story(client: RawClient): Promise<string[]> {
  return (await client.rest()).flatMap((read) => {
    if (read.cmd === "disconnect") return [`disconnect 0x${read.reasonCode!.toString(16)}`];
    if (read.cmd !== "publish") return [];
    const body = JSON.parse(String(read.payload)) as { type?: string; reason?: string; code?: number };
    return [body.type === undefined ? `reply ${body.code}` : [body.type, body.reason].join(" ").trim()];
  });
}

for (const door of DOORS) {
  Deno.test(`Who is kicked hears of it and is closed with 0x98, over ${door}`, async () => {
    await using server = await startServer();
    await using phone = await RawClient.login(server, door, "alice", { clientId: "phone", qos: 0 });
    await using page = await RawClient.login(server, door, "alice", { clientId: "page", qos: 0 });
    assert.equal((await phone.request("session.kick", { clientId: "page" })).code, 0);
    assert.deepEqual((await story(page)).slice(-2), ["kicked kicked", "disconnect 0x98"]);
    assert.equal(await page.closed, door === "TCP" ? null : 1008);
    assert.equal(phone.isClosed, false);
    assert.equal((await phone.request("session.kick", { clientId: "page" })).code, 253);
  });

  Deno.test(`Who logs out or kicks itself has its reply before it is closed, over ${door}`, async () => {
    await using server = await startServer();
    for (
      const [command, body, ends] of [
        ["session.logout", {}, ["reply 0", "disconnect 0x98"]],
        ["session.kick", { clientId: "client-alice" }, ["reply 0", "kicked kicked", "disconnect 0x98"]],
      ] as const
    ) {
      await using alice = await RawClient.login(server, door, "alice", { qos: 0 });
      // What waits behind it belongs to a login that is over.
      await alice.send(alice.requestBytes(command, body), alice.requestBytes("sync", {}));
      assert.deepEqual((await story(alice)).filter((word) => word !== "devices"), ends);
    }
  });

  Deno.test(`A new installation beyond the limit of a user is refused; one that comes again takes over, over ${door}`, async () => {
    await using server = await startServer({ MAX_CONNECTIONS_PER_USER: "2" });
    await using stack = new AsyncDisposableStack();
    for (const clientId of ["one", "two"]) {
      stack.use(await RawClient.login(server, door, "alice", { clientId, qos: 0 }));
    }
    const password = await createLogin(server, "alice", "three");
    for (const [level, code] of [[4, 3], [5, 0x97]] as const) {
      await using third = await RawClient.open(server, door, level);
      const connack = await third.connect({ userName: "alice", clientId: "three", password });
      assert.equal(level === 4 ? connack.returnCode : connack.reasonCode, code);
      await third.closed;
    }
    await using _again = await RawClient.login(server, door, "alice", { clientId: "two", qos: 0 });
    await using _bob = await RawClient.login(server, door, "bob");
  });

  Deno.test(`What a client sent before it was taken over is stored, and a retry finds it, over ${door}`, async () => {
    await using server = await startServer({ RATE_LIMITS: "off" });
    await createLogin(server, "bob");
    const token = await createLogin(server, "alice");
    const login = { userId: "alice", clientId: "client-alice", token, qos: 0 };
    await using older = await RawClient.resume(server, door, login);
    const names = Array.from({ length: 100 }, (_, i) => `m${i}`);
    await older.send(...names.map((name) => older.requestBytes("message.send", message(name))));
    await using newer = await RawClient.resume(server, door, login);
    assert.equal((await story(older)).at(-1), "disconnect 0x8e");
    for (const name of names) assert.equal((await newer.request("message.send", message(name))).code, 0);
    const stored = (await newer.pull()).map((entry) => entry.message.clientMessageId);
    assert.deepEqual(stored.toSorted(), names.toSorted(), "each once");
  });

  Deno.test(`A client that takes small packets alone gets an event without its body, over ${door} [MQTT-3.1.2-24]`, async () => {
    await using server = await startServer();
    await using alice = await RawClient.login(server, door, "alice", { qos: 0 });
    const small = { properties: properties(0x27, uint32(400)) };
    await using bob = await RawClient.login(server, door, "bob", { qos: 1, connect: small });
    await alice.request("message.send", message("large", "x".repeat(1_000)));
    await alice.request("message.send", message("little"));
    const [first, second] = [await bob.nextPublish(), await bob.nextPublish()].map(({ payload }) =>
      payload as Record<string, unknown>
    );
    assert.deepEqual([first!.type, first!.seq, first!.kind, first!.message], [
      "message",
      "1",
      "new",
      undefined,
    ]);
    assert.deepEqual(first!.conversation, { type: 0, target: "alice", line: 0 });
    assert.match(String(first!.messageId), /^\d+$/);
    assert.equal((second!.message as { clientMessageId: string }).clientMessageId, "little");
    // A page holds at least one entry, and this one does not fit: the refusal still says whose it is.
    const pulled = await bob.request("message.pull", { requestId: "p1", cursor: "0" });
    assert.deepEqual([pulled.requestId, pulled.code, pulled.error], ["p1", 251, "message/too-large"]);
  });

  Deno.test(`Requests sent along with CONNECT are carried out behind its CONNACK, over ${door}`, async () => {
    await using server = await startServer();
    const password = await createLogin(server, "alice");
    await using alice = await RawClient.open(server, door);
    await alice.send(
      connect({ userName: "alice", clientId: "client-alice", password }),
      subscribe(5, 1, ["me/#", 0]),
      alice.requestBytes("sync", { requestId: "early" }),
    );
    const heard = [(await alice.next()).cmd, (await alice.next()).cmd, (await alice.next()).cmd];
    assert.deepEqual(heard, ["connack", "suback", "puback"]);
    assert.equal(((await alice.nextPublish()).payload as { requestId: string }).requestId, "early");
  });

  Deno.test(`What is sent behind a refused CONNECT is never carried out, over ${door} [MQTT-3.1.4-6]`, async () => {
    await using server = await startServer();
    await using bob = await RawClient.login(server, door, "bob");
    await createLogin(server, "alice");
    await using alice = await RawClient.open(server, door);
    const bad = connect({ userName: "alice", clientId: "client-alice", password: "nothing" });
    await alice.send(bad, alice.requestBytes("message.send", message("never")), packet(0xc0));
    assert.deepEqual((await alice.rest()).map(({ cmd }) => cmd), ["connack"]);
    assert.deepEqual(await bob.pull(), []);
  });

  Deno.test(`Too much behind a CONNECT closes the connection before the CONNACK, over ${door}`, async () => {
    await using server = await startServer({ MAX_PACKET_BYTES: "4096" });
    const password = await createLogin(server, "alice");
    await using alice = await RawClient.open(server, door);
    const login = connect({ userName: "alice", clientId: "client-alice", password });
    await alice.send(
      login,
      ...Array.from({ length: 5 }, () => alice.requestBytes("sync", { x: "x".repeat(3_000) })),
    );
    const rest = await alice.rest();
    assert.ok(rest.length === 1 && rest[0]!.cmd === "connack" && rest[0].reasonCode === 0x97);
  });
}
