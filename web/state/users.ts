/** Names and portraits: asked for in batches, kept until the server says they changed. */
import { signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { UserInfo } from "../../sdk/mod.ts";
import { requireClient, whenConnected } from "./session.ts";

const users = new Map<string, Signal<UserInfo | null>>();
const wanted = new Set<string>();
const MAX_BATCH = 500;

/** What is known about a user; asks for it the first time. Reading `.value` follows changes. */
export function userOf(userId: string): Signal<UserInfo | null> {
  let user = users.get(userId);
  if (user === undefined) {
    users.set(userId, user = signal<UserInfo | null>(null));
    want(userId);
  }
  return user;
}

/** What to call a user. */
export function nameOf(userId: string): string {
  const user = userOf(userId).value;
  return user?.displayName || user?.name || userId;
}

/** Keeps what a search or a profile change has brought. */
export function keepUser(user: UserInfo): void {
  const known = users.get(user.userId);
  if (known === undefined) users.set(user.userId, signal<UserInfo | null>(user));
  else known.value = { ...known.value, ...user };
}

function want(userId: string): void {
  if (wanted.size === 0) queueMicrotask(() => void ask());
  wanted.add(userId);
}

async function ask(): Promise<void> {
  const userIds = [...wanted];
  wanted.clear();
  for (let at = 0; at < userIds.length; at += MAX_BATCH) {
    const batch = userIds.slice(at, at + MAX_BATCH);
    try {
      const answer = await requireClient().request("user.get", {
        users: batch.map((userId) => ({ userId })),
      });
      for (const { user } of answer.users) if (user !== undefined) keepUser(user);
    } catch {
      // The id is shown meanwhile; the next look at this user asks again.
      for (const userId of batch) if (users.get(userId)?.value === null) users.delete(userId);
    }
  }
}

whenConnected((client) => {
  users.clear();
  client.on("user", ({ userId }) => {
    if (users.has(userId)) want(userId);
  });
});
