/** What is kept for a session: how much of it, what makes place, and what the store is told. */
import assert from "node:assert/strict";
import { type KeptLimits, KeptMessages, type Queued, type RestoredMessage } from "../broker/kept_messages.ts";
import { ChangeLog, deliveryOf, type MessageParts, OWN_PROPERTIES } from "./session_rig.ts";

/** The kept messages of one session, away unless the test says otherwise. */
class Kept {
  readonly log = new ChangeLog();
  readonly counts = { dropped: 0 };
  readonly kept: KeptMessages;
  #lastPacketId = 0;

  constructor(limits: Partial<KeptLimits> = {}, isAway = true) {
    this.kept = new KeptMessages({ maxQueuedMessages: 4, maxQueuedBytes: 1_000, ...limits }, this.counts);
    this.kept.log = this.log;
    this.kept.isAway = isAway;
  }

  /** Keeps a message; `sent` as if it had been sent. */
  add(text: string, qos: number, wasSent = false, parts: MessageParts = {}): Queued | null {
    const packetId = qos === 0 ? 0 : ++this.#lastPacketId;
    const queued = this.kept.add(deliveryOf(text, { topic: "", qos, ...parts }), packetId);
    if (queued !== null) queued.wasSent = wasSent;
    return queued;
  }

  /** The texts of what is kept, as the store has them. */
  texts(): string[] {
    const inStore = [...this.log.messages].map(([, { publication }]) =>
      publication === null ? "released" : new TextDecoder().decode(publication.payload)
    );
    const inMemory = [...this.kept.values()].map(({ seq }) => seq);
    assert.deepEqual([...this.log.messages.keys()], inMemory, "memory and store hold the same");
    return inStore;
  }
}

/** Four are kept; which stay when more come: `a1` is a message a of QoS 1, `a1!` has been sent. */
const rows: readonly [come: string, stay: string, dropped: number][] = [
  ["a1 b1 c1 d1", "a1 b1 c1 d1", 0],
  ["a1 b1 c1 d1 e1", "b1 c1 d1 e1", 1],
  ["a0 b0 c0 d0 e0 f0", "c0 d0 e0 f0", 2],
  ["a1 b0 c2 d0 e1", "a1 c2 d0 e1", 1],
  ["a1 b0 c2 d0 e1 f2", "a1 c2 e1 f2", 2],
  ["a1 b0 c2 d0 e1 f2 g1", "c2 e1 f2 g1", 3],
  ["a1 b1 c1 d0 e0", "a1 b1 c1 e0", 1],
  ["a1! b2! c1 d1 e1", "a1! b2! d1 e1", 1],
  ["a1! b2! c1 d0 e1 f1", "a1! b2! e1 f1", 2],
  ["a1! b1! c2! d2! e1", "a1! b1! c2! d2!", 0],
  ["a1! b1! c2! d0 e1", "a1! b1! c2! e1", 1],
  ["a1! b1! c2! d2! e0", "a1! b1! c2! d2!", 0],
];

for (const [come, stay, dropped] of rows) {
  Deno.test(`Of ${come} the oldest make place that were not sent, QoS 0 first: ${stay}`, () => {
    const kept = new Kept();
    let outcome: Queued | null = null;
    for (const word of come.split(" ")) outcome = kept.add(word, Number(word[1]), word.endsWith("!"));
    assert.deepEqual(kept.texts(), stay.split(" "));
    assert.equal(kept.counts.dropped, dropped);
    assert.equal(outcome === null, !stay.includes(come.split(" ").at(-1)!));
    assert.equal(kept.kept.size, 4);
  });
}

Deno.test("A message that makes place lets its body go, wherever it still stands", () => {
  const kept = new Kept({}, false);
  const [first] = ["x", "y"].map((letter) => kept.add(letter.repeat(600), 1));
  assert.equal(first?.shared, null);
  assert.equal(kept.counts.dropped, 1);
});

