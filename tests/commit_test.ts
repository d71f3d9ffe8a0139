import assert from "node:assert/strict";
import { createLog } from "../log.ts";
import { CommitPipeline, type CommitPipelineOptions } from "../store/commit.ts";
import type { Send, SendOutcome } from "../store/send.ts";
import { firstMessageIdAt } from "../store/ids.ts";
import { migrate } from "../store/migrate.ts";
import { PipelineConnection } from "../store/pipeline_connection.ts";
import { openSql, type Sql } from "../store/sql.ts";
import { createTestDatabase } from "./database.ts";

const log = createLog({ format: "text", level: "error", write: () => {} });

/** A pipeline on a fresh database with users u0 … u9. */
async function openPipeline(options: Partial<CommitPipelineOptions> = {}) {
  const database = await createTestDatabase();
  const sql = openSql(database.url, { maxConnections: 3, log, applicationName: "test" });
  await migrate(sql, { messageShards: 4 });
  await sql`INSERT INTO t_user_timeline (uid, epoch) SELECT 'u' || i, 'e' FROM generate_series(0, 9) i`;
  const open = (more: Partial<CommitPipelineOptions> = {}) =>
    new CommitPipeline({
      connection: new PipelineConnection(database.url, log),
      lease: { node: 1, canSend: () => true },
      log,
      ...options,
      ...more,
    });
  const pipeline = open();
  return {
    sql,
    pipeline,
    open,
    async [Symbol.asyncDispose]() {
      await pipeline.close();
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

let made = 0;
function sendOf(from: string, to: string, more: Partial<Send> = {}): Send {
  return {
    from,
    clientMessageId: `c${made++}`,
    conversationType: 0,
    canonicalTarget: from < to ? `${from}|${to}` : `${to}|${from}`,
    line: 0,
    contentType: 1,
    contentJson:
      `{"type":1,"searchableContent":"a \\"quoted\\" text with \\\\ and {braces}, commas and 中文","persistFlag":3}`,
    expireSeconds: 0,
    recipients: null,
    receivers: from === to ? [{ userId: from, target: to, counted: false, mention: 0 }] : [
      { userId: from, target: to, counted: false, mention: 0 },
      { userId: to, target: from, counted: true, mention: 0 },
    ],
    ...more,
  };
}

function submit(pipeline: CommitPipeline, send: Send, order = { generation: 0 }): Promise<SendOutcome> {
  return pipeline.submit(send, { order, whenFull: "wait" }).outcome;
}

function requireStored(outcome: SendOutcome) {
  assert.equal(outcome.status, "stored");
  return outcome as Extract<SendOutcome, { status: "stored" }>;
}

/** Every timeline is 1..head without a gap, its ids grow with its seqs, and every row has its body. */
async function assertTimelines(sql: Sql): Promise<void> {
  const [broken] = await sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM t_user_timeline t LEFT JOIN (
      SELECT uid, count(*) AS rows, max(seq) AS head, min(seq) AS first, max(message_id) AS last
      FROM t_user_messages GROUP BY uid
    ) m USING (uid)
    WHERE coalesce(m.rows, 0) <> t.head OR coalesce(m.head, 0) <> t.head OR coalesce(m.first, 1) <> 1
      OR coalesce(m.last, 0) <> t.last_message_id`;
  assert.equal(broken!.count, 0, "timelines with gaps");
  const [unordered] = await sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM (
      SELECT message_id, lag(message_id) OVER (PARTITION BY uid ORDER BY seq) AS former FROM t_user_messages
    ) o WHERE former >= message_id`;
  assert.equal(unordered!.count, 0, "rows whose id does not grow with the seq");
  const [bodiless] = await sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM t_user_messages u
    LEFT JOIN t_messages m ON m.shard = u.shard AND m.message_id = u.message_id WHERE m.message_id IS NULL`;
  assert.equal(bodiless!.count, 0, "rows without a body");
}

Deno.test("Concurrent sends give gapless timelines in which ids grow with seqs", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const outcomes = await Promise.all(
    Array.from({ length: 2_000 }, (_, i) => submit(pipeline, sendOf(`u${i % 10}`, `u${(i * 7 + 3) % 10}`))),
  );
  for (const outcome of outcomes) requireStored(outcome);
  await assertTimelines(sql);
  assert.ok(pipeline.stats.flushes < 200, "a busy queue is stored in batches");
});

Deno.test("A message is stored as it was sent, and the sender's seq comes first in the answer", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const send = sendOf("u1", "u2", { recipients: ["u2", 'u"3'], expireSeconds: 60, line: -5 });
  const stored = requireStored(await submit(pipeline, send));
  const [body] = await sql`SELECT * FROM t_messages WHERE message_id = ${stored.messageId}`;
  assert.equal(body!.content, send.contentJson);
  assert.equal(body!.target, "u1|u2");
  assert.equal(body!.line, -5);
  assert.deepEqual(body!.recipients, ["u2", 'u"3']);
  assert.equal(body!.expires_at_ms, BigInt(stored.timestamp + 60_000));
  const rows = await sql`SELECT * FROM t_user_messages WHERE message_id = ${stored.messageId} ORDER BY uid`;
  assert.deepEqual(rows.map((row) => [row.uid, row.target, row.counted]), [["u1", "u2", false], [
    "u2",
    "u1",
    true,
  ]]);
  assert.deepEqual(stored.seqs, [1n, 1n]);
});

Deno.test("One clientMessageId fifty times in parallel is one message with fifty equal answers", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => submit(pipeline, sendOf("u1", "u2", { clientMessageId: "once" }))),
  );
  const stored = answers.filter((answer) => answer.status === "stored");
  assert.equal(stored.length, 1);
  const first = requireStored(stored[0]!);
  for (const answer of answers) {
    if (answer.status !== "repeated") continue;
    assert.equal(answer.messageId, first.messageId);
    assert.equal(answer.seq, first.seqs[0]);
    assert.equal(answer.timestamp, first.timestamp);
  }
  const later = await submit(
    pipeline,
    sendOf("u1", "u2", { clientMessageId: "once", contentJson: `{"type":1}` }),
  );
  assert.equal(later.status, "repeated");
  const [count] = await sql<{ count: number }[]>`SELECT count(*)::int AS count FROM t_messages`;
  assert.equal(count!.count, 1);
  const [body] = await sql`SELECT content FROM t_messages`;
  assert.notEqual(body!.content, `{"type":1}`, "another body does not overwrite the first");
});

Deno.test("An unknown receiver is refused alone, and a message to oneself is one row", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const [before, unknown, self, after] = await Promise.all([
    submit(pipeline, sendOf("u1", "u2")),
    submit(pipeline, sendOf("u1", "nobody")),
    submit(pipeline, sendOf("u1", "u1")),
    submit(pipeline, sendOf("u2", "u1")),
  ]);
  requireStored(before!);
  requireStored(after!);
  assert.deepEqual(unknown, { status: "refused", reason: "receiver-unknown" });
  assert.equal(requireStored(self!).seqs.length, 1);
  await assertTimelines(sql);
});

Deno.test("A message that the database refuses fails alone", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const orders = Array.from({ length: 9 }, () => ({ generation: 0 }));
  const outcomes = await Promise.all(
    orders.map((order, i) =>
      submit(pipeline, sendOf("u1", "u2", i === 5 ? { contentJson: "a NUL: \0" } : {}), order)
    ),
  );
  assert.deepEqual(outcomes.map((outcome) => outcome.status).filter((status) => status !== "stored"), [
    "refused",
  ]);
  assert.equal(outcomes[5]!.status, "refused");
  await assertTimelines(sql);
});

Deno.test("After a failed send, later sends of the same connection fail too, and only they", async () => {
  await using opened = await openPipeline();
  const { pipeline } = opened;
  const order = { generation: 0 };
  const failed = submit(pipeline, sendOf("u1", "nobody"), order);
  assert.equal((await failed).status, "refused");
  const queued = [submit(pipeline, sendOf("u1", "u2"), order), submit(pipeline, sendOf("u1", "u3"), order)];
  order.generation++; // the connection has settled the failure before the next flush begins
  const other = submit(pipeline, sendOf("u4", "u5"));
  for (const outcome of await Promise.all(queued)) {
    assert.deepEqual(outcome, { status: "refused", reason: "earlier-failed" });
  }
  requireStored(await other);
  requireStored(await submit(pipeline, sendOf("u1", "u2"), order));
});

Deno.test("Commits whose connection is cut are looked up: everything is stored once and answered as stored", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql } = opened;
  const WANTED_CUTS = 25;
  let cuts = 0;
  const cutter = (async () => {
    while (cuts < WANTED_CUTS) {
      // At no particular point of a flush, and with room for flushes to get on in between.
      await new Promise((resume) => setTimeout(resume, 60 + Math.random() * 100));
      const cut = await sql`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'hearth commit' AND datname = current_database()`;
      cuts += cut.length;
    }
  })();
  const outcomes: SendOutcome[] = [];
  while (cuts < WANTED_CUTS) {
    outcomes.push(
      ...await Promise.all(
        Array.from({ length: 20 }, (_, i) => submit(pipeline, sendOf(`u${i % 10}`, `u${(i + 1) % 10}`))),
      ),
    );
  }
  await cutter;
  assert.ok(pipeline.stats.retries > 0, "connections were cut within flushes");
  for (const outcome of outcomes) requireStored(outcome);
  const [count] = await sql<{ count: number }[]>`SELECT count(*)::int AS count FROM t_messages`;
  assert.equal(count!.count, outcomes.length);
  await assertTimelines(sql);
});

Deno.test("Two nodes that write to the same people keep their timelines gapless and in order", async () => {
  await using opened = await openPipeline();
  const { pipeline, sql, open } = opened;
  const second = open({ lease: { node: 2, canSend: () => true }, nowMs: () => Date.now() - 1_500 });
  const outcomes = await Promise.all(
    Array.from(
      { length: 600 },
      (_, i) => submit(i % 2 === 0 ? pipeline : second, sendOf(`u${i % 10}`, `u${(i * 3 + 1) % 10}`)),
    ),
  );
  await second.close();
  for (const outcome of outcomes) requireStored(outcome);
  await assertTimelines(sql);
});

Deno.test("A full lane refuses who will not wait, holds back who will, and lets others pass", async () => {
  await using opened = await openPipeline({ limits: { maxItemsPerLane: 5 } });
  const { pipeline } = opened;
  const first = Array.from({ length: 5 }, () => submit(pipeline, sendOf("u1", "u2")));
  const refused = pipeline.submit(sendOf("u2", "u1"), { order: { generation: 0 }, whenFull: "refuse" });
  const waiting = pipeline.submit(sendOf("u1", "u2"), { order: { generation: 0 }, whenFull: "wait" });
  assert.notEqual(waiting.entered, null);
  assert.equal(
    pipeline.submit(sendOf("u3", "u4"), { order: { generation: 0 }, whenFull: "wait" }).entered,
    null,
  );
  assert.deepEqual(await refused.outcome, { status: "refused", reason: "full" });
  await waiting.entered;
  const last = requireStored(await waiting.outcome);
  for (const outcome of await Promise.all(first)) {
    assert.ok(requireStored(outcome).messageId < last.messageId);
  }
});

Deno.test("Without a standing lease nothing is stored", async () => {
  let standing = false;
  await using opened = await openPipeline({ lease: { node: 1, canSend: () => standing } });
  const { pipeline } = opened;
  assert.deepEqual(await submit(pipeline, sendOf("u1", "u2")), { status: "refused", reason: "clock" });
  standing = true;
  requireStored(await submit(pipeline, sendOf("u1", "u2")));
});

Deno.test("A month's partition that still holds another year takes nothing", async () => {
  await using opened = await openPipeline({ nowMs: () => Date.UTC(2026, 10, 24) });
  const { pipeline, sql } = opened;
  const old = firstMessageIdAt(Date.UTC(2023, 10, 3));
  await sql`
    INSERT INTO t_messages (shard, message_id, sender, type, target, line, content_type, client_message_id, content)
    VALUES (${(2023 % 3) * 12 + 10}, ${old}, 'u1', 0, 'u1|u2', 0, 1, 'old', '{}')`;
  assert.deepEqual(await submit(pipeline, sendOf("u1", "u2")), { status: "refused", reason: "failed" });
  const [count] = await sql<{ count: number }[]>`SELECT count(*)::int AS count FROM t_messages`;
  assert.equal(count!.count, 1);
});

Deno.test("When the database stands still, sends are answered in time and the pipeline goes on afterwards", async () => {
  await using opened = await openPipeline({ limits: { patienceMs: 300, flushPatienceMs: 600 } });
  const { pipeline, sql } = opened;
  const outcomes: SendOutcome[] = [];
  await sql.begin(async (hold) => {
    await hold`LOCK TABLE t_user_timeline IN ACCESS EXCLUSIVE MODE`;
    const first = submit(pipeline, sendOf("u1", "u2"));
    const second = submit(pipeline, sendOf("u3", "u4"));
    outcomes.push(...await Promise.all([first, second]));
  });
  for (const outcome of outcomes) assert.deepEqual(outcome, { status: "refused", reason: "timeout" });
  requireStored(await submit(pipeline, sendOf("u1", "u2")));
  await assertTimelines(sql);
});

Deno.test("A transparent message passes behind the stored ones of its conversation", async () => {
  await using opened = await openPipeline();
  const { pipeline } = opened;
  const order: string[] = [];
  const stored = Array.from({ length: 30 }, (_, i) =>
    submit(pipeline, sendOf("u1", "u2")).then((outcome) => {
      order.push(`s${i}`);
      return requireStored(outcome);
    }));
  const passed = await pipeline.pass(0, 0, "u1|u2");
  assert.equal(order.length, 30);
  for (const message of await Promise.all(stored)) assert.ok(message.messageId < passed.messageId);
});
