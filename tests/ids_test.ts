import assert from "node:assert/strict";
import { MessageIdClock, messageIdTimeMs, messageShard, randomId, shardOfTime } from "../store/ids.ts";

const NOW_MS = 1_700_000_000_000;

Deno.test("Message ids are made of time, node and counter as the reference's vectors say", () => {
  const clock = new MessageIdClock();
  clock.next(NOW_MS, 1, 0n);
  const second = clock.next(NOW_MS, 1, 0n);
  assert.equal(second, 388526768128032769n);
  assert.equal(messageIdTimeMs(second), NOW_MS);
  assert.equal(messageShard(second), 22);
});

Deno.test("The shard of an id is that of its UTC month, in a cycle of three years", () => {
  assert.equal(messageShard(463312886167535617n), 35); // 2024-12-31T15:59:59.999Z
  assert.equal(messageShard(463312886169632775n), 35); // 2024-12-31T16:00:00.000Z, already January at UTC+8
  assert.equal(shardOfTime(Date.UTC(2025, 0, 1)), 0);
  assert.equal(shardOfTime(Date.UTC(2025, 0, 1) - 1), 35);
  assert.equal(shardOfTime(Date.UTC(2028, 0, 1)), 0);
});

Deno.test("A clock's ids grow when the wall clock stands still, steps back, or the counter runs over", () => {
  const clock = new MessageIdClock();
  let last = 0n;
  for (const nowMs of [NOW_MS, NOW_MS, NOW_MS - 60_000, NOW_MS + 1]) {
    for (let i = 0; i < 40_000; i++) {
      const id = clock.next(nowMs, 63, 0n);
      assert.ok(id > last);
      last = id;
    }
  }
});

Deno.test("An id is above the newest id of its timelines even when another node's clock is ahead", () => {
  const ahead = new MessageIdClock().next(NOW_MS + 1_500, 63, 0n);
  const clock = new MessageIdClock();
  const id = clock.next(NOW_MS, 0, ahead);
  assert.ok(id > ahead);
  assert.ok(clock.next(NOW_MS, 0, 0n) > id);
});

Deno.test("Two nodes never give one id", () => {
  const first = new MessageIdClock(), second = new MessageIdClock();
  const ids = new Set<bigint>();
  for (let i = 0; i < 1_000; i++) {
    ids.add(first.next(NOW_MS, 4, 0n));
    ids.add(second.next(NOW_MS, 5, 0n));
  }
  assert.equal(ids.size, 2_000);
});

Deno.test("Random ids are lower-case letters and digits of the wanted length, and do not repeat", () => {
  const ids = new Set(Array.from({ length: 1_000 }, () => randomId()));
  assert.equal(ids.size, 1_000);
  for (const id of ids) assert.match(id, /^[0-9a-z]{20}$/);
  assert.match(randomId(8), /^[0-9a-z]{8}$/);
});
