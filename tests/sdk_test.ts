import assert from "node:assert/strict";
import { backOffMs, HearthClient, RequestError, startAfterSync, Timeline } from "../sdk/mod.ts";
import type { ClientState, Entry, Link, LinkObserver, LinkState, Refusal } from "../sdk/mod.ts";

const bob = { type: 0, target: "bob", line: 0 };

function entry(seq: number): Entry {
  return {
    timeline: "me",
    seq: String(seq),
    kind: "new",
    message: {
      messageId: String(1000 + seq),
      clientMessageId: `c${seq}`,
      conversation: bob,
      from: "bob",
      content: { type: 1, searchableContent: `text ${seq}` },
      to: [],
      timestamp: seq,
      editedAt: 0,
    },
  };
}

Deno.test("Timeline applies the next entry, pulls at a gap and ignores what it has", () => {
  const timeline = new Timeline("41");
  assert.equal(timeline.offer("42"), "apply");
  assert.equal(timeline.offer("42"), "ignore");
  assert.equal(timeline.offer("7"), "ignore");
  assert.equal(timeline.offer("44"), "pull");
  assert.equal(timeline.isBehind, true);
  assert.equal(timeline.cursor, "42");
});

Deno.test("Timeline counts beyond what a number can hold", () => {
  const timeline = new Timeline("9007199254740993");
  assert.equal(timeline.offer("9007199254740995"), "pull");
  assert.equal(timeline.offer("9007199254740994"), "apply");
});

Deno.test("Timeline takes a page once, also when events applied part of it meanwhile", () => {
  const timeline = new Timeline("1");
  assert.equal(timeline.offer("4"), "pull");
  assert.equal(timeline.offer("2"), "apply");
  const page = { entries: [2, 3, 4].map(entry), cursor: "4", head: "6", floor: "0" };
  assert.deepEqual(timeline.take(page).map(({ seq }) => seq), ["3", "4"]);
  assert.equal(timeline.isBehind, true, "the head is at 6");
  assert.deepEqual(timeline.take({ ...page, entries: [5, 6].map(entry), cursor: "6" }).length, 2);
  assert.equal(timeline.isBehind, false);
});

Deno.test("a position leads on only in the same epoch, between floor and head, and not too far behind", () => {
  const answer = { epoch: "e", head: "100", floor: "10" };
  const start = (epoch: string, cursor: string, most = 1000) =>
    startAfterSync({ epoch, cursor }, answer, most);
  assert.equal(startAfterSync(null, answer, 1000), "new-device");
  assert.equal(start("e", "50"), "continue");
  assert.equal(start("e", "100"), "continue");
  assert.equal(start("e", "10"), "continue");
  assert.equal(start("f", "50"), "new-device");
  assert.equal(start("e", "101"), "new-device");
  assert.equal(start("e", "9"), "new-device");
  assert.equal(start("e", "50", 49), "new-device");
  assert.equal(start("e", "50", Number.MAX_SAFE_INTEGER), "continue");
});

Deno.test("back-off doubles up to its limit and is spread over the whole step", () => {
  assert.equal(backOffMs(0, 500, 30_000, 1), 500);
  assert.equal(backOffMs(3, 500, 30_000, 1), 4000);
  assert.equal(backOffMs(60, 500, 30_000, 1), 30_000);
  assert.equal(backOffMs(3, 500, 30_000, 0.5), 2000);
  assert.equal(backOffMs(3, 500, 30_000, 0), 100);
});

/** A link whose other end is the test. */
class HandLink implements Link {
  readonly sent: { command: string; requestId: string; body: Record<string, unknown> }[] = [];
  #observer: LinkObserver | null = null;
  #waiting: { command: string; resolve: (request: Record<string, unknown>) => void }[] = [];

