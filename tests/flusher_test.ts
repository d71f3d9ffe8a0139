/** When sockets are flushed that were written to. */
import assert from "node:assert/strict";
import { type Flushable, Flusher } from "../broker/flusher.ts";

/** A socket that notes its flushes. */
class Socket implements Flushable {
  isDirty = false;
  flushedAtMs = 0;
  eagerFlushes = 0;
  dueBytes = 0;
  /** Bytes of each flush. */
  readonly frames: number[] = [];
  #flushed = Promise.withResolvers<void>();

  /** Resolves at the next flush. */
  get flushed(): Promise<void> {
    return this.#flushed.promise;
  }

  write(flusher: Flusher, count: number): void {
    this.dueBytes += count;
    flusher.mark(this);
  }

  flush(): void {
    this.frames.push(this.dueBytes);
    this.dueBytes = 0;
    this.#flushed.resolve();
    this.#flushed = Promise.withResolvers();
  }

  /** As if it had been flushed a moment ago, however slow this machine is. */
  pretendFlushed(): void {
    this.flushedAtMs = performance.now() + 60_000;
  }
}

Deno.test("What is written within a turn leaves in one frame behind it", async () => {
  const flusher = new Flusher();
  const [one, other] = [new Socket(), new Socket()];
  one.write(flusher, 1);
  other.write(flusher, 5);
  one.write(flusher, 2);
  assert.deepEqual(one.frames, []);
  await Promise.all([one.flushed, other.flushed]);
  assert.deepEqual([one.frames, other.frames], [[3], [5]]);
});

Deno.test("A busy socket waits, and what comes in meanwhile joins its frame", async () => {
  const flusher = new Flusher();
  const [busy, idle] = [new Socket(), new Socket()];
  busy.pretendFlushed();
  busy.write(flusher, 1);
  idle.write(flusher, 1);
  await idle.flushed;
  assert.deepEqual(busy.frames, []);
  busy.write(flusher, 2);
  busy.flushedAtMs = 0;
  await busy.flushed;
  assert.deepEqual(busy.frames, [3]);
  assert.equal(busy.eagerFlushes, 0, "the pause was worth it, so there will be others");
});

Deno.test("A socket for which nothing came during its pause is not paused for a while", async () => {
  const flusher = new Flusher();
  const [asking, idle] = [new Socket(), new Socket()];
  asking.pretendFlushed();
  asking.write(flusher, 4);
  idle.write(flusher, 1);
  await idle.flushed;
  asking.flushedAtMs = 0;
  await asking.flushed;
  const granted = asking.eagerFlushes;
  assert.ok(granted > 0);
  asking.pretendFlushed();
  asking.write(flusher, 4);
  await asking.flushed;
  assert.deepEqual(asking.frames, [4, 4]);
  assert.equal(asking.eagerFlushes, granted - 1, "not for ever: it is tried again");
});

Deno.test("A socket that was closed before its turn is left alone", async () => {
  const flusher = new Flusher();
  const [closed, other] = [new Socket(), new Socket()];
  closed.write(flusher, 1);
  closed.isDirty = false;
  other.write(flusher, 1);
  await other.flushed;
  assert.deepEqual(closed.frames, []);
});
