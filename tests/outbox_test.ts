/** What leaves a connection, over a stream that takes as much as the test says. */
import assert from "node:assert/strict";
import { FULL_BYTES, Socket } from "./outbox_socket.ts";

Deno.test("What is written within a turn leaves behind it in one frame", async () => {
  const socket = new Socket();
  for (const count of [10, 20, 30]) socket.write(count);
  assert.deepEqual(socket.frames, []);
  await new Promise((resume) => setTimeout(resume));
  assert.deepEqual(socket.frames, [60]);
});

Deno.test("A busy socket is given a frame at most every two milliseconds, and nothing is left behind", async () => {
  const socket = new Socket();
  const turns = 50;
  const startedAt = performance.now();
  for (let i = 0; i < turns; i++) {
    socket.write(1);
    await new Promise((resume) => setImmediate(resume));
  }
  const tookMs = performance.now() - startedAt;
  while (socket.frames.reduce((sum, frame) => sum + frame, 0) < turns) {
    await new Promise((resume) => setTimeout(resume, 1));
  }
  assert.ok(socket.frames.length <= tookMs / 2 + 3, `${socket.frames.length} frames in ${tookMs} ms`);
});

Deno.test("Nothing is handed to a full socket, and everything once it has been read", () => {
  const socket = new Socket();
  socket.write(FULL_BYTES);
  socket.outbox.flush(1);
  socket.write(100);
  assert.equal(socket.outbox.hasRoom, false);
  socket.outbox.flush(2);
  assert.deepEqual(socket.frames, [FULL_BYTES]);
  assert.equal(socket.outbox.isPaused, true);
  assert.equal(socket.outbox.retry(3), true);
  socket.read();
  assert.equal(socket.outbox.retry(4), false);
  assert.deepEqual(socket.frames, [FULL_BYTES, 100]);
  assert.equal(socket.outbox.hasRoom, true);
});

Deno.test("What waits behind a frame that filled the socket is not forgotten", () => {
  const socket = new Socket();
  socket.waiting = 500_000;
  socket.write(FULL_BYTES + 50_000);
  socket.outbox.flush(1);
  assert.equal(socket.pauses, 1, "somebody comes back for it");
  for (let ms = 2; ms < 20 && socket.waiting > 0; ms++) {
    socket.read();
    socket.outbox.retry(ms);
    socket.outbox.flush(ms);
  }
  assert.equal(socket.waiting, 0);
  socket.read();
  socket.outbox.flush(20);
  assert.equal(socket.frames.reduce((sum, frame) => sum + frame, 0), FULL_BYTES + 550_000);
});

Deno.test("Progress is what the peer reads, not what is written for it", () => {
  const socket = new Socket();
  socket.write(FULL_BYTES);
  socket.outbox.flush(10);
  socket.write(1);
  socket.outbox.flush(20);
  assert.equal(socket.outbox.progressAtMs, 20, "it stands still from here on");
  socket.outbox.retry(30);
  socket.outbox.retry(40);
  assert.equal(socket.outbox.progressAtMs, 20);
  socket.read(1);
  socket.outbox.retry(50);
  assert.equal(socket.outbox.progressAtMs, 50);
});

Deno.test("Acknowledgements that gather for a peer that does not read come to an end", () => {
  const socket = new Socket(1_000);
  socket.write(FULL_BYTES);
  socket.outbox.flush(1);
  socket.write(1_000);
  socket.outbox.flush(2);
  assert.equal(socket.overflows, 0);
  socket.write(1);
  socket.outbox.flush(3);
  assert.equal(socket.overflows, 1);
});

Deno.test("The last word is sent, unless it would only be kept for a peer that does not read", () => {
  const reading = new Socket();
  reading.write(3);
  reading.outbox.close(null);
  assert.deepEqual(reading.frames, [3]);
  const deaf = new Socket();
  deaf.bufferedAmount = FULL_BYTES;
  deaf.write(3);
  deaf.outbox.close(null);
  assert.deepEqual(deaf.frames, []);
  for (const { outbox, frames } of [reading, deaf]) {
    outbox.flush(1);
    outbox.close(null);
    assert.equal(frames.length, frames === reading.frames ? 1 : 0, "nothing comes behind it");
  }
});
