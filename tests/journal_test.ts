/** The journal: what is stored together, in which order, and who is told when. */
import assert from "node:assert/strict";
import { type Holder, Journal, type WriteUnits } from "../broker/journal.ts";
import { createLog } from "../log.ts";
import { numbersOf, OWNER, Store, write } from "./journal_store.ts";
import { messageOf } from "./session_rig.ts";

Deno.test("What one packet adds is one unit, and what a turn brings is written together", async () => {
  const store = new Store();
  store.add(1, 2);
  store.add(3);
  store.add();
  store.add();
  store.add(4);
  await Promise.resolve();
  store.add(5);
  assert.deepEqual(store.begun, [], "not before the turn is over");
  await store.end();
  await store.journal.settled();
  assert.deepEqual(store.begun, [[[1, 2], [3], [4], [5]]]);
  assert.equal(store.journal.added, 5);
});

Deno.test("What a task within a task adds is one unit with the rest, also when it fails", async () => {
  const store = new Store();
  const { journal } = store;
  journal.asUnit(() => {
    journal.add(write(1));
    journal.asUnit(() => journal.add(write(2)));
    journal.add(write(3));
  });
  assert.throws(() =>
    journal.asUnit(() => {
      store.add(4, 5);
      throw new Error("broken");
    }), /broken/);
  store.add(6);
  await store.end();
  await journal.settled();
  assert.deepEqual(store.begun, [[[1, 2, 3], [4, 5], [6]]]);
});

Deno.test("While a batch is written the next one gathers, and one commit is in flight", async () => {
  const store = new Store();
  store.add(1);
  await store.begin();
  store.add(2);
  store.journal.add(write(3));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(store.begun, [[[1]]]);
  await store.end();
  await store.begin();
  assert.deepEqual(store.begun, [[[1]], [[2], [3]]]);
  // The unit that was open is on its way: what comes now is another.
  store.journal.add(write(4));
  await store.end();
  await store.end();
  await store.journal.settled();
  assert.deepEqual(store.begun, [[[1]], [[2], [3]], [[4]]]);
});

Deno.test("Holders are told of their batch when it is stored, each in its turn and once", async () => {
  const store = new Store();
  const told: string[] = [];
  const holder = (name: string): Holder => ({
    stored: (batch) => told.push(`${name} ${batch}`),
    lost: () => told.push(`${name} lost`),
  });
  const [anna, bert] = [holder("anna"), holder("bert")];
  store.add(1);
  assert.equal(store.journal.hold(anna), 1);
  assert.equal(store.journal.hold(anna), 1);
  await store.begin();
  store.add(2);
  assert.equal(store.journal.hold(bert), 2);
  assert.equal(store.journal.hold(anna), 2);
  assert.deepEqual(told, []);
  await store.end();
  await store.begin();
  assert.deepEqual(told, ["anna 1"]);
  store.add(3);
  await store.end();
  await store.begin();
  assert.deepEqual(told, ["anna 1", "bert 2", "anna 2"]);
  await store.end();
  await store.journal.settled();
  assert.deepEqual(told, ["anna 1", "bert 2", "anna 2"], "who holds nothing hears nothing");
});

Deno.test("What could not be stored is tried until it is, before anything that came later", async () => {
  const attempts: { readonly units: number[][]; readonly atMs: number }[] = [];
  const lines: string[] = [];
  const failures = 3;
  const attempt: WriteUnits = (units) => {
    attempts.push({ units: numbersOf(units), atMs: performance.now() });
    return attempts.length <= failures ? Promise.reject(new Error("disk full")) : Promise.resolve();
  };
  const log = createLog({ format: "text", level: "error", write: (line) => lines.push(line) });
  const journal = new Journal(attempt, log);
  const told: number[] = [];
  journal.add(write(1));
  journal.add(write(2));
  journal.hold({ stored: (batch) => told.push(batch), lost: () => told.push(-1) });
  while (attempts.length < 1) await new Promise((resolve) => setImmediate(resolve));
  journal.add(write(3));
  assert.deepEqual(told, []);
  await journal.settled();
  assert.deepEqual(attempts.map(({ units }) => units), [...Array(1 + failures).fill([[1], [2]]), [[3]]]);
  assert.deepEqual(told, [1]);
  assert.equal(lines.length, failures);
  for (const line of lines) assert.match(line, /ERROR MQTT sessions not stored units=2: .*disk full/);
  // Each pause is longer than the one before it: a timer is never early, whatever the machine does.
  for (const [i, leastMs] of [50, 100, 200].entries()) {
    assert.ok(attempts[i + 1]!.atMs - attempts[i]!.atMs >= leastMs - 1, `pause ${i}`);
  }
});

