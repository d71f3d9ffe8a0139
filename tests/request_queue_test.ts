/** The order of one connection's requests, with commands that the test settles by hand. */
import assert from "node:assert/strict";
import { inboxEvent, type OutgoingEvent } from "../broker/outgoing.ts";
import { REASONS } from "../broker/protocol_error.ts";
import { refusalReply, type Reply, successReply } from "../broker/reply.ts";
import { type RequestOwner, RequestQueue } from "../broker/request_queue.ts";
import type { Request } from "../broker/session.ts";
import { ImError } from "../im/mod.ts";
import type { ErrorName } from "../wire.ts";
import { reasonOf } from "./mqtt_bytes.ts";

const utf8 = new TextEncoder();

/** A connection whose commands end when the test says so. */
class Connection implements RequestOwner {
  readonly queue: RequestQueue;
  readonly order = { generation: 0 };
  hasRoom = true;
  /** Bodies of the commands that have started and are not answered. */
  readonly running = new Map<string, (reply: Reply) => void>();
  readonly started: string[] = [];
  /** What has left, in order. */
  readonly written: string[] = [];
  /** Commands that are refused before anything is queued. */
  readonly refusedAtOnce = new Map<string, ErrorName>();
  /** Commands that find their lane full. */
  readonly full = new Map<string, Promise<void>>();
  #packetId = 0;

  constructor(maxWaitingBytes = 10_000) {
    this.queue = new RequestQueue(this, maxWaitingBytes);
  }

  push(name: string, command = "message.send"): void {
    const body = utf8.encode(JSON.stringify({ requestId: name }));
    this.queue.push({
      command: command === "closed" ? null : command,
      reason: 0,
      body,
      qos: 1,
      packetId: ++this.#packetId,
      responseTopic: null,
      correlationData: null,
    });
    // The socket's buffer is used again at once.
    body.fill(0);
  }

  start(_command: string, body: Uint8Array, answer: (reply: Reply) => void): Promise<void> | null {
    const { requestId } = JSON.parse(new TextDecoder().decode(body)) as { requestId: string };
    this.started.push(requestId);
    const refusal = this.refusedAtOnce.get(requestId);
    if (refusal !== undefined) {
      answer(refused(requestId, refusal));
      return null;
    }
    this.running.set(requestId, answer);
    return this.full.get(requestId) ?? null;
  }

  finish(request: Request, reply: Reply | null): void {
    this.written.push(
      reply === null ? `closed ${request.packetId}` : `${reply.requestId} ${reply.error ?? "ok"}`,
    );
  }

  writeEvent(event: OutgoingEvent): void {
    this.written.push(`event ${event.prefix}`);
  }

  event(name: string): void {
    const event = inboxEvent(name, new Uint8Array(0), null);
    if (!this.queue.holdBehindReplies(event)) this.writeEvent(event);
  }

  settle(name: string, error?: ErrorName): void {
    const answer = this.running.get(name);
    assert.ok(answer !== undefined, `${name} is running`);
    this.running.delete(name);
    answer(error === undefined ? successReply(name, "message.send", "{}") : refused(name, error));
  }
}

function refused(requestId: string, error: ErrorName): Reply {
  return refusalReply(requestId, "message.send", new ImError(error, "No."));
}

Deno.test("Neighbouring sends start without waiting for each other", () => {
  const alice = new Connection();
  for (const name of ["a", "b", "c"]) alice.push(name);
  assert.deepEqual(alice.started, ["a", "b", "c"]);
});

Deno.test("Acknowledgements and replies leave in the order of the requests [MQTT-4.6.0-2]", () => {
  const alice = new Connection();
  for (const name of ["a", "b", "c"]) alice.push(name);
  alice.settle("c");
  alice.settle("b");
  assert.deepEqual(alice.written, []);
  alice.settle("a");
  assert.deepEqual(alice.written, ["a ok", "b ok", "c ok"]);
  assert.equal(alice.queue.size, 0);
});

Deno.test("Another command starts when the earlier requests have finished, and a send behind it after it", () => {
  const alice = new Connection();
  alice.push("a");
  alice.push("sync", "sync");
  alice.push("pull", "message.pull");
  alice.push("b");
  alice.push("c");
  assert.deepEqual(alice.started, ["a"]);
  alice.settle("a");
  assert.deepEqual(alice.started, ["a", "sync"]);
  alice.settle("sync");
  assert.deepEqual(alice.started, ["a", "sync", "pull"]);
  alice.settle("pull");
  assert.deepEqual(alice.started, ["a", "sync", "pull", "b", "c"]);
});

Deno.test("A PUBLISH to a closed topic is acknowledged in its turn [MQTT-4.6.0-2]", () => {
  const alice = new Connection();
  alice.push("a");
  alice.push("", "closed");
  alice.push("b");
  assert.deepEqual(alice.written, []);
  alice.settle("a");
  assert.deepEqual(alice.written, ["a ok", "closed 2"]);
  alice.settle("b");
  assert.deepEqual(alice.written, ["a ok", "closed 2", "b ok"]);
});

Deno.test("A send whose lane is full holds the next one back until it has entered", async () => {
  const alice = new Connection();
  const entered = Promise.withResolvers<void>();
  alice.full.set("a", entered.promise);
  alice.push("a");
  alice.push("b");
  assert.deepEqual(alice.started, ["a"]);
  entered.resolve();
  await entered.promise;
  await Promise.resolve();
  assert.deepEqual(alice.started, ["a", "b"]);
});

