/** Stopping a server that is at work. */
import assert from "node:assert/strict";
import { boot } from "../main.ts";
import { createLogin } from "./admin.ts";
import { quietLog } from "./database.ts";
import { DOORS, RawClient, type RawReply, within } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

function message(clientMessageId: string) {
  return {
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target: "bob", line: 0 },
    content: { type: 1, searchableContent: "hello" },
  };
}

/** A client that keeps fifty sends on their way until its connection ends. */
class Sender {
  readonly client: RawClient;
  readonly name: string;
  /** Sends that the server has acknowledged by PUBACK. */
  acknowledged = 0;
  replied = 0;
  #sent = 0;
  /** The reason of the server's DISCONNECT. */
  reason: number | undefined;
  readonly ended: Promise<void>;

  constructor(client: RawClient, name: string) {
    this.client = client;
    this.name = name;
    this.ended = this.#run();
  }

  async #run(): Promise<void> {
    await this.#fill();
    try {
      for (;;) {
        const packet = await this.client.next();
        if (packet.cmd === "disconnect") this.reason = packet.reasonCode;
        if (packet.cmd === "puback") {
          assert.equal(packet.reasonCode ?? 0, 0);
          this.acknowledged++;
          await this.#fill();
        } else if (packet.cmd === "publish" && packet.topic === "me/reply") {
          assert.equal((JSON.parse(String(packet.payload)) as RawReply).code, 0);
          this.replied++;
        }
      }
    } catch (error) {
      if (!this.client.isClosed) throw error;
    }
  }

  async #fill(): Promise<void> {
    while (this.#sent - this.acknowledged < 50) {
      await this.client.send(
        this.client.requestBytes("message.send", message(`${this.name}-${this.#sent++}`)),
      );
    }
  }
}

/** Resolves when the sender has so many acknowledgements. */
async function until(sender: Sender, acknowledged: number): Promise<void> {
  while (sender.acknowledged < acknowledged) {
    assert.equal(sender.client.isClosed, false);
    await new Promise((resume) => setTimeout(resume, 5));
  }
}

/** Every message Bob can pull, from a server started again on the same database. */
async function pullAfterRestart(server: TestServer, token: string): Promise<Set<string>> {
  const again = await boot(server.config, { log: quietLog() });
  try {
    const target = { wsUrl: `${again.url.replace(/^http/, "ws")}/mqtt`, tcpPort: again.mqttTcpPort! };
    await using bob = await RawClient.resume(target, "TCP", {
      userId: "bob",
      clientId: "client-bob",
      token,
      qos: 0,
    });
    const entries = await bob.pull();
    assert.deepEqual(entries.map(({ seq }) => Number(seq)), entries.map((_, i) => i + 1), "no gaps");
    const names = entries.map(({ message }) => message.clientMessageId as string);
    assert.equal(new Set(names).size, names.length, "nothing twice");
    return new Set(names);
  } finally {
    await again.drain("the test is over");
  }
}

Deno.test("A drain under load loses nothing that was acknowledged and tells everybody why", async () => {
  await using server = await startServer({ RATE_LIMITS: "off", DRAIN_SECONDS: "1" });
  const token = await createLogin(server, "bob");
  const senders: Sender[] = [];
  await using stack = new AsyncDisposableStack();
  for (const door of DOORS) {
    for (const i of [1, 2]) {
      const clientId = `client-${door}-${i}`;
      const client = stack.use(await RawClient.login(server, door, "alice", { clientId, qos: 0 }));
      senders.push(new Sender(client, `${door}-${i}`));
    }
  }
  for (const sender of senders) await until(sender, 100);
  const draining = server.hearth.drain("SIGTERM");
  // Nobody new is let in while it lasts.
  await assert.rejects(RawClient.open(server, "WebSocket"), /refused/);
  await assert.rejects(RawClient.open(server, "TCP"), Deno.errors.ConnectionRefused);
  await within("the end of the drain", draining);
  for (const sender of senders) {
    await within("the end of a sender", sender.ended);
    assert.equal(sender.reason, 0x8b);
    // What the sender had on its way when the server closed may reset the connection before the close frame is read.
    const codes: (number | null)[] = sender.name.startsWith("TCP") ? [null] : [1001, 0];
    assert.ok(codes.includes(await sender.client.closed), `${await sender.client.closed}`);
    assert.ok(sender.replied >= sender.acknowledged, "whoever is acknowledged has its reply");
  }
  const stored = await pullAfterRestart(server, token);
  for (const { name, acknowledged } of senders) {
    for (let i = 0; i < acknowledged; i++) assert.ok(stored.has(`${name}-${i}`), `${name}-${i}`);
  }
});

Deno.test("A drain closes idle connections one after the other, over its seconds", async () => {
  await using server = await startServer({ DRAIN_SECONDS: "1" });
  await using stack = new AsyncDisposableStack();
  const clients: RawClient[] = [];
  for (let i = 0; i < 10; i++) {
    const door = DOORS[i % 2]!;
    clients.push(stack.use(await RawClient.login(server, door, "alice", { clientId: `client-${i}` })));
  }
  const startedAt = performance.now();
  const ends = clients.map(async (client) => {
    const rest = await client.rest();
    const last = rest.at(-1);
    assert.ok(last?.cmd === "disconnect" && last.reasonCode === 0x8b);
    return performance.now() - startedAt;
  });
  await server.hearth.drain("SIGTERM");
  const times = (await Promise.all(ends)).toSorted((a, b) => a - b);
  assert.ok(times[0]! < 400 && times[9]! > 600 && times[9]! < 3_000, `closed at ${times.map(Math.round)} ms`);
  assert.ok(times[9]! - times[0]! > 400, "they do not all come back at once");
});

Deno.test("A drain waits for requests that are on their way, and answers them", async () => {
  await using server = await startServer({ RATE_LIMITS: "off", DRAIN_SECONDS: "0" });
  const token = await createLogin(server, "bob");
  await using alice = await RawClient.login(server, "TCP", "alice", { qos: 0 });
  const count = 500;
  await alice.send(
    ...Array.from({ length: count }, (_, i) => alice.requestBytes("message.send", message(`m${i}`))),
  );
  assert.equal((await alice.next()).cmd, "puback");
  await server.hearth.drain("SIGTERM");
  const rest = await alice.rest();
  const acknowledged = 1 + rest.filter(({ cmd }) => cmd === "puback").length;
  assert.equal(rest.filter(({ cmd }) => cmd === "publish").length, acknowledged);
  assert.equal(rest.at(-1)?.cmd, "disconnect");
  const stored = await pullAfterRestart(server, token);
  assert.equal(stored.size, acknowledged, "what was not acknowledged was not taken either");
});
