import assert from "node:assert/strict";
import { ImError } from "../im/mod.ts";
import type { Entry, ErrorName, MessageContent } from "../wire.ts";
import { callerOf, createUsers, openIm, request, sendText } from "./im.ts";

const TO_BEN = { type: 0, target: "ben" };

async function refused(step: Promise<unknown>, error: ErrorName, field?: string): Promise<void> {
  await assert.rejects(step, (thrown) => {
    assert.ok(thrown instanceof ImError, `${thrown}`);
    assert.deepEqual([thrown.error, thrown.field], [error, field]);
    return true;
  });
}

function texts(entries: readonly Entry[]): (string | undefined)[] {
  return entries.map((entry) => "message" in entry ? entry.message.content.searchableContent : entry.kind);
}

Deno.test("A message takes the next place in both timelines, and each sees the other as target", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const sent = await sendText(im, "ann", "ben", "hello");
  assert.deepEqual([sent.timeline, sent.seq], ["me", "1"]);
  const answered = await sendText(im, "ben", "ann", "hi");
  assert.equal(answered.seq, "2");
  for (const [userId, target] of [["ann", "ben"], ["ben", "ann"]] as const) {
    const { entries, cursor, head } = await request(im, callerOf(userId), "message.pull", { cursor: "0" });
    assert.deepEqual(texts(entries), ["hello", "hi"]);
    assert.deepEqual([cursor, head], ["2", "2"]);
    assert.ok(entries.every((entry) => "message" in entry && entry.message.conversation.target === target));
  }
});

Deno.test("A message carries what was sent and nothing the sender made up", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const content: MessageContent = {
    type: 1,
    searchableContent: "你好, \u{1F600}",
    pushContent: "push",
    pushData: "data",
    content: "more",
    data: "AAEC",
    mediaType: 2,
    remoteMediaUrl: "https://media.example.org/1",
    persistFlag: 3,
    expireDuration: 100,
    mentionedType: 1,
    mentionedTargets: ["ben"],
    extra: "{}",
  };
  const sent = await request(im, callerOf("ann"), "message.send", {
    clientMessageId: "m1",
    conversation: { ...TO_BEN, line: -7 },
    content: { ...content, unknown: 1 },
    from: "ben",
    messageId: "1",
    timestamp: 1,
  });
  const { entries } = await request(im, callerOf("ben"), "message.pull", { cursor: "0" });
  assert.deepEqual(entries, [{
    timeline: "me",
    seq: "1",
    kind: "new",
    message: {
      messageId: sent.messageId,
      clientMessageId: "m1",
      conversation: { type: 0, target: "ann", line: -7 },
      from: "ann",
      content,
      to: [],
      timestamp: sent.timestamp,
      editedAt: 0,
    },
  }]);
});

Deno.test("Sending a clientMessageId again answers the first result, keeps the first body and tells nobody", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const send = (text: string) =>
    request(im, callerOf("ann"), "message.send", {
      clientMessageId: "once",
      conversation: TO_BEN,
      content: { type: 1, searchableContent: text },
    });
  const { notices, ...first } = await send("first");
  assert.equal(notices.length, 1);
  const { notices: again, ...second } = await send("second");
  assert.deepEqual([second, again], [{ ...first, repeated: true }, []]);
  const { entries } = await request(im, callerOf("ben"), "message.pull", { cursor: "0" });
  assert.deepEqual(texts(entries), ["first"]);
  // The same id of another sender is another message.
  await sendText(im, "ben", "ann", "x");
  const other = await request(im, callerOf("ben"), "message.send", {
    clientMessageId: "once",
    conversation: { type: 0, target: "ann" },
    content: { type: 1 },
  });
  assert.equal(other.repeated, undefined);
});

Deno.test("A message to oneself is one row and is not unread", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  await sendText(im, "ann", "ann", "note");
  const { entries } = await request(im, callerOf("ann"), "message.pull", { cursor: "0" });
  assert.deepEqual(texts(entries), ["note"]);
  const { conversations } = await request(im, callerOf("ann"), "conversation.list", {});
  assert.equal(conversations[0]!.unread.count, 0);
});

