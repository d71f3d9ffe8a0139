import assert from "node:assert/strict";
import { acquireNodeLease, type NodeLeaseOptions } from "../store/node_lease.ts";
import { openSql, type Sql } from "../store/sql.ts";
import { StartError } from "../store/start_error.ts";
import { createTestDatabase, quietLog } from "./database.ts";

const OPTIONS: NodeLeaseOptions = { address: "", log: quietLog() };

async function withDatabase(run: (sql: Sql) => Promise<void>): Promise<void> {
  await using database = await createTestDatabase({ migrated: true, messageShards: 1 });
  const sql = openSql(database.url, { maxConnections: 8, log: quietLog(), applicationName: "hearth test" });
  try {
    await run(sql);
  } finally {
    await sql.end();
  }
}

/** Asks again until it holds; the deadline only bounds a failure. */
async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("It did not come true within 10 s");
}

Deno.test("Nodes that start at once get different numbers, the lowest ones", async () => {
  await withDatabase(async (sql) => {
    const leases = await Promise.all(Array.from({ length: 8 }, () => acquireNodeLease(sql, OPTIONS)));
    assert.deepEqual(leases.map((lease) => lease.node).sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.equal(new Set(leases.map((lease) => lease.epoch)).size, 8);
    assert.ok(leases.every((lease) => lease.canSend()));
    await Promise.all(leases.map((lease) => lease.release()));
  });
});

Deno.test("A released number rests before its next holder, and its epoch is gone at once", async () => {
  await withDatabase(async (sql) => {
    const first = await acquireNodeLease(sql, OPTIONS);
    await first.release();
    await first.release();
    assert.equal(first.canSend(), false);
    const rows = await sql`SELECT 1 FROM t_node WHERE epoch = ${first.epoch}`;
    assert.equal(rows.length, 0);
    const second = await acquireNodeLease(sql, OPTIONS);
    assert.equal(second.node, 1);
    await sql`UPDATE t_node SET expires_at = now() - interval '11 seconds' WHERE number = 0`;
    const third = await acquireNodeLease(sql, OPTIONS);
    assert.equal(third.node, 0);
    await second.release();
    await third.release();
  });
});

Deno.test("A number whose holder died is taken over after it expired and rested", async () => {
  await withDatabase(async (sql) => {
    await sql`INSERT INTO t_node VALUES (0, 'dead', '', 0, now() + interval '5 seconds')`;
    const other = await acquireNodeLease(sql, OPTIONS);
    assert.equal(other.node, 1);
    await sql`UPDATE t_node SET expires_at = now() - interval '11 seconds' WHERE number = 0`;
    const heir = await acquireNodeLease(sql, OPTIONS);
    assert.equal(heir.node, 0);
    await other.release();
    await heir.release();
  });
});

Deno.test("A lease is renewed, and its load is told", async () => {
  await withDatabase(async (sql) => {
    const lease = await acquireNodeLease(sql, { ...OPTIONS, renewSeconds: 0.02 });
    const [before] = await sql<{ expires_at: Date }[]>`SELECT expires_at FROM t_node`;
    lease.reportLoad(42);
    await eventually(async () => {
      const [row] = await sql<{ expires_at: Date; load: number }[]>`SELECT expires_at, load FROM t_node`;
      return row!.load === 42 && row!.expires_at > before!.expires_at;
    });
    await lease.release();
  });
});

Deno.test("Without renewal a lease stops giving ids before the database lets it go", async () => {
  await withDatabase(async (sql) => {
    const lease = await acquireNodeLease(sql, { ...OPTIONS, leaseSeconds: 0.3, renewSeconds: 60 });
    assert.equal(lease.canSend(), true);
    const [row] = await sql<{ expires_at: Date }[]>`SELECT expires_at FROM t_node`;
    await eventually(() => !lease.canSend());
    assert.ok(Date.now() - lease.clockSkewMs <= row!.expires_at.getTime() + 50);
    await lease.release();
  });
});

Deno.test("A node whose number was taken away goes on under another number and epoch", async () => {
  await withDatabase(async (sql) => {
    const lease = await acquireNodeLease(sql, { ...OPTIONS, renewSeconds: 0.02 });
    const { epoch } = lease;
    await sql`UPDATE t_node SET epoch = 'somebody else', expires_at = now() + interval '1 minute' WHERE number = 0`;
    await eventually(() => lease.node === 1);
    assert.notEqual(lease.epoch, epoch);
    assert.equal(lease.canSend(), true);
    await lease.release();
  });
});

Deno.test("When all 64 numbers are taken the start is refused", async () => {
  await withDatabase(async (sql) => {
    await sql`INSERT INTO t_node SELECT n, 'x', '', 0, now() + interval '1 minute' FROM generate_series(0, 63) n`;
    await assert.rejects(
      acquireNodeLease(sql, OPTIONS),
      (error) => error instanceof StartError && error.message.startsWith("All 64 node numbers"),
    );
  });
});
