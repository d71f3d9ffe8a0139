import assert from "node:assert/strict";
import { createUser, issueToken } from "../im/mod.ts";
import { callerOf, createUsers, openIm, request } from "./im.ts";

Deno.test("Others see of a user what strangers may, he sees everything", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ben");
  await createUser(im, {
    userId: "ann",
    name: "annie",
    displayName: "Ann",
    mobile: "13800000000",
    email: "a@b.c",
  });
  const ask = async (by: string) =>
    (await request(im, callerOf(by), "user.get", { users: [{ userId: "ann" }, { userId: "nobody" }] })).users;
  assert.deepEqual(await ask("ben"), [
    { userId: "ann", code: 0, user: { userId: "ann", displayName: "Ann", portrait: "", type: 0 } },
    { userId: "nobody", code: 1 },
  ]);
  const [own] = await ask("ann");
  assert.deepEqual([own!.user!.name, own!.user!.mobile, own!.user!.email], ["annie", "13800000000", "a@b.c"]);
  const unchanged = await request(im, callerOf("ben"), "user.get", {
    users: [{ userId: "ann", updatedAt: own!.user!.updatedAt! }],
  });
  assert.deepEqual(unchanged.users, [{ userId: "ann", code: 2 }]);
});

Deno.test("My profile changes, with a version that grows however fast, and my devices hear of it", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUsers(im, "ann");
  const change = (type: number, value: string) =>
    request(im, callerOf("ann"), "user.update_me", { entries: [{ type, value }] });
  const first = await change(0, "Anna");
  const second = await change(8, "more");
  assert.ok(second.updatedAt > first.updatedAt);
  assert.deepEqual(second.notices, [{
    kind: "event",
    userId: "ann",
    event: { type: "user", userId: "ann", version: String(second.updatedAt) },
    exceptConnection: null,
  }]);
  const { users } = await request(im, callerOf("ann"), "user.get", { users: [{ userId: "ann" }] });
  assert.deepEqual([users[0]!.user!.displayName, users[0]!.user!.extra], ["Anna", "more"]);
  for (const [type, value] of [[0, " "], [2, "x"], [3, "13900000000"], [99, ""]] as const) {
    await assert.rejects(change(type, value), { error: "request/invalid" });
  }
});

Deno.test("People are found in the ways asked for, and wild characters mean themselves", async () => {
  await using opened = await openIm();
  const { im } = opened;
  await createUser(im, { userId: "id-1", name: "ann", displayName: "Ann % Lee", mobile: "13800000001" });
  await createUser(im, { userId: "id-2", name: "ben", displayName: "Annette", mobile: "13800000002" });
  await createUser(im, { userId: "id-3", name: "robot", displayName: "Device Ann", type: 2 });
  const find = async (keyword: string, type = 0) =>
    (await request(im, callerOf("id-1"), "user.search", { keyword, type })).users.map((user) => user.userId);
  assert.deepEqual(await find("ann"), ["id-1", "id-2"]);
  assert.deepEqual(await find("%"), ["id-1"]);
  assert.deepEqual(await find("_"), []);
  assert.deepEqual(await find("13800000002"), ["id-2"]);
  assert.deepEqual(await find("1380000000"), [], "a mobile number is found whole or not at all");
  assert.deepEqual(await find("ben", 2), ["id-2"]);
  assert.deepEqual(await find("id-2", 4), ["id-2"]);
  assert.deepEqual(await find("id-2", 1), []);
  assert.deepEqual(await find("   "), []);
  await assert.rejects(find("x", 6), { error: "request/invalid", field: "type" });
});

Deno.test("The server API makes users with ids of ours, changes what it names, and keeps names and numbers unique", async () => {
  await using opened = await openIm();
  const { im } = opened;
  const made = await createUser(im, { name: "ann", mobile: "13800000000", displayName: "Ann" });
  assert.match(made.userId, /^[0-9a-z]{20}$/);
  await createUser(im, { userId: made.userId, portrait: "https://example.org/a.png" });
  const { users } = await request(im, callerOf(made.userId), "user.get", {
    users: [{ userId: made.userId }],
  });
  assert.deepEqual([users[0]!.user!.displayName, users[0]!.user!.portrait], [
    "Ann",
    "https://example.org/a.png",
  ]);
  await assert.rejects(createUser(im, { name: "ann" }), { error: "user/name-taken" });
  await assert.rejects(createUser(im, { name: "x", mobile: "13800000000" }), { error: "user/mobile-taken" });
  const here = { address: "127.0.0.1", userAgent: "" };
  await assert.rejects(issueToken(im, { userId: "nobody", clientId: "c", platform: 0 }, here), {
    error: "user/not-found",
  });
});