Deno.test("Their number is limited while the client is away, their bytes always", () => {
  const kept = new Kept({ maxQueuedMessages: 2 }, false);
  for (let i = 0; i < 10; i++) kept.add("m", 1);
  assert.deepEqual([kept.kept.size, kept.counts.dropped], [10, 0]);
  // What is over the limit then goes with the next that comes.
  kept.kept.isAway = true;
  kept.add("last", 1);
  assert.deepEqual(kept.texts(), ["m", "last"]);
  assert.equal(kept.counts.dropped, 9);

  for (const isAway of [true, false]) {
    const large = new Kept({ maxQueuedMessages: 100 }, isAway);
    for (let i = 0; i < 4; i++) large.add("x".repeat(250), 1);
    assert.deepEqual([large.kept.size, large.counts.dropped], [4, 0], "up to the byte");
    large.add("y", 1);
    assert.deepEqual([large.kept.size, large.counts.dropped], [4, 1]);
    large.add("z".repeat(1_000), 1);
    assert.deepEqual(large.texts(), ["z".repeat(1_000)]);
  }
});

Deno.test("Bytes are those of topic, payload and properties", () => {
  const parts = { topic: "t".repeat(10), properties: OWN_PROPERTIES };
  const bytes = 10 + 30 + OWN_PROPERTIES.length;
  const kept = new Kept({ maxQueuedBytes: 2 * bytes });
  assert.equal(kept.add("x".repeat(30), 1, false, parts)?.bytes, bytes);
  kept.add("x".repeat(30), 1, false, parts);
  assert.equal(kept.counts.dropped, 0);
  kept.add("", 1, false, { topic: "t" });
  assert.equal(kept.counts.dropped, 1);
});

Deno.test("A message larger than all may be is kept when nothing else is", () => {
  const kept = new Kept({ maxQueuedBytes: 10 });
  assert.notEqual(kept.add("x".repeat(100), 1), null);
  kept.add("y".repeat(200), 1);
  assert.deepEqual(kept.texts(), ["y".repeat(200)]);
});

Deno.test("When those of QoS 0 have gone, the oldest of the others make place again", () => {
  const kept = new Kept();
  const zero = kept.add("zero", 0)!;
  for (const text of ["a", "b", "c"]) kept.add(text, 1);
  kept.kept.forget(zero);
  for (const text of ["d", "e"]) kept.add(text, 1);
  assert.deepEqual(kept.texts(), ["b", "c", "d", "e"]);
});

Deno.test("While the client is connected there are never more than there are identifiers for", () => {
  const kept = new Kept({ maxQueuedBytes: Infinity }, false);
  const most = 60_000;
  for (let i = 0; i < most + 3; i++) kept.add("", 1);
  assert.deepEqual([kept.kept.size, kept.counts.dropped], [most, 3]);
});

Deno.test("What ends and what is released gives its bytes back", () => {
  const kept = new Kept({ maxQueuedBytes: 100, maxQueuedMessages: 100 });
  const [first, second] = ["x", "y"].map((letter) => kept.add(letter.repeat(50), 2, true)!);
  assert.equal(kept.add("z", 2), null, "there is no place beside what was sent");
  kept.kept.release(first!);
  assert.notEqual(kept.add("z".repeat(50), 2, true), null);
  assert.equal(kept.add("z", 2), null);
  // A release and an end count once.
  kept.kept.forget(first!);
  assert.equal(kept.add("z", 2), null);
  kept.kept.forget(second!);
  kept.kept.forget(second!);
  assert.notEqual(kept.add("w".repeat(50), 2, true), null);
  assert.equal(kept.add("z", 2), null);
  assert.deepEqual(kept.texts(), ["z".repeat(50), "w".repeat(50)]);
});

Deno.test("The store is told of each message what replaces what", () => {
  const kept = new Kept();
  const first = kept.add("a", 2, false, { retain: true, subscriptionIds: [3], expiresAtMs: 5_000 })!;
  assert.deepEqual(kept.log.messages.get(1), {
    ...{ qos: 2, packetId: 1, isReleased: false, retain: true, subscriptionIds: [3] },
    publication: first.shared!.publication,
  });
  assert.equal(first.storedBytes, 1_001);
  kept.kept.release(first);
  assert.deepEqual(kept.log.messages.get(1), {
    ...{ qos: 2, packetId: 1, isReleased: true, retain: true, subscriptionIds: [], publication: null },
  });
  assert.deepEqual([first.storedBytes, first.shared], [0, null]);
  const second = kept.add("b", 0)!;
  kept.kept.forget(first);
  kept.kept.forget(second);
  assert.deepEqual(kept.log.told(), [
    "1 a qos 2 id 1 retain",
    "1 released qos 2 id 1 retain",
    "2 b qos 0",
    "1 gone",
    "2 gone",
  ]);
  assert.deepEqual([...kept.kept.values()], []);
});