Deno.test("A transparent message reaches whoever is connected and is stored nowhere", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const { notices, ...sent } = await request(im, callerOf("ann"), "message.send", {
    conversation: TO_BEN,
    content: { type: 91, content: "typing" },
  });
  assert.equal(sent.seq, undefined);
  assert.deepEqual(
    notices.map((notice) => notice.kind === "event" && [notice.userId, notice.event.type]),
    [["ann", "transparent"], ["ben", "transparent"]],
  );
  assert.equal((await request(im, callerOf("ben"), "sync", {})).head, "0");
  await refused(
    request(im, callerOf("ann"), "message.send", {
      conversation: { type: 0, target: "none" },
      content: { type: 91 },
    }),
    "user/not-found",
    "conversation.target",
  );
});

const MALFORMED: readonly (readonly [string, object, string])[] = [
  ["no conversation", { conversation: undefined }, "conversation"],
  ["no content", { content: undefined }, "content"],
  ["no clientMessageId", { clientMessageId: undefined }, "clientMessageId"],
  ["an empty clientMessageId", { clientMessageId: "" }, "clientMessageId"],
  ["a clientMessageId of 65", { clientMessageId: "x".repeat(65) }, "clientMessageId"],
  ["a clientMessageId that cannot be printed", { clientMessageId: "a\tb" }, "clientMessageId"],
  ["a clientMessageId that is a number", { clientMessageId: 1 }, "clientMessageId"],
  ["conversation type 4", { conversation: { type: 4, target: "ben" } }, "conversation.type"],
  ["conversation type 0.5", { conversation: { type: 0.5, target: "ben" } }, "conversation.type"],
  ["an empty target", { conversation: { type: 0, target: "" } }, "conversation.target"],
  ["a target with a slash", { conversation: { type: 0, target: "a/b" } }, "conversation.target"],
  ["a target with a bar", { conversation: { type: 0, target: "a|b" } }, "conversation.target"],
  ["a line beyond int32", { conversation: { ...TO_BEN, line: 2 ** 31 } }, "conversation.line"],
  ["content type 0", { content: { type: 0 } }, "content.type"],
  ["a recall made by a client", { content: { type: 80 } }, "content.type"],
  ["a deletion made by a client", { content: { type: 81 } }, "content.type"],
  ["a group notice made by a client", { content: { type: 104 } }, "content.type"],
  ["persist flag 2", { content: { type: 1, persistFlag: 2 } }, "content.persistFlag"],
  ["a negative expiry", { content: { type: 1, expireDuration: -1 } }, "content.expireDuration"],
  ["an expiry beyond a year", { content: { type: 1, expireDuration: 31_536_001 } }, "content.expireDuration"],
  ["data that is no base64", { content: { type: 1, data: "a" } }, "content.data"],
  [
    "201 mentions",
    { content: { type: 1, mentionedTargets: Array(201).fill("ben") } },
    "content.mentionedTargets",
  ],
  ["a text that is a number", { content: { type: 1, searchableContent: 5 } }, "content.searchableContent"],
  ["receivers in a single chat", { to: ["ben"] }, "to"],
];

for (const [name, wrong, field] of MALFORMED) {
  Deno.test(`A send with ${name} is refused, names its field and leaves no trace`, async () => {
    await using opened = await openIm();
    const { im } = opened;
    await createUsers(im, "ann", "ben");
    const good = { clientMessageId: "m", conversation: TO_BEN, content: { type: 1, searchableContent: "x" } };
    await refused(
      request(im, callerOf("ann"), "message.send", { ...good, ...wrong }),
      "request/invalid",
      field,
    );
    assert.equal((await request(im, callerOf("ben"), "sync", {})).head, "0");
    // The id is still free.
    const sent = await request(im, callerOf("ann"), "message.send", good);
    assert.equal(sent.repeated, undefined);
  });
}

