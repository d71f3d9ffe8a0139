/** What one client has waiting in the journal, and what it may have when storing is behind. */
import assert from "node:assert/strict";
import { JournalShare } from "../broker/journal.ts";
import { publicationBytes } from "../store/mod.ts";
import { OWNER, Store, write } from "./journal_store.ts";
import { messageOf } from "./session_rig.ts";

Deno.test("A share is what one client has added and is not stored yet", async () => {
  const store = new Store();
  const share = new JournalShare(store.journal);
  const add = (bytes: number) => {
    store.add(1);
    share.add(bytes);
  };
  assert.equal(share.bytes, 0);
  add(100);
  add(10);
  assert.equal(share.bytes, 110, "gathered");
  await store.begin();
  assert.equal(share.bytes, 110, "on its way");
  add(1);
  assert.equal(share.bytes, 111);
  await store.end();
  await store.begin();
  assert.equal(share.bytes, 1, "the first batch is stored");
  store.add(2); // somebody else's
  assert.equal(share.bytes, 1);
  await store.end();
  await store.begin();
  assert.equal(share.bytes, 0);
  // A batch without it lay between.
  add(7);
  assert.equal(share.bytes, 7);
  await store.end();
  await store.end();
  await store.journal.settled();
  assert.equal(share.bytes, 0);
});

Deno.test("A client may have all it likes waiting, little when storing is behind, and nothing when it is far behind", async () => {
  const store = new Store();
  const { journal } = store;
  const MIB = 1024 * 1024;
  const grow = (bytes: number) =>
    journal.add({ kind: "retained", topic: "t", record: messageOf("x".repeat(bytes)), replacedBytes: 0 });
  assert.equal(journal.fairBytes, Infinity);
  const { addedBytes } = journal;
  grow(15 * MIB);
  assert.ok(journal.addedBytes - addedBytes >= 15 * MIB);
  assert.equal(journal.fairBytes, Infinity);
  await store.begin();
  grow(2 * MIB);
  assert.equal(journal.fairBytes, 64 * 1024);
  grow(46 * MIB);
  assert.equal(journal.fairBytes, 64 * 1024);
  grow(2 * MIB);
  assert.equal(journal.fairBytes, 0);
  await store.end();
  await store.begin();
  assert.equal(journal.fairBytes, 64 * 1024);
  await store.end();
  await journal.settled();
  assert.equal(journal.fairBytes, Infinity);
});

Deno.test("Wills and filters take room as messages do", () => {
  const store = new Store();
  const { journal } = store;
  const bytesOf = (add: () => void) => {
    const { addedBytes } = journal;
    add();
    return journal.addedBytes - addedBytes;
  };
  const least = bytesOf(() => journal.add(write(1)));
  const will = { publication: messageOf("x".repeat(500)), expirySeconds: null, delaySeconds: 0 };
  const record = { expirySeconds: 1, disconnectedAtMs: null };
  const topicFilter = "f".repeat(300);
  assert.equal(
    bytesOf(() => journal.add({ kind: "session", owner: OWNER, record: { ...record, will } })),
    least + publicationBytes(will.publication),
  );
  assert.equal(
    bytesOf(() => journal.add({ kind: "session", owner: OWNER, record: { ...record, will: null } })),
    least,
  );
  assert.equal(
    bytesOf(() => journal.add({ kind: "subscription", owner: OWNER, topicFilter, record: null })),
    least + 300,
  );
  return store.end().then(() => journal.settled());
});