Deno.test("A unit that can never be stored does not keep the others from it, and is told", async () => {
  const stored: number[][] = [];
  const lines: string[] = [];
  const attempt: WriteUnits = (units) => {
    if (units.some((unit) => unit.some((made) => made.kind === "received" && made.packetId === 0))) {
      return Promise.reject(new TypeError("Value too large"));
    }
    stored.push(...numbersOf(units));
    return Promise.resolve();
  };
  const log = createLog({ format: "text", level: "error", write: (line) => lines.push(line) });
  const journal = new Journal(attempt, log);
  const told: number[] = [];
  const lost: string[] = [];
  for (const unit of [[1, 2], [3, 0, 4], [5], [0], [6]]) {
    journal.asUnit(() => {
      for (const packetId of unit) journal.add(write(packetId));
      journal.hold({ stored: () => {}, lost: () => lost.push(String(unit)) });
    });
  }
  journal.hold({ stored: (batch) => told.push(batch), lost: () => lost.push("nobody's") });
  await journal.settled();
  assert.deepEqual(lost, ["3,0,4", "0"], "those who wait for them, and no others");
  assert.deepEqual(stored, [[1, 2], [5], [6]]);
  assert.deepEqual(told, [1]);
  assert.equal(lines.length, 3, "the batch, and each of the two");
});

Deno.test("Another failure among the units of a batch is tried again for its unit alone", async () => {
  const attempts: number[][][] = [];
  const attempt: WriteUnits = (units) => {
    attempts.push(numbersOf(units));
    if (units.length > 1) return Promise.reject(new TypeError("Value too large"));
    return attempts.length === 3 ? Promise.reject(new Error("busy")) : Promise.resolve();
  };
  const journal = new Journal(attempt, createLog({ format: "text", level: "error", write: () => {} }));
  for (const packetId of [1, 2, 3]) journal.add(write(packetId));
  await journal.settled();
  assert.deepEqual(attempts, [[[1], [2], [3]], [[1]], [[2]], [[2]], [[3]]]);
});

Deno.test("The journal is behind from 16 MiB on, gathered and on their way, bodies counted", async () => {
  const store = new Store();
  const { journal } = store;
  const body = (bytes: number) => messageOf("x".repeat(bytes), { topic: "t" });
  const queued = { qos: 1, packetId: 1, isReleased: false, retain: false, subscriptionIds: [] };
  const half = 8 * 1024 * 1024;
  assert.equal(journal.isBehind, false);
  journal.add({ kind: "retained", topic: "t", record: body(half), replacedBytes: 0 });
  await store.begin();
  const record = { ...queued, publication: body(half - 1_024) };
  journal.add({ kind: "queued", owner: OWNER, seq: 1, record, replacedBytes: 0 });
  assert.equal(journal.isBehind, false);
  for (let i = 0; i < 3; i++) journal.add(write(i));
  assert.equal(journal.isBehind, true, "small writes take room too");
  await store.end();
  await store.begin();
  assert.equal(journal.isBehind, false);
  journal.add({ kind: "retained", topic: "t", record: null, replacedBytes: 0 });
  journal.add({ kind: "queued", owner: OWNER, seq: 1, record: null, replacedBytes: 0 });
  journal.add({
    kind: "queued",
    owner: OWNER,
    seq: 2,
    record: { ...queued, publication: null },
    replacedBytes: 0,
  });
  journal.add({ kind: "forget", owner: OWNER });
  await store.end();
  await store.end();
  await journal.settled();
  assert.equal(journal.isBehind, false);
  journal.add({ kind: "retained", topic: "t", record: body(2 * half), replacedBytes: 0 });
  assert.equal(journal.isBehind, true);
  await store.end();
  await journal.settled();
  assert.equal(journal.isBehind, false, "with nothing behind it too");
});

Deno.test("Settled is what had been added, however much others add", async () => {
  const store = new Store();
  await store.journal.settled();
  store.add(1);
  const first = store.journal.settled();
  await store.begin();
  const alsoFirst = store.journal.settled();
  store.add(2);
  let isSecondStored = false;
  const second = store.journal.settled().then(() => isSecondStored = true);
  await store.end();
  await Promise.all([first, alsoFirst]);
  await store.begin();
  assert.equal(isSecondStored, false);
  // There is always more: whoever waits must not wait for that.
  store.add(3);
  await store.end();
  await second;
  await store.end();
  await store.journal.settled();
  assert.deepEqual(store.begun, [[[1]], [[2]], [[3]]]);
});
