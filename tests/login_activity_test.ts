import assert from "node:assert/strict";
import { authenticateToken, type Im, issueToken } from "../im/mod.ts";
import { listDeviceLogins } from "../store/mod.ts";
import { createUsers, openIm } from "./im.ts";
import { within } from "./mqtt_client.ts";

const PHONE = { userId: "ann", clientId: "phone", platform: 2 };
const ORIGIN = { address: "192.0.2.1", userAgent: "" };

/** Runs something while nothing can be written to the logins. */
async function whileReadOnly(im: Im, run: () => Promise<void>): Promise<void> {
  await im.store.sql.begin(async (sql) => {
    await sql`LOCK TABLE t_user_session IN EXCLUSIVE MODE`;
    await run();
  });
}

/** The row's version, which every UPDATE changes, and what it says. */
async function rowOf(im: Im): Promise<{ xmin: string; activeAtMs: number }> {
  const [row] = await im.store.sql<{ xmin: string }[]>`SELECT xmin::text FROM t_user_session`;
  const [login] = await listDeviceLogins(im.store, "ann");
  return { xmin: row!.xmin, activeAtMs: login!.lastActiveAtMs };
}

Deno.test("A login in use is written down once a minute", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  await createUsers(im, "ann");
  const { imToken } = await issueToken(im, PHONE, ORIGIN);
  const use = () => authenticateToken(im, imToken, "im");
  await use();
  let before = await rowOf(im);
  // The cache of logins lives longer than this and goes on telling the first time.
  for (const minutes of [1, 2, 3]) {
    clock.aheadMs = minutes * 60_000 + 1_000;
    const usedAtMs = im.nowMs();
    await use();
    const after = await rowOf(im);
    assert.notEqual(after.xmin, before.xmin);
    assert.ok(after.activeAtMs >= usedAtMs);
    await whileReadOnly(im, async () => {
      for (let i = 0; i < 5; i++) await within("a use that writes nothing", use());
      clock.aheadMs += 58_000;
      await within("a use within the minute", use());
    });
    assert.deepEqual(await rowOf(im), after);
    before = after;
  }
});

Deno.test("A use that could not be written down is written down by the next", async () => {
  await using opened = await openIm();
  const { im, clock } = opened;
  await createUsers(im, "ann");
  const { imToken } = await issueToken(im, PHONE, ORIGIN);
  const use = () => authenticateToken(im, imToken, "im");
  await use();
  const before = await rowOf(im);
  clock.aheadMs = 61_000;
  await im.store.sql`ALTER TABLE t_user_session ADD CONSTRAINT no_change CHECK (false) NOT VALID`;
  await assert.rejects(use(), /no_change/);
  await im.store.sql`ALTER TABLE t_user_session DROP CONSTRAINT no_change`;
  await use();
  assert.ok((await rowOf(im)).activeAtMs >= before.activeAtMs + 60_000);
});