Deno.test("A content is taken up to 64 KiB of UTF-8 and refused beyond", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  await sendText(im, "ann", "ben", "字".repeat(21_800));
  await refused(sendText(im, "ann", "ben", "字".repeat(21_900)), "message/too-large", "content");
  await sendText(im, "ann", "ben", "x".repeat(65_000));
  await refused(sendText(im, "ann", "ben", "x".repeat(65_536)), "message/too-large", "content");
});

Deno.test("Who is not there cannot be written to, whatever the conversation", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  const send = (conversation: object) =>
    request(im, callerOf("ann"), "message.send", {
      clientMessageId: "m",
      conversation,
      content: { type: 1 },
    });
  await refused(send({ type: 0, target: "nobody" }), "user/not-found", "conversation.target");
  await refused(send({ type: 1, target: "group" }), "group/not-member");
  await refused(send({ type: 2, target: "room" }), "chatroom/not-member");
  await refused(send({ type: 3, target: "channel" }), "channel/not-member");
  for (const command of ["message.history", "conversation.receipts"] as const) {
    await refused(
      request(im, callerOf("ann"), command, { conversation: { type: 1, target: "group" } }),
      "group/not-member",
    );
  }
});

Deno.test("A pull gives every place after the cursor, page by page, and refuses a cursor above the head", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  for (let i = 1; i <= 25; i++) await sendText(im, "ann", "ben", `text ${i}`);
  const seen: string[] = [];
  for (let cursor = "0";;) {
    const page = await request(im, callerOf("ben"), "message.pull", { cursor, limit: 10 });
    seen.push(...page.entries.map((entry) => entry.seq));
    if (page.cursor === page.head) break;
    assert.equal(page.entries.length, 10);
    cursor = page.cursor;
  }
  assert.deepEqual(seen, Array.from({ length: 25 }, (_, i) => `${i + 1}`));
  const atHead = await request(im, callerOf("ben"), "message.pull", { cursor: "25" });
  assert.deepEqual([atHead.entries, atHead.cursor], [[], "25"]);
  await refused(request(im, callerOf("ben"), "message.pull", { cursor: "26" }), "request/invalid", "cursor");
  for (const cursor of ["-1", "1.5", "x", "9223372036854775808"]) {
    await refused(request(im, callerOf("ben"), "message.pull", { cursor }), "request/invalid", "cursor");
  }
});

Deno.test("Pages fit their door, and a message larger than the door still comes", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  for (let i = 0; i < 6; i++) await sendText(im, "ann", "ben", `${i}${"x".repeat(30_000)}`);
  const narrow = callerOf("ben", { maxReplyBytes: 70_000 });
  const conversation = { type: 0, target: "ann" };
  const pulled = await request(im, narrow, "message.pull", { cursor: "0" });
  assert.equal(pulled.entries.length, 2);
  const newest = await request(im, narrow, "message.history", { conversation });
  assert.deepEqual([newest.messages.map((m) => m.content.searchableContent![0]), newest.hasMore], [
    ["5", "4"],
    true,
  ]);
  const after = await request(im, narrow, "message.history", {
    conversation,
    after: newest.messages[1]!.messageId,
  });
  assert.deepEqual([after.messages.map((m) => m.content.searchableContent![0]), after.hasMore], [
    ["5"],
    false,
  ]);
  const first = pulled.entries[0]!;
  const onward = await request(im, narrow, "message.history", {
    conversation,
    after: "message" in first ? first.message.messageId : "",
  });
  assert.deepEqual([onward.messages.map((m) => m.content.searchableContent![0]), onward.hasMore], [
    ["2", "1"],
    true,
  ]);
  const tiny = callerOf("ben", { maxReplyBytes: 1_000 });
  assert.equal((await request(im, tiny, "message.pull", { cursor: "3" })).entries.length, 1);
  assert.equal((await request(im, tiny, "message.history", { conversation })).messages.length, 1);
});