  open(observer: LinkObserver): void {
    this.#observer = observer;
  }
  send(command: string, requestId: string, body: string): boolean {
    const request = { command, requestId, body: JSON.parse(body) as Record<string, unknown> };
    this.sent.push(request);
    const waiting = this.#waiting.findIndex((one) => one.command === command);
    if (waiting >= 0) this.#waiting.splice(waiting, 1)[0]!.resolve(request.body);
    return true;
  }
  wake(): void {}
  close(): void {}
  state(state: LinkState): void {
    this.#observer!.state(state);
  }
  event(event: unknown): void {
    this.#observer!.event(JSON.stringify(event));
  }
  /** Waits for the next request of a command that is not answered yet, and answers it. */
  async answer(
    command: string,
    result: unknown,
    refusal: Partial<Refusal> | null = null,
  ): Promise<Record<string, unknown>> {
    const at = this.sent.findIndex((request) => request.command === command);
    const body = at >= 0
      ? this.sent[at]!.body
      : await new Promise<Record<string, unknown>>((resolve) => this.#waiting.push({ command, resolve }));
    this.sent.splice(this.sent.findIndex((request) => request.body.requestId === body.requestId), 1);
    const reply = refusal === null ? { code: 0, result } : { message: "no", ...refusal };
    this.#observer!.reply(JSON.stringify({ requestId: body.requestId, command, ...reply }));
    return body;
  }
}

/** Everything that waits for nothing but its turn has had it. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

const synced = { serverTime: 1, epoch: "e", head: "10", floor: "0", timelines: [] };
const nothingNew = { entries: [], cursor: "10", head: "10", floor: "0", epoch: "e" };

async function onlineClient(
  link: HandLink,
): Promise<{ client: HearthClient; seqs: string[]; states: string[] }> {
  const client = new HearthClient(link, { userId: "alice" });
  const seqs: string[] = [];
  const states: string[] = [];
  client.on("entry", ({ seq }) => seqs.push(seq));
  client.on("state", (state: ClientState) => states.push(state.name));
  client.open();
  link.state({ name: "connecting" });
  link.state({ name: "up", connection: "1" });
  await link.answer("sync", synced);
  await link.answer("conversation.list", { conversations: [] });
  await link.answer("message.pull", nothingNew);
  await client.online();
  return { client, seqs, states };
}

Deno.test("a new device syncs, lists its conversations, then pulls from the head it was given", async () => {
  const link = new HandLink();
  const client = new HearthClient(link, { userId: "alice" });
  const order: string[] = [];
  client.on("conversations", ({ first, last }) => order.push(`list ${first} ${last}`));
  client.on("entry", ({ seq }) => order.push(`entry ${seq}`));
  client.on("state", ({ name }) => order.push(name));
  client.open();
  link.state({ name: "up", connection: "1" });
  assert.deepEqual(Object.keys(await link.answer("sync", synced)), ["requestId"]);
  link.event({ type: "message", ...entry(11) }); // arrives while listing: the pull brings it
  await link.answer("conversation.list", { conversations: [], nextPageToken: "p2" });
  assert.equal((await link.answer("conversation.list", { conversations: [] })).pageToken, "p2");
  const page = { ...nothingNew, entries: [entry(11), entry(12)], cursor: "12", head: "12" };
  assert.equal((await link.answer("message.pull", page)).cursor, "10");
  await client.online();
  assert.deepEqual(order, [
    "syncing",
    "list true false",
    "list false true",
    "entry 11",
    "entry 12",
    "online",
  ]);
  assert.deepEqual(client.position, { epoch: "e", cursor: "12" });
  client.close();
});

Deno.test("a gap is pulled, and every entry is told once and in order", async () => {
  const link = new HandLink();
  const { client, seqs } = await onlineClient(link);
  link.event({ type: "message", ...entry(11) });
  link.event({ type: "message", ...entry(13) });
  link.event({ type: "message", ...entry(14) });
  const page = { ...nothingNew, entries: [12, 13, 14].map(entry), cursor: "14", head: "14" };
  assert.equal((await link.answer("message.pull", page)).cursor, "11");
  await turn();
  link.event({ type: "message", ...entry(14) });
  link.event({ type: "message", ...entry(15) });
  assert.deepEqual(seqs, ["11", "12", "13", "14", "15"]);
  client.close();
});

Deno.test("an event without its body is pulled", async () => {
  const link = new HandLink();
  const { client, seqs } = await onlineClient(link);
  link.event({ type: "message", timeline: "me", seq: "11", kind: "new" });
  await link.answer("message.pull", { ...nothingNew, entries: [entry(11)], cursor: "11", head: "11" });
  await turn();
  assert.deepEqual(seqs, ["11"]);
  client.close();
});

Deno.test("a pull that is refused is made up for: the client syncs again and misses nothing", async () => {
  const link = new HandLink();
  const { client, seqs, states } = await onlineClient(link);
  link.event({ type: "message", ...entry(12) });
  await link.answer("message.pull", null, { code: 4, error: "server/error", retryAfterMs: 1 });
  await link.answer("sync", { ...synced, head: "12" });
  const page = { ...nothingNew, entries: [entry(11), entry(12)], cursor: "12", head: "12" };
  assert.equal((await link.answer("message.pull", page)).cursor, "10");
  await client.online();
  assert.deepEqual(seqs, ["11", "12"]);
  assert.deepEqual(states.slice(-3), ["online", "syncing", "online"]);
  client.close();
});

Deno.test("a page of the list that is asked for too soon is asked for again, not the list from its beginning", async () => {
  const link = new HandLink();
  const client = new HearthClient(link, { userId: "alice" });
  client.open();
  link.state({ name: "up", connection: "1" });
  await link.answer("sync", synced);
  await link.answer("conversation.list", { conversations: [], nextPageToken: "p2" });
  await link.answer("conversation.list", null, { code: 250, error: "request/too-often", retryAfterMs: 1 });
  assert.equal((await link.answer("conversation.list", { conversations: [] })).pageToken, "p2");
  await link.answer("message.pull", nothingNew);
  await client.online();
  client.close();
});

Deno.test("a client that is closed while it waits to ask again leaves nothing behind", async () => {
  const link = new HandLink();
  const client = new HearthClient(link, { userId: "alice" });
  client.open();
  link.state({ name: "up", connection: "1" });
  await link.answer("sync", null, { code: 250, error: "request/too-often", retryAfterMs: 60_000 });
  client.close();
  assert.equal(client.state.name, "ended");
});

Deno.test("a sync that is refused is tried again on the same connection", async () => {
  const link = new HandLink();
  const client = new HearthClient(link, { userId: "alice", listConversations: false });
  client.open();
  link.state({ name: "up", connection: "1" });
  await link.answer("sync", null, { code: 4, error: "server/error", retryAfterMs: 1 });
  await link.answer("sync", synced);
  await link.answer("message.pull", nothingNew);
  await client.online();
  client.close();
});

Deno.test("an observer that throws stops neither the others nor the timeline", async () => {
  const link = new HandLink();
  const { client, seqs } = await onlineClient(link);
  const thrown = Promise.withResolvers<unknown>();
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    thrown.resolve(event.error);
  };
  addEventListener("error", onError);
  const off = client.on("entry", () => {
    throw new Error("a bug of the page");
  });
  const after: string[] = [];
  client.on("entry", ({ seq }) => after.push(seq));
  link.event({ type: "message", ...entry(11) });
  assert.match(String(await thrown.promise), /a bug of the page/);
  removeEventListener("error", onError);
  off();
  link.event({ type: "message", ...entry(12) });
  assert.deepEqual(seqs, ["11", "12"]);
  assert.deepEqual(after, ["11", "12"]);
  client.close();
});

Deno.test("an own send is an entry by its reply, before the promise resolves", async () => {
  const link = new HandLink();
  const { client, seqs } = await onlineClient(link);
  const sent = client.send(bob, "hello");
  const result = { messageId: "5", timestamp: 9, timeline: "me", seq: "11" };
  const request = await link.answer("message.send", result);
  link.event({ type: "message", ...entry(12) });
  assert.deepEqual(seqs, ["11", "12"]);
  assert.equal((await sent).messageId, "5");
  assert.match(String(request.clientMessageId), /^[0-9a-f]{32}$/);
  client.close();
});

Deno.test("what was not answered is sent again after a reconnect with the same ids, once synced", async () => {
  const link = new HandLink();
  const { client, states } = await onlineClient(link);
  const sent = client.send(bob, "hello");
  const first = link.sent.shift()!;
  link.state({ name: "waiting", retryAtMs: 1 });
  const queued = client.send(bob, "second");
  assert.equal(link.sent.length, 0, "nothing is written while the link is down");
  link.state({ name: "connecting" });
  link.state({ name: "up", connection: "2" });
  assert.deepEqual(
    await link.answer("sync", { ...synced, head: "10" }).then(({ cursor, epoch }) => ({ cursor, epoch })),
    {
      cursor: "10",
      epoch: "e",
    },
  );
  await client.online();
  assert.deepEqual(link.sent[0], first);
  await link.answer("message.send", {
    messageId: "5",
    timestamp: 9,
    timeline: "me",
    seq: "11",
    repeated: true,
  });
  await link.answer("message.send", { messageId: "6", timestamp: 9, timeline: "me", seq: "12" });
  assert.equal((await sent).messageId, "5");
  assert.equal((await queued).messageId, "6");
  assert.deepEqual(states.slice(-4), ["waiting", "connecting", "syncing", "online"]);
  client.close();
});

Deno.test("another epoch makes a new device of the client", async () => {
  const link = new HandLink();
  const { client } = await onlineClient(link);
  link.state({ name: "up", connection: "2" });
  await link.answer("sync", { ...synced, epoch: "f", head: "3" });
  await link.answer("conversation.list", { conversations: [] });
  await link.answer("message.pull", { ...nothingNew, epoch: "f", cursor: "3", head: "3" });
  await client.online();
  assert.deepEqual(client.position, { epoch: "f", cursor: "3" });
  client.close();
});

Deno.test("a refusal rejects with the code and name of the protocol's table", async () => {
  const link = new HandLink();
  const { client } = await onlineClient(link);
  const refused = client.request("user.search", { keyword: "" });
  await Promise.all([
    assert.rejects(refused, (error) => error instanceof RequestError && error.code === 251),
    link.answer("user.search", null, { code: 251, error: "request/invalid" }),
  ]);
  client.close();
});

Deno.test("an ended link ends the client and rejects what waits", async () => {
  const link = new HandLink();
  const { client } = await onlineClient(link);
  const waiting = client.send(bob, "never");
  link.state({ name: "ended", reason: "kicked", message: "" });
  await assert.rejects(waiting, RequestError);
  await assert.rejects(client.send(bob, "never"), RequestError);
  assert.equal(client.state.name, "ended");
});
