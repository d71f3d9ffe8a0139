/** What may not leave a connection before the journal has stored what it speaks of. */
import assert from "node:assert/strict";
import { FULL_BYTES, Socket } from "./outbox_socket.ts";

/** What happens, letter by letter, and what has left after each flush: see {@linkcode play}. */
const rows: readonly [name: string, script: string, heard: string][] = [
  ["what was written before leaves, and what comes behind waits", "a h1 b . s1 .", "a|b"],
  ["it waits also for what was written by nobody yet", "h1 . a . b . s1 .", "|||ab"],
  [
    "what has left does not come again, and moves nothing else",
    "a h1 . b . h2 c . s1 . d . s2 .",
    "a|||b||cd",
  ],
  ["every mark keeps its place", "a h1 b h2 c h3 d . s1 . s2 . s3 .", "a|b|c|d"],
  ["a batch stands for those before it", "a h1 b h2 c h3 d . s2 . e s3 .", "a|bc|de"],
  ["all of it may leave at once", "a h1 b h2 c s2 .", "abc"],
  ["a batch that is asked for twice is one", "a h1 b h1 c s1 .", "abc"],
  ["a batch before that of the mark frees nothing", "a h2 b s1 . s2 .", "a|b"],
  ["a second mark at the same place holds as long as it does", "h1 h2 a s1 . s2 .", "|a"],
  [
    "frames that were cut go on where they were cut",
    "aaaa h1 bbbb . cc h2 dd s1 . e s2 .",
    "aaaa|bbbbcc|dde",
  ],
  ["a mark behind all that was written holds what comes", "a b h1 . c . s1 .", "ab||c"],
];

const utf8 = new TextEncoder();

/**
 * Plays a script: letters are written, `h2` holds until batch 2, `s2` stores it, `.` flushes; `?` closes, `!` with a
 * last word.
 */
function play(socket: Socket, script: string): string {
  const { outbox } = socket;
  const heard: string[] = [];
  for (const word of script.split(" ")) {
    if (word === ".") {
      outbox.flush(1);
      heard.push(socket.heard());
    } else if (/^h\d/.test(word)) outbox.hold(Number(word.slice(1)));
    else if (/^s\d/.test(word)) outbox.stored(Number(word.slice(1)), 1);
    else if (word === "!") outbox.close((writer) => writer.append(utf8.encode("bye")));
    else if (word === "?") outbox.close(null);
    else socket.say(word);
  }
  return [...heard, socket.heard()].join("|");
}

for (const [name, script, heard] of rows) {
  Deno.test(`Held bytes: ${name}`, () => {
    assert.equal(play(new Socket(), script), `${heard}|`);
  });
}

Deno.test("An outbox is held until the last batch it waits for is stored", () => {
  const { outbox } = new Socket();
  assert.equal(outbox.isHeld, false);
  outbox.hold(1);
  outbox.hold(4);
  outbox.stored(3, 1);
  assert.equal(outbox.isHeld, true);
  outbox.stored(4, 1);
  assert.equal(outbox.isHeld, false);
  outbox.stored(5, 1);
  assert.equal(outbox.isHeld, false);
});

Deno.test("What is stored leaves behind the turn by itself", async () => {
  const socket = new Socket();
  socket.outbox.hold(1);
  socket.say("held");
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(socket.heard(), "");
  socket.outbox.stored(1, performance.now());
  while (socket.frames.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(socket.heard(), "held");
});

Deno.test("What waits for room goes on once the held bytes have left, and no pause is for their sake", () => {
  const socket = new Socket();
  socket.outbox.hold(1);
  socket.write(FULL_BYTES);
  socket.waiting = 100;
  socket.outbox.flush(1);
  socket.outbox.flush(2);
  assert.deepEqual([socket.frames, socket.pauses, socket.waiting], [[], 0, 100]);
  assert.equal(socket.outbox.isPaused, false, "the peer is not what it waits for");
  socket.outbox.stored(1, 30);
  assert.equal(socket.outbox.progressAtMs, 30, "nor does it stand still");
  socket.outbox.flush(31);
  assert.deepEqual([socket.frames, socket.pauses], [[FULL_BYTES], 1], "now it is");
  socket.read();
  socket.outbox.retry(32);
  socket.outbox.flush(33);
  assert.deepEqual([socket.frames, socket.waiting], [[FULL_BYTES, 100], 0]);
});

Deno.test("While there is room, what waits goes on behind held bytes", () => {
  const socket = new Socket();
  socket.say("free");
  socket.outbox.hold(1);
  socket.write(10);
  socket.waiting = 100;
  socket.outbox.flush(1);
  assert.deepEqual([socket.frames, socket.waiting], [[4], 0]);
  socket.outbox.stored(1, 2);
  socket.outbox.flush(3);
  assert.deepEqual(socket.frames, [4, 110]);
});

Deno.test("A full socket is handed nothing, stored or not, and then all that may leave", () => {
  const socket = new Socket();
  socket.write(FULL_BYTES);
  socket.outbox.flush(1);
  socket.heard();
  socket.say("free");
  socket.outbox.hold(1);
  socket.say("held");
  socket.outbox.flush(2);
  assert.equal(socket.outbox.isPaused, true);
  socket.read();
  assert.equal(socket.outbox.retry(3), false);
  assert.equal(socket.heard(), "free");
  socket.bufferedAmount = FULL_BYTES;
  socket.outbox.stored(1, 4);
  socket.outbox.flush(4);
  assert.equal(socket.heard(), "");
  assert.equal(socket.outbox.isPaused, true);
  socket.read();
  assert.equal(socket.outbox.retry(5), false);
  assert.equal(socket.heard(), "held");
});

Deno.test("Held bytes have the limit of all that is due", () => {
  const socket = new Socket(1_000);
  socket.outbox.hold(1);
  socket.write(1_000);
  socket.outbox.flush(1);
  assert.equal(socket.overflows, 0);
  socket.write(1);
  socket.outbox.flush(2);
  assert.equal(socket.overflows, 1);
});

/** What is left unsaid when a connection closes. */
const closings: readonly [name: string, script: string, heard: string][] = [
  ["what is free leaves, and what is held does not", "a h1 b ?", "a"],
  ["the last word stands where the held bytes stood", "a h1 b !", "abye"],
  ["a last word is not held", "a . h1 b !", "a|bye"],
  ["a last word is not held behind a frame that was cut", "a h1 b . !", "a|bye"],
  ["a last word comes behind something, or not at all", "h1 a !", ""],
  ["what is stored by then leaves", "a h1 b s1 h2 c !", "abbye"],
  ["with nothing held everything leaves", "a b !", "abbye"],
  ["with nothing said there is nothing to say", "!", ""],
];

for (const [name, script, heard] of closings) {
  Deno.test(`At the close ${name}`, () => {
    const socket = new Socket();
    assert.equal(play(socket, script), heard);
    // Nothing comes behind it, whatever is stored later.
    assert.equal(play(socket, "s9 . ?"), "|");
    assert.equal(socket.outbox.isHeld, false);
  });
}

Deno.test("To a full socket no last word is said", () => {
  const socket = new Socket();
  socket.write(FULL_BYTES);
  socket.outbox.flush(1);
  socket.heard();
  socket.say("more");
  assert.equal(play(socket, "!"), "");
});
