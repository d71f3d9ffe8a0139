/** What this browser keeps between visits. Where it may keep nothing, the page works all the same. */

/** What was kept under a name, or `null`. */
export function recall(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is switched off
  }
}

/** Keeps a text under a name; `null` drops it. */
export function remember(name: string, text: string | null): void {
  try {
    if (text === null) localStorage.removeItem(name);
    else localStorage.setItem(name, text);
  } catch {
    // Storage is full or switched off: it lasts as long as the page.
  }
}

/** The names that begin with `prefix`. */
export function rememberedNames(prefix: string): string[] {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}

/** The name of something that belongs to one user; ids hold no spaces. */
export function nameForUser(userId: string, name = ""): string {
  return `hearth.user ${userId} ${name}`;
}

/** Forgets what belongs to a user: the next person at this browser is somebody else. */
export function forgetUser(userId: string): void {
  for (const name of rememberedNames(nameForUser(userId))) remember(name, null);
}