Deno.test("History pages back and forth, by content type too, and across months", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const ids: string[] = [];
  for (let i = 0; i < 8; i++) {
    ids.push((await sendText(im, "ann", "ben", `text ${i}`, { type: i % 2 === 0 ? 1 : 2 })).messageId);
  }
  // Half of them move three months back, as if time had passed.
  const monthsAgo = 100n * 86_400_000n << 21n;
  for (const [i, id] of ids.entries()) {
    if (i >= 4) break;
    const moved = BigInt(id) - monthsAgo;
    const { messageShard } = await import("../store/mod.ts");
    await im.store.sql`
      UPDATE t_messages SET message_id = ${moved}, shard = ${messageShard(moved)}
      WHERE shard = ${messageShard(BigInt(id))} AND message_id = ${BigInt(id)}`;
    ids[i] = String(moved);
  }
  const history = (range: object) =>
    request(im, callerOf("ben"), "message.history", { conversation: { type: 0, target: "ann" }, ...range });
  const idsOf = async (range: object) => (await history(range)).messages.map((message) => message.messageId);
  assert.deepEqual(await idsOf({}), ids.toReversed());
  assert.deepEqual(await idsOf({ before: ids[5], count: 3 }), [ids[4], ids[3], ids[2]]);
  assert.deepEqual(await idsOf({ after: ids[2], count: 3 }), [ids[5], ids[4], ids[3]]);
  assert.deepEqual(await idsOf({ contentTypes: [2] }), [ids[7], ids[5], ids[3], ids[1]]);
  assert.equal((await history({ count: 8 })).hasMore, false);
  assert.equal((await history({ count: 7 })).hasMore, true);
  await refused(history({ before: ids[5], after: ids[1] }), "request/invalid", "after");
  await refused(history({ count: 101 }), "request/invalid", "count");
  // A third person sees nothing of it.
  await createUsers(im, "cleo");
  const other = await request(im, callerOf("cleo"), "message.history", { conversation: TO_BEN });
  assert.deepEqual(other.messages, []);
});

Deno.test("An expired message is gone everywhere, and keeps its place", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  await createUsers(im, "ann", "ben");
  await sendText(im, "ann", "ben", "stays");
  const expiring = await sendText(im, "ann", "ben", "goes", { expireDuration: 60 });
  clock.aheadMs = 61_000;
  const { entries } = await request(im, callerOf("ben"), "message.pull", { cursor: "0" });
  assert.deepEqual(texts(entries), ["stays", "gone"]);
  assert.deepEqual(entries[1], {
    timeline: "me",
    seq: "2",
    kind: "gone",
    messageId: expiring.messageId,
    conversation: { type: 0, target: "ann", line: 0 },
  });
  const conversation = { type: 0, target: "ann" };
  const { messages } = await request(im, callerOf("ben"), "message.history", { conversation });
  assert.deepEqual(messages.map((message) => message.content.searchableContent), ["stays"]);
  const { conversations } = await request(im, callerOf("ben"), "conversation.list", {});
  assert.equal(conversations[0]!.lastMessage, null);
});

Deno.test("A sync says where the timeline stands, in an epoch that stays", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann", "ben");
  const before = await request(im, callerOf("ann"), "sync", {});
  await sendText(im, "ann", "ben", "x");
  const after = await request(im, callerOf("ann"), "sync", { cursor: "0", epoch: before.epoch });
  assert.deepEqual([before.head, after.head, after.floor, after.epoch], ["0", "1", "0", before.epoch]);
  assert.deepEqual(after.timelines, []);
  await refused(request(im, callerOf("nobody"), "sync", {}), "user/not-found");
});

Deno.test("An unknown command, and one named like a property of every object, are refused", async () => {
  await using opened = await openIm();
  for (const command of ["message.fly", "", "constructor", "__proto__", "toString"]) {
    await refused(request(opened.im, callerOf("ann"), command as "sync", {}), "command/unknown");
  }
});