Deno.test("Messages are found by their identifier, at QoS 0 by none", () => {
  const kept = new Kept();
  const first = kept.add("a", 1);
  const zero = kept.add("b", 0)!;
  assert.equal(kept.kept.get(1), first);
  assert.equal(kept.kept.get(0), undefined);
  assert.equal(kept.kept.get(2), undefined);
  assert.equal(kept.kept.holds(zero), true);
  kept.kept.forget(zero);
  assert.equal(kept.kept.holds(zero), false);
  // The identifier has come to be another's.
  kept.kept.forget(first!);
  const later = kept.kept.add(deliveryOf("c"), 1)!;
  assert.deepEqual([kept.kept.holds(first!), kept.kept.holds(later)], [false, true]);
  kept.kept.forget(first!);
  assert.equal(kept.kept.holds(later), true, "what is gone cannot take another with it");
});

Deno.test("Bodies are let go and come back, and a released message needs none", () => {
  const kept = new Kept();
  const [one, two] = [kept.add("a", 2)!, kept.add("b", 2)!];
  const zero = kept.add("c", 0)!;
  const body = one.shared!;
  assert.equal(kept.kept.lacksBodies, false);
  kept.kept.release(two);
  kept.kept.dropBodies();
  assert.deepEqual([one, two, zero].map(({ shared }) => shared), [null, null, null]);
  kept.kept.setBody(1, 2, 1, body);
  assert.equal(kept.kept.lacksBodies, true);
  kept.kept.setBody(2, 2, 2, body);
  kept.kept.setBody(3, 0, 0, body);
  assert.equal(kept.kept.lacksBodies, false);
  assert.equal(two.shared, null, "its body is not wanted any more");
  assert.equal(zero.shared, body);
});

function stored(seq: number, qos: number, parts: Partial<RestoredMessage> = {}): RestoredMessage {
  return {
    ...{ seq, qos, packetId: qos === 0 ? 0 : seq, isReleased: false, retain: false, subscriptionIds: [] },
    ...{ expiresAtMs: null, payloadBytes: 100, ...parts },
  };
}

Deno.test("What the store kept counts as before: number, bytes, QoS 0 and the place in order", () => {
  const kept = new Kept({ maxQueuedMessages: 5 });
  const messages = [
    stored(3, 2, { isReleased: true, payloadBytes: 0 }),
    stored(5, 1, { expiresAtMs: 9, subscriptionIds: [2], retain: true }),
    stored(6, 1),
    stored(7, 0),
    stored(9, 1),
  ];
  for (const { seq, payloadBytes, isReleased, ...message } of messages) {
    const publication = isReleased ? null : deliveryOf("old").shared.publication;
    kept.log.adopt(seq, { ...message, isReleased, publication }, payloadBytes);
  }
  kept.kept.restore(messages, 2);
  assert.deepEqual(
    [...kept.kept.values()].map(({ seq, wasSent }) => [seq, wasSent]),
    [[3, true], [5, true], [6, false], [7, false], [9, false]],
  );
  const second = kept.kept.get(5)!;
  assert.deepEqual(
    [
      second.bytes,
      second.storedBytes,
      second.expiresAtMs,
      second.subscriptionIds,
      second.retain,
      second.shared,
    ],
    [100, 100, 9, [2], true, null],
  );
  for (const text of ["a", "b"]) kept.add(text, 0);
  assert.deepEqual(kept.log.told(), ["7 gone", "10 a qos 0", "10 gone", "11 b qos 0"]);
  kept.add("x".repeat(601), 0);
  assert.deepEqual([...kept.log.messages.keys()], [3, 5, 6, 9, 12]);
  kept.add("y".repeat(601), 0);
  kept.add("z".repeat(800), 0);
  assert.deepEqual(
    [...kept.log.messages.keys()],
    [3, 5, 9, 14],
    "QoS 0 first, then the oldest that was not sent",
  );
});

Deno.test("Nothing is restored from nothing", () => {
  const kept = new Kept();
  kept.kept.restore([], 5);
  assert.deepEqual([kept.kept.size, [...kept.kept.values()], kept.kept.lacksBodies], [0, [], false]);
  assert.equal(kept.add("m", 1)?.seq, 1);
});
