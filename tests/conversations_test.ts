import assert from "node:assert/strict";
import type { Im } from "../im/mod.ts";
import { callerOf, createUsers, openIm, request, sendText } from "./im.ts";

const withAnn = { type: 0, target: "ann" };

async function listOf(im: Im, userId: string, options: object = {}) {
  return await request(im, callerOf(userId), "conversation.list", options);
}

Deno.test("The list has the newest first, with last message and unread, and none for who never wrote", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo");
  assert.deepEqual((await listOf(im, "ben")).conversations, []);
  await sendText(im, "ann", "ben", "one");
  await sendText(im, "cleo", "ben", "two");
  const last = await sendText(im, "ann", "ben", "three");
  const { conversations, nextPageToken } = await listOf(im, "ben");
  assert.equal(nextPageToken, undefined);
  assert.deepEqual(
    conversations.map((row) => [
      row.conversation.target,
      row.lastMessage!.content.searchableContent,
      row.unread.count,
      row.readMessageId,
    ]),
    [["ann", "three", 2, "0"], ["cleo", "two", 1, "0"]],
  );
  assert.equal(conversations[0]!.updatedAt, last.timestamp);
  const own = (await listOf(im, "ann")).conversations;
  assert.deepEqual([own.length, own[0]!.unread.count], [1, 0]);
});

Deno.test("The list is read page by page without a gap or a double, while messages come in", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const others = Array.from({ length: 23 }, (_, i) => `user${i}`);
  await createUsers(im, "ben", ...others);
  for (const other of others) await sendText(im, other, "ben", "hello");
  const seen: string[] = [];
  let pageToken: string | undefined;
  do {
    const page = await listOf(im, "ben", { limit: 10, ...pageToken === undefined ? {} : { pageToken } });
    seen.push(...page.conversations.map((row) => row.conversation.target));
    pageToken = page.nextPageToken;
    await sendText(im, others[22]!, "ben", "again");
  } while (pageToken !== undefined);
  assert.deepEqual(seen, others.toReversed());
});

Deno.test("A page of the list fits its door", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo", "dan");
  for (const other of ["ann", "cleo", "dan"]) await sendText(im, other, "ben", "x".repeat(30_000));
  const narrow = callerOf("ben", { maxReplyBytes: 64_000 });
  const first = await request(im, narrow, "conversation.list", {});
  assert.equal(first.conversations.length, 2);
  const rest = await request(im, narrow, "conversation.list", { pageToken: first.nextPageToken });
  assert.deepEqual(rest.conversations.map((row) => row.conversation.target), ["ann"]);
});

Deno.test("Only what changed after a moment is listed when asked so", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo");
  const { timestamp } = await sendText(im, "ann", "ben", "old");
  // The next message is of a later millisecond.
  while (Date.now() <= timestamp) await new Promise((resume) => setTimeout(resume, 1));
  const newer = await sendText(im, "cleo", "ben", "new");
  assert.ok(newer.timestamp > timestamp);
  const targets = async (updatedAfter: number) =>
    (await listOf(im, "ben", { updatedAfter })).conversations.map((row) => row.conversation.target);
  assert.deepEqual(await targets(timestamp), ["cleo"]);
  assert.deepEqual(await targets(newer.timestamp), []);
});

Deno.test("Unread counts what counts, with mentions, above the read mark", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  await sendText(im, "ann", "ben", "counted");
  await sendText(im, "ann", "ben", "stored, not counted", { persistFlag: 1 });
  await sendText(im, "ann", "ben", "hidden", { persistFlag: 0 });
  await sendText(im, "ann", "ben", "you", { mentionedType: 1, mentionedTargets: ["ben"] });
  const all = await sendText(im, "ann", "ben", "everybody", { mentionedType: 2 });
  await sendText(im, "ben", "ann", "mine");
  const unread = async () => (await listOf(im, "ben")).conversations[0]!.unread;
  assert.deepEqual(await unread(), { count: 3, mentions: 1, mentionAll: 1 });
  const read = await request(im, callerOf("ben"), "conversation.read", {
    conversation: withAnn,
    messageId: String(BigInt(all.messageId) - 1n),
  });
  assert.deepEqual(read.unread, { count: 1, mentions: 0, mentionAll: 1 });
  assert.deepEqual(await unread(), read.unread);
});

Deno.test("A read mark moves forward alone, tells my devices and the other side, and cannot pass the newest message", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const first = await sendText(im, "ann", "ben", "one");
  const second = await sendText(im, "ann", "ben", "two");
  const read = (messageId: string) =>
    request(im, callerOf("ben"), "conversation.read", { conversation: withAnn, messageId });
  const receipts = async () =>
    (await request(im, callerOf("ann"), "conversation.receipts", {
      conversation: { type: 0, target: "ben" },
    }))
      .receipts;
  assert.deepEqual(await receipts(), [{ userId: "ben", readTo: "0" }]);

  const moved = await read(second.messageId);
  assert.deepEqual([moved.readMessageId, moved.unread.count], [second.messageId, 0]);
  assert.deepEqual(
    moved.notices.map((notice) => notice.kind === "event" && [notice.userId, notice.event.type]),
    [["ben", "read"], ["ann", "receipt"]],
  );
  assert.deepEqual(await receipts(), [{ userId: "ben", readTo: second.messageId }]);

  const back = await read(first.messageId);
  assert.deepEqual([back.readMessageId, back.notices], [second.messageId, []]);
  const beyond = await read("9223372036854775807");
  assert.equal(beyond.readMessageId, second.messageId);
  const third = await sendText(im, "ann", "ben", "three");
  assert.equal((await listOf(im, "ben")).conversations[0]!.unread.count, 1, `${third.messageId} is unread`);
  await assert.rejects(
    request(im, callerOf("ben"), "conversation.read", {
      conversation: { type: 0, target: "no" },
      messageId: "1",
    }),
    { error: "user/not-found" },
  );
});

Deno.test("Lists asked for by several devices at once agree, and so does the next one", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben", "cleo");
  for (let i = 0; i < 20; i++) await sendText(im, i % 2 === 0 ? "ann" : "cleo", "ben", `text ${i}`);
  const lists = await Promise.all(Array.from({ length: 8 }, () => listOf(im, "ben")));
  for (const list of lists) assert.deepEqual(list, lists[0]);
  assert.deepEqual(await listOf(im, "ben"), lists[0]);
});
