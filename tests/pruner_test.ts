/** What is remembered for a limited time is forgotten, in steps, and nothing else is. */
import assert from "node:assert/strict";
import type { Im } from "../im/mod.ts";
import { firstMessageIdAt, messageShard } from "../store/ids.ts";
import { migrate } from "../store/migrate.ts";
import { pruneClientMessages, pruneClientRequests, Pruner } from "../store/pruner.ts";
import { openSql } from "../store/sql.ts";
import { createTestDatabase, quietLog } from "./database.ts";
import { callerOf, createUsers, openIm, request, sendText } from "./im.ts";
import { within } from "./mqtt_client.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

async function countRequests(im: Im): Promise<number> {
  const [row] = await im.store.sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM t_client_requests`;
  return row!.count;
}

/** Asks again until it holds; the deadline only bounds a failure. */
async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("It did not come true within 10 s");
}

Deno.test("Requests are forgotten after 24 hours, at most a thousand in one step", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { sql } = im.store;
  const nowMs = Date.now();
  await sql`
    INSERT INTO t_client_requests
    SELECT 'ann', 'phone', 'r' || i, 'test', '1', ${
    nowMs - DAY_MS
  }::bigint - i FROM generate_series(0, 2500) i`;
  assert.equal(await pruneClientRequests(sql, nowMs), true);
  assert.equal(await countRequests(im), 1_501);
  const [oldest] = await sql<{ age: number }[]>`
    SELECT (${nowMs - DAY_MS}::bigint - min(created_at_ms))::int AS age FROM t_client_requests`;
  assert.equal(oldest!.age, 1_500, "the oldest go first");
  assert.equal(await pruneClientRequests(sql, nowMs), true);
  assert.equal(await pruneClientRequests(sql, nowMs), false);
  const left = await sql<{ request_id: string }[]>`SELECT request_id FROM t_client_requests`;
  assert.deepEqual(
    left.map((row) => row.request_id),
    ["r0"],
    "what is 24 hours old to the millisecond stays",
  );
});

Deno.test("What a clientMessageId became is forgotten after 30 days, and the messages stay", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { sql } = im.store;
  await createUsers(im, "ann", "ben");
  const old = await sendText(im, "ann", "ben", "old");
  const { timestamp } = await sendText(im, "ann", "ben", "young");
  const remembered = async () => {
    const rows = await sql<{ message_id: bigint }[]>`
      SELECT message_id FROM t_client_messages ORDER BY message_id`;
    return rows.map((row) => String(row.message_id));
  };
  const both = await remembered();
  assert.equal(both.length, 2);
  const prune = async (nowMs: number) => {
    while (await pruneClientMessages(sql, nowMs));
  };
  await prune(old.timestamp + 30 * DAY_MS);
  assert.deepEqual(await remembered(), both);
  await prune(old.timestamp + 30 * DAY_MS + 1);
  assert.deepEqual(await remembered(), old.timestamp === timestamp ? [] : both.slice(1));
  await prune(timestamp + 30 * DAY_MS + 1);
  assert.deepEqual(await remembered(), []);
  const { entries } = await request(im, callerOf("ben"), "message.pull", { cursor: "0" });
  assert.equal(entries.length, 2);
});

Deno.test("Message ids of several months are forgotten in steps of a thousand, but not what was sent again since", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { sql } = im.store;
  // 2,500 messages of May, one of July, each with its memory; m7 was sent anew long after.
  const may = Date.UTC(2025, 4, 1), july = Date.UTC(2025, 6, 1);
  await sql`
    INSERT INTO t_messages (shard, message_id, sender, type, target, line, content_type, client_message_id, content)
    SELECT CASE WHEN i = 0 THEN ${messageShard(firstMessageIdAt(july))}::int ELSE ${
    messageShard(firstMessageIdAt(may))
  } END,
      CASE WHEN i = 0 THEN ${firstMessageIdAt(july)}::bigint ELSE ${firstMessageIdAt(may)}::bigint + i END,
      'ann', 0, 'ann|ben', 0, 1, 'm' || i, '{}' FROM generate_series(0, 2500) i`;
  await sql`
    INSERT INTO t_client_messages SELECT sender, client_message_id, message_id, 1 FROM t_messages`;
  await sql`UPDATE t_client_messages SET message_id = ${
    firstMessageIdAt(Date.now())
  } WHERE client_message_id = 'm7'`;
  await sql`UPDATE t_pruning SET message_id = ${firstMessageIdAt(may)}`;
  const left = async () => (await sql`SELECT 1 FROM t_client_messages`).length;
  const prune = () => pruneClientMessages(sql, july + 30 * DAY_MS + 1);
  assert.equal(await prune(), true);
  assert.equal(await left(), 1_502);
  // While another node is at it, this one leaves it alone.
  await sql.begin(async (other) => {
    await other`SELECT 1 FROM t_pruning FOR UPDATE`;
    assert.equal(await within("the answer", prune()), false);
  });
  while (await prune());
  const rows = await sql<{ id: string }[]>`SELECT client_message_id AS id FROM t_client_messages`;
  assert.deepEqual(rows.map(({ id }) => id), ["m7"]);
});

Deno.test("A database from before begins at its oldest message, an empty one at the present", async () => {
  const folder = await Deno.makeTempDir({ prefix: "hearth-migrations-" });
  try {
    const name = "0001_spine.sql";
    await Deno.copyFile(new URL(`../store/migrations/${name}`, import.meta.url), `${folder}/${name}`);
    const oldest = firstMessageIdAt(Date.UTC(2024, 11, 31));
    for (const hasMessages of [true, false]) {
      await using database = await createTestDatabase();
      const sql = openSql(database.url, {
        maxConnections: 1,
        log: quietLog(),
        applicationName: "hearth test",
      });
      try {
        await migrate(sql, { directory: new URL(`file://${folder}/`), messageShards: 1 });
        for (const id of hasMessages ? [firstMessageIdAt(Date.UTC(2025, 0, 1)), oldest] : []) {
          await sql`
            INSERT INTO t_messages (shard, message_id, sender, type, target, line, content_type,
              client_message_id, content)
            VALUES (${messageShard(id)}, ${id}, 'ann', 0, 'ann|ben', 0, 1, '', '{}')`;
        }
        const before = firstMessageIdAt(Date.now() - 60_000), after = firstMessageIdAt(Date.now() + 60_000);
        await migrate(sql, { messageShards: 1 });
        const [position] = await sql<{ message_id: bigint }[]>`SELECT message_id FROM t_pruning`;
        const start = position!.message_id;
        if (hasMessages) assert.equal(start, oldest);
        else assert.ok(start > before && start < after, `${start}`);
      } finally {
        await sql.end();
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("A pruner forgets by itself until it is closed, and goes on after a failure", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const { sql } = im.store;
  const failures: unknown[] = [];
  const log = { ...quietLog(), error: (_: string, cause?: unknown) => void failures.push(cause) };
  const remember = () =>
    sql`
    INSERT INTO t_client_requests SELECT 'ann', 'phone', 'r' || i, 'test', '1', 0 FROM generate_series(1, 1500) i`;
  await remember();
  const pruner = new Pruner(sql, { log, intervalMs: 1 });
  await eventually(async () => await countRequests(im) === 0);
  await sql`ALTER TABLE t_client_requests RENAME TO t_away`;
  await eventually(() => failures.length > 0);
  await sql`ALTER TABLE t_away RENAME TO t_client_requests`;
  await remember();
  await eventually(async () => await countRequests(im) === 0);
  assert.equal(failures.length, 1, "a failure is told once");
  await Promise.all([pruner.close(), pruner.close()]);
  await remember();
  // The test ends with an error if a timer of the pruner is left.
  assert.equal(await countRequests(im), 1_500);
});
