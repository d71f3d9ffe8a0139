import assert from "node:assert/strict";
import { openKv } from "../store/mod.ts";
import type { Kv } from "../store/mod.ts";
import { quietLog } from "./database.ts";

async function withKv(
  run: (kv: Kv, clock: { aheadMs: number }, path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-kv-" });
  const clock = { aheadMs: 0 };
  const path = `${folder}/kv.sqlite3`;
  const kv = await openKv({
    kvPath: path,
    kvUrl: null,
    log: quietLog(),
    nowMs: () => Date.now() + clock.aheadMs,
  });
  try {
    await run(kv, clock, path);
  } finally {
    kv.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("A counter lets exactly its limit through, however many ask at once, and begins anew after its window", () =>
  withKv(async (kv, clock) => {
    const rule = { kind: "test", subject: "somebody", limit: 7, windowMs: 60_000 };
    const waits = await Promise.all(Array.from({ length: 40 }, () => kv.countWithin([rule])));
    assert.equal(waits.filter((waitMs) => waitMs === 0).length, 7);
    assert.ok(waits.every((waitMs) => waitMs >= 0 && waitMs <= 60_000));
    assert.equal(await kv.countWithin([{ ...rule, subject: "somebody else" }]), 0);
    clock.aheadMs = 60_001;
    assert.equal(await kv.countWithin([rule]), 0);
  }));

Deno.test("An event that one rule refuses is counted under none", () =>
  withKv(async (kv) => {
    const narrow = { kind: "narrow", subject: "x", limit: 1, windowMs: 60_000 };
    const wide = { kind: "wide", subject: "x", limit: 2, windowMs: 1_000_000 };
    assert.equal(await kv.countWithin([narrow, wide]), 0);
    for (let i = 0; i < 5; i++) assert.ok(await kv.countWithin([narrow, wide]) > 0);
    assert.equal(await kv.countWithin([wide]), 0);
    const waitMs = await kv.countWithin([narrow, wide]);
    assert.ok(waitMs > 60_000, "the longest wait is told");
  }));

Deno.test("A value is used once while it is remembered", () =>
  withKv(async (kv, clock) => {
    const uses = await Promise.all(Array.from({ length: 20 }, () => kv.useOnce("signature", "abc", 1_000)));
    assert.equal(uses.filter((isFirst) => isFirst).length, 1);
    assert.equal(await kv.useOnce("another kind", "abc", 1_000), true);
    clock.aheadMs = 1_001;
    assert.equal(await kv.useOnce("signature", "abc", 1_000), true);
  }));

Deno.test("Login codes keep to their purpose and survive a restart", async () => {
  await withKv(async (kv, _clock, path) => {
    await kv.putLoginCode("login", "13800000000", "123456", 60_000);
    assert.equal(await kv.takeLoginCode("reset", "13800000000", "123456"), "expired");
    const again = await openKv({ kvPath: path, kvUrl: null, log: quietLog() });
    assert.equal(await again.takeLoginCode("login", "13800000000", "123456"), "right");
    again.close();
  });
});

Deno.test("A store that cannot be opened stops the start with a sentence that names the setting", async () => {
  await assert.rejects(
    openKv({ kvPath: "/proc/nothing/kv.sqlite3", kvUrl: null, log: quietLog() }),
    /^StartError: The key-value store at KV_PATH=\/proc\/nothing\/kv\.sqlite3 cannot be opened/,
  );
});
