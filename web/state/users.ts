/** Names and portraits: asked for in batches, kept until the server says they changed. */
import { signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { UserInfo } from "../../sdk/mod.ts";
import { me, requireClient, whenConnected } from "./session.ts";

const users = new Map<string, Signal<UserInfo | null>>();
const wanted = new Set<string>();
let asking = false;
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

/** What to call a user; "" until the server has said it. */
export function nameOf(userId: string): string {
  const user = userOf(userId).value;
  return user === null ? "" : user.displayName || user.name || userId;
}

/** Keeps what a search or a profile change has brought. */
export function keepUser(user: UserInfo): void {
  const known = users.get(user.userId);
  if (known === undefined) users.set(user.userId, signal<UserInfo | null>(user));
  else known.value = { ...known.value, ...user };
}

/** Somebody the server does not know any more: the id stands for the name. */
function nobody(userId: string): UserInfo {
  return { userId, displayName: "", portrait: "", type: 0 };
}

function want(userId: string): void {
  wanted.add(userId);
  askSoon();
}

function askSoon(): void {
  if (asking) return;
  asking = true;
  queueMicrotask(() => void ask());
}

async function ask(): Promise<void> {
  asking = false;
  const userIds = [...wanted];
  wanted.clear();
  for (let at = 0; at < userIds.length; at += MAX_BATCH) {
    const batch = userIds.slice(at, at + MAX_BATCH);
    try {
      const answer = await requireClient().request("user.get", {
        users: batch.map((userId) => ({ userId })),
      });
      for (const { userId, user } of answer.users) keepUser(user ?? nobody(userId));
    } catch {
      // The ids are shown meanwhile; the next connection asks again.
      for (const userId of batch) wanted.add(userId);
    }
  }
}

whenConnected((client) => {
  users.clear();
  wanted.clear();
  if (me.value !== null) {
    const { userId, name: displayName, portrait } = me.value;
    keepUser({ ...nobody(userId), displayName, portrait });
    want(userId);
  }
  client.on("user", ({ userId }) => {
    if (users.has(userId)) want(userId);
  });
  client.on("state", ({ name }) => {
    if (name === "online" && wanted.size > 0) askSoon();
  });
});
