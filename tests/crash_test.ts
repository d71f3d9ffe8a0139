/**
 * kill -9 under load: whatever was acknowledged is there, once, in gapless timelines.
 *
 * The server runs as a process of its own on its own PostgreSQL; four people write to each other through the SDK,
 * which sends again, under the same ids, what was not answered.
 */
import assert from "node:assert/strict";
import { connect, type HearthClient } from "../sdk/mod.ts";
import type { Entry } from "../wire.ts";
import { adminRequest } from "./admin.ts";
import { freePort, startProcess } from "./process.ts";

const PEOPLE = ["ann", "ben", "cleo", "dan"];
const KILLS = 20;
const IN_FLIGHT = 16;

interface Sent {
  readonly from: string;
  readonly to: string;
  messageId?: string;
  seq?: string;
}

Deno.test("kill -9 of the server twenty times under load: acknowledged once, gapless", () =>
  surviveKills((server) => server.kill()));

Deno.test("kill -9 of the database twenty times under load: acknowledged once, gapless", () =>
  surviveKills(async (server) => {
    const [pid] = (await Deno.readTextFile(`${server.dataDir}/pg/data/postmaster.pid`)).split("\n");
    Deno.kill(Number(pid), "SIGKILL");
  }));

async function surviveKills(
  kill: (server: Awaited<ReturnType<typeof startProcess>>) => Promise<void>,
): Promise<void> {
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-crash-" });
  const port = freePort();
  const start = () => startProcess({ dataDir, port });
  let server = await start();
  const clients: HearthClient[] = [];
  try {
    const sent = new Map<string, Sent>();
    const received = new Map(PEOPLE.map((person) => [person, new Map<string, number>()]));
    for (const userId of PEOPLE) {
      await adminRequest(server, "/admin/user/create", { userId, name: userId, displayName: userId });
      const { token } = await adminRequest(server, "/admin/user/get_token", {
        userId,
        clientId: `phone-${userId}`,
        platform: 2,
      }) as { token: string };
      const client = connect({
        url: `ws://127.0.0.1:${port}/mqtt`,
        userId,
        clientId: `phone-${userId}`,
        token,
        timeoutMs: 120_000,
        backOffMs: 50,
        maxBackOffMs: 300,
      });
      client.on("entry", (entry: Entry) => {
        if (entry.kind !== "new") return;
        const counts = received.get(userId)!;
        const id = entry.message.clientMessageId;
        counts.set(id, (counts.get(id) ?? 0) + 1);
      });
      client.open();
      await client.online();
      clients.push(client);
    }

    let running = true;
    const writers = clients.flatMap((client, i) =>
      Array.from({ length: IN_FLIGHT }, async () => {
        while (running) {
          const to = PEOPLE[(i + 1 + Math.floor(Math.random() * 3)) % 4]!;
          const clientMessageId = crypto.randomUUID();
          const record: Sent = { from: client.userId, to };
          sent.set(clientMessageId, record);
          const answer = await sendUntilStored(client, to, clientMessageId);
          record.messageId = answer.messageId;
          record.seq = answer.seq!;
        }
      })
    );
    for (let i = 0; i < KILLS; i++) {
      await new Promise((resume) => setTimeout(resume, 150 + Math.random() * 500));
      await kill(server);
      if (server.exited()) server = await start();
      else await untilStoredAgain(sent);
    }
    running = false;
    await Promise.all(writers);

    const pulled = await Promise.all(clients.map((client) => pullAll(client)));
    assert.ok(sent.size > KILLS * IN_FLIGHT, `only ${sent.size} messages were sent`);
    for (const [i, person] of PEOPLE.entries()) {
      const entries = pulled[i]!;
      assert.deepEqual(
        entries.map((entry) => entry.seq),
        entries.map((_, place) => String(place + 1)),
        "gapless",
      );
      const byId = new Map<string, Entry[]>();
      for (const entry of entries) {
        assert.equal(entry.kind, "new");
        const id = entry.kind === "new" ? entry.message.clientMessageId : "";
        byId.set(id, [...byId.get(id) ?? [], entry]);
      }
      for (const [id, record] of sent) {
        if (record.from !== person && record.to !== person) continue;
        const found = byId.get(id) ?? [];
        assert.equal(found.length, 1, `${id} stands ${found.length} times in ${person}'s timeline`);
        const [entry] = found;
        assert.equal(entry!.kind === "new" && entry!.message.messageId, record.messageId);
        if (record.from === person) assert.equal(entry!.seq, record.seq);
      }
      for (const [id, count] of received.get(person)!) {
        assert.equal(count, 1, `${id} came ${count} times to ${person}`);
      }
    }
  } finally {
    for (const client of clients) client.close();
    await server.stop();
    await Deno.remove(dataDir, { recursive: true });
  }
}

/** Sends until the answer is a result; refusals for passing reasons are what a client meets in a crash. */
async function sendUntilStored(client: HearthClient, to: string, clientMessageId: string) {
  for (;;) {
    try {
      return await client.send({ type: 0, target: to, line: 0 }, `to ${to}`, clientMessageId);
    } catch (refusal) {
      if (![4, 249, 250].includes((refusal as { code?: number }).code ?? 0)) throw refusal;
      await new Promise((resume) => setTimeout(resume, 20));
    }
  }
}

/** Waits until some message sent from now on has been stored: the database is back. */
async function untilStoredAgain(sent: Map<string, Sent>): Promise<void> {
  const before = new Set(sent.keys());
  const deadline = performance.now() + 60_000;
  for (;;) {
    for (const [id, record] of sent) if (!before.has(id) && record.seq !== undefined) return;
    assert.ok(performance.now() < deadline, "nothing was stored for a minute");
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

async function pullAll(client: HearthClient): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (let cursor = "0";;) {
    const page = await client.request("message.pull", { cursor });
    entries.push(...page.entries);
    if (page.cursor === page.head) return entries;
    cursor = page.cursor;
  }
}