for (const error of ["server/error", "server/timeout", "server/clock", "request/too-often"] as const) {
  Deno.test(`Sends queued behind one that failed with ${error} fail too, and those that come later do not`, () => {
    const alice = new Connection();
    alice.hasRoom = true;
    alice.push("a");
    alice.push("sync", "sync");
    alice.push("b");
    alice.push("c");
    alice.settle("a", error);
    alice.settle("sync");
    assert.deepEqual(alice.started, ["a", "sync"], "b and c are not even tried");
    assert.deepEqual(alice.written, [
      `a ${error}`,
      "sync ok",
      "b server/earlier-failed",
      "c server/earlier-failed",
    ]);
    alice.push("a");
    alice.settle("a");
    assert.equal(alice.written.at(-1), "a ok", "the retry in order goes through");
  });
}

Deno.test("A send refused for good does not make later ones fail", () => {
  const alice = new Connection();
  alice.push("a");
  alice.push("sync", "sync");
  alice.push("b");
  alice.settle("a", "user/not-found");
  alice.settle("sync");
  alice.settle("b");
  assert.deepEqual(alice.written, ["a user/not-found", "sync ok", "b ok"]);
});

Deno.test("A failure moves the generation under which sends are in the commit queue once, not per send", () => {
  const alice = new Connection();
  for (const name of ["a", "b", "c"]) alice.push(name);
  alice.settle("a", "server/error");
  assert.equal(alice.order.generation, 1);
  alice.settle("b", "server/earlier-failed");
  alice.settle("c", "server/earlier-failed");
  assert.equal(alice.order.generation, 1);
});

Deno.test("A send over its rate does not withdraw the earlier ones that are on their way", () => {
  const alice = new Connection();
  alice.refusedAtOnce.set("c", "request/too-often");
  for (const name of ["a", "b", "c", "d"]) alice.push(name);
  assert.deepEqual(alice.started, ["a", "b", "c"], "nothing starts before the failure has been told");
  assert.equal(alice.order.generation, 0);
  alice.settle("a");
  alice.settle("b");
  assert.deepEqual(alice.written, ["a ok", "b ok", "c request/too-often", "d server/earlier-failed"]);
  alice.push("c2");
  assert.equal(alice.started.at(-1), "c2");
});

Deno.test("A send refused before it has entered does not withdraw the earlier ones that are on their way", async () => {
  const alice = new Connection();
  const entered = Promise.withResolvers<void>();
  alice.full.set("c", entered.promise);
  for (const name of ["a", "b", "c", "d"]) alice.push(name);
  alice.settle("c", "request/too-often");
  entered.resolve();
  await entered.promise;
  await Promise.resolve();
  assert.deepEqual(alice.started, ["a", "b", "c"], "nothing starts before the failure has been told");
  assert.equal(alice.order.generation, 0);
  alice.settle("a");
  alice.settle("b");
  assert.deepEqual(alice.written, ["a ok", "b ok", "c request/too-often", "d server/earlier-failed"]);
  alice.push("c2");
  assert.equal(alice.started.at(-1), "c2");
});

Deno.test("Nothing starts while a reply waits for room, and everything goes on after it", () => {
  const alice = new Connection();
  alice.hasRoom = false;
  alice.push("a");
  alice.push("b");
  assert.deepEqual(alice.started, []);
  alice.hasRoom = true;
  alice.queue.pump();
  assert.deepEqual(alice.started, ["a", "b"]);
});

Deno.test("An event leaves behind the replies that are older than it and still wait for their turn", () => {
  const alice = new Connection();
  for (const name of ["a", "b", "c", "d"]) alice.push(name);
  alice.event("0");
  // Stored in another order than sent: c before b.
  alice.settle("c");
  alice.settle("b");
  alice.event("1");
  alice.event("2");
  alice.settle("a");
  alice.event("3");
  assert.deepEqual(alice.written, ["event 0", "a ok", "b ok", "c ok", "event 1", "event 2", "event 3"]);
});

Deno.test("Requests that cannot start yet hold a bounded number of bytes", () => {
  const alice = new Connection(100);
  alice.push("sync", "sync");
  // Each body is {"requestId":"pull"}: 20 bytes; the one that runs does not count.
  for (let i = 0; i < 5; i++) alice.push("pull", "message.pull");
  assert.equal(reasonOf(() => alice.push("pull", "message.pull")), REASONS.quotaExceeded);
});

Deno.test("Bytes of requests that have started are free again", () => {
  const alice = new Connection(100);
  for (let round = 0; round < 20; round++) {
    alice.push("sync", "sync");
    alice.push("pull", "message.pull");
    alice.push("a");
    for (const name of ["sync", "pull", "a"]) alice.settle(name);
  }
  assert.equal(alice.written.length, 60);
});

Deno.test("Forgotten requests are neither carried out nor answered", () => {
  const alice = new Connection();
  alice.push("a");
  alice.push("sync", "sync");
  alice.push("b");
  alice.queue.clear();
  alice.settle("a");
  assert.deepEqual(alice.started, ["a"]);
  assert.deepEqual(alice.written, ["a ok"]);
  assert.equal(alice.queue.size, 0);
});

Deno.test("A body that cannot be read is refused without an id when an earlier send failed", () => {
  const alice = new Connection();
  alice.push("a");
  alice.push("sync", "sync");
  const junk = {
    command: "message.send",
    reason: 0,
    qos: 1,
    packetId: 9,
    responseTopic: null,
    correlationData: null,
  };
  for (const body of ["null", "{", '{"requestId":7}', '{"requestId":"\\u0007"}', '{"requestId":""}']) {
    alice.queue.push({ ...junk, body: utf8.encode(body) });
  }
  alice.settle("a", "server/error");
  alice.settle("sync");
  assert.deepEqual(alice.written.slice(2), Array(5).fill("null server/earlier-failed"));
});
