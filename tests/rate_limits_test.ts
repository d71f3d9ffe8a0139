import assert from "node:assert/strict";
import { MOBILE_SEARCHES, RateLimits, TRANSPARENT_SENDS } from "../broker/rate_limits.ts";
import { rateName } from "../broker/request_rate.ts";

const NONE_SET = new Map<string, { burst: number; perSecond: number }>();
const START_MS = 1_000_000;

/** How many requests pass at one moment. */
function burst(
  limits: RateLimits,
  command: string,
  nowMs = START_MS,
  userId = "alice",
  clientId = "c",
): number {
  let passed = 0;
  while (passed < 100_000 && limits.take(userId, clientId, command, nowMs) === 0) passed++;
  return passed;
}

Deno.test("Each command has its own burst: the protocol's numbers", () => {
  const limits = new RateLimits(NONE_SET);
  const bursts = [
    "message.send",
    TRANSPARENT_SENDS,
    MOBILE_SEARCHES,
    "sync",
    "message.pull",
    "message.history",
    "user.get",
    "any",
  ]
    .map((command) => burst(limits, command));
  assert.deepEqual(bursts, [2_000, 50, 20, 200, 200, 200, 100, 100]);
});

Deno.test("Tokens come back at the rate of the command, up to the burst", () => {
  const limits = new RateLimits(NONE_SET);
  burst(limits, "message.send");
  assert.equal(burst(limits, "message.send", START_MS + 1_000), 500);
  assert.equal(burst(limits, "message.send", START_MS + 1_002), 1);
  assert.equal(burst(limits, "message.send", START_MS + 3_600_000), 2_000);
});

Deno.test("A refused request is told when there is a token", () => {
  const limits = new RateLimits(NONE_SET);
  burst(limits, "user.get");
  const retryAfterMs = limits.take("alice", "c", "user.get", START_MS);
  assert.equal(retryAfterMs, 50);
  assert.ok(limits.take("alice", "c", "user.get", START_MS + retryAfterMs - 1) > 0);
  assert.equal(limits.take("alice", "c", "user.get", START_MS + retryAfterMs), 0);
});

Deno.test("Users, clients and commands do not take each other's tokens", () => {
  const limits = new RateLimits(NONE_SET);
  burst(limits, "sync");
  assert.equal(burst(limits, "message.pull"), 200);
  assert.equal(burst(limits, "sync", START_MS, "alice", "d"), 200);
  assert.equal(burst(limits, "sync", START_MS, "bob", "c"), 200);
  assert.equal(burst(limits, "sync"), 0);
});

Deno.test("Limits that are set replace the built-in ones, and off means none", () => {
  const limits = new RateLimits(new Map([["message.send", { burst: 3, perSecond: 1 }]]));
  assert.equal(burst(limits, "message.send"), 3);
  assert.equal(burst(limits, "sync"), 200);
  assert.equal(burst(new RateLimits("off"), "message.send"), 100_000);
});

Deno.test("A clock that is set back gives no tokens and takes none", () => {
  const limits = new RateLimits(NONE_SET);
  burst(limits, "user.get");
  assert.ok(limits.take("alice", "c", "user.get", START_MS - 60_000) > 0);
  assert.equal(burst(limits, "user.get", START_MS - 59_000), 20);
});

Deno.test("Clients that have been silent are forgotten", () => {
  const limits = new RateLimits(NONE_SET);
  for (let i = 0; i < 1_000; i++) limits.take(`user-${i}`, "c", "sync", START_MS);
  assert.equal(limits.size, 1_000);
  limits.take("alice", "c", "sync", START_MS + 10 * 60_000 + 1);
  assert.equal(limits.size, 1);
});

Deno.test("A request is counted under its command, transparent sends and unknown commands apart", () => {
  const send = (content: unknown) => rateName("message.send", { content });
  assert.equal(rateName("sync", {}), "sync");
  assert.equal(rateName("sync", null), "sync");
  assert.equal(send({ type: 1 }), "message.send");
  assert.equal(send({ type: 91 }), TRANSPARENT_SENDS, "typing is transparent by its type");
  assert.equal(send({ type: 1, persistFlag: 4 }), TRANSPARENT_SENDS);
  assert.equal(send({ type: 91, persistFlag: 1 }), "message.send");
  for (const content of [undefined, null, 7, {}, { type: "1" }, { type: 1, persistFlag: "4" }]) {
    assert.equal(send(content), "message.send");
  }
  for (const keyword of ["13800000000", " +8613800000000 ", "12345"]) {
    assert.equal(rateName("user.search", { keyword, type: 0 }), MOBILE_SEARCHES);
  }
  for (const keyword of ["ann", "1234", "138-ann", 13800000000, undefined]) {
    assert.equal(rateName("user.search", { keyword }), "user.search");
  }
  // Names of a client's own making share one count, or they would fill memory.
  const made = new Set(
    ["x", "message.send2", "toString", "", "__proto__"].map((command) => rateName(command, {})),
  );
  assert.equal(made.size, 1);
});
