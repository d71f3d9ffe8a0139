/** Commands and logins without a server around them: on a real database and a real KV, with a clock that can be set. */
import { type Caller, createIm, execute, type Im, type ImOptions, type Notice } from "../im/mod.ts";
import { acquireNodeLease, createStore, openDatabase, openKv, saveUser } from "../store/mod.ts";
import type { CommandName, Commands } from "../wire.ts";
import { createTestDatabase, quietLog } from "./database.ts";

/** A clock that tests move. */
export interface TestClock {
  /** Added to the real time, in milliseconds. */
  aheadMs: number;
}

/** What commands work with, closed and cleared away with its test. */
export interface TestIm extends AsyncDisposable {
  readonly im: Im;
  readonly clock: TestClock;
}

/** Opens everything below the broker; `overrides` are what differs from a development server. */
export async function openIm(overrides: Partial<ImOptions> = {}): Promise<TestIm> {
  await using opened = new AsyncDisposableStack();
  const log = quietLog();
  const clock = { aheadMs: 0 };
  const nowMs = () => Date.now() + clock.aheadMs;
  const testDatabase = opened.use(await createTestDatabase({ migrated: true }));
  const dataDir = await Deno.makeTempDir({ prefix: "hearth-im-" });
  opened.defer(() => Deno.remove(dataDir, { recursive: true }));
  const database = await openDatabase({ databaseUrl: testDatabase.url, dataDir, log });
  opened.defer(() => database.close());
  const kv = await openKv({ kvPath: `${dataDir}/kv.sqlite3`, kvUrl: null, log, nowMs });
  opened.defer(() => kv.close());
  const lease = await acquireNodeLease(database.sql, { address: "", log });
  opened.defer(() => lease.release());
  const store = createStore({ database, kv, lease, log });
  opened.defer(() => store.commits.close());
  const im = createIm({
    store,
    log,
    mode: "development",
    smsProvider: "log",
    smsWebhookUrl: null,
    smsWebhookSecret: null,
    samePlatform: "keep",
    loginLimits: { codePauseSeconds: 60, codesPerMobileDay: 10, codesPerIpMinute: 30, codesPerHour: 1_000 },
    rateLimits: new Map(),
    nowMs,
    ...overrides,
  });
  const parts = opened.move();
  return { im, clock, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/** Makes users of these ids, called by their ids. */
export async function createUsers(im: Im, ...userIds: string[]): Promise<void> {
  for (const userId of userIds) {
    await saveUser(im.store, userId, { name: userId, displayName: userId }, im.nowMs());
  }
}

/** A caller as the HTTP door makes one. */
export function callerOf(userId: string, differing: Partial<Caller> = {}): Caller {
  return {
    userId,
    clientId: `client-${userId}`,
    loginId: `login-${userId}`,
    platform: 0,
    door: "http",
    connection: null,
    maxReplyBytes: 512 * 1024,
    order: { generation: 0 },
    ...differing,
  };
}

/** Runs a command; rejects with its refusal. */
export async function request<C extends CommandName>(
  im: Im,
  caller: Caller,
  command: C,
  body: unknown,
): Promise<Commands[C]["result"] & { readonly notices: readonly Notice[] }> {
  const { resultJson, notices } = await execute(im, caller, command, body as Record<string, unknown>).outcome;
  return { ...JSON.parse(resultJson) as Commands[C]["result"], notices };
}

let texts = 0;

/** Sends a text that counts as unread. */
export function sendText(im: Im, from: string, to: string, text: string, differing: object = {}) {
  return request(im, callerOf(from), "message.send", {
    clientMessageId: `text-${++texts}`,
    conversation: { type: 0, target: to },
    content: { type: 1, searchableContent: text, ...differing },
  });
}
