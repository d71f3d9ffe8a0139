/** Who is logged in, and the one client that talks for him. */
import { signal } from "@preact/signals";
import { canShareTabs, HearthClient, HttpClient, SocketLink, TabLink } from "../../sdk/mod.ts";
import type { ClientState, EndReason, Me } from "../../sdk/mod.ts";
import type { TextKey } from "../i18n.ts";

/** The server over HTTP; the cookie tells it who asks. */
export const http = new HttpClient();

/** What the page shows: `unreachable` until the server has said whether there is a login. */
export const phase = signal<"loading" | "unreachable" | "login" | "chat">("loading");
/** Me, while `phase` is `chat`. */
export const me = signal<Me | null>(null);
/** Why the login page is shown, when the user did not ask for it. */
export const endedText = signal<TextKey | null>(null);
/** Where the connection stands. */
export const connection = signal<ClientState>({ name: "idle" });

let current: HearthClient | null = null;
const starters = new Set<(client: HearthClient) => void>();

/** How much a page pulls after it was away; beyond that, listing the conversations anew is quicker. */
const MAX_CATCH_UP = 2000;
/** Tabs that wait at the login page look again when this changes. */
const LOGIN_MARK = "hearth.login";

const ENDED_TEXTS: Readonly<Record<EndReason, TextKey | null>> = {
  closed: null,
  logout: "ended.logout",
  kicked: "ended.kicked",
  "taken-over": "ended.taken",
  token: "ended.token",
  forbidden: "ended.forbidden",
  protocol: "ended.protocol",
};

/** Calls `starter` for every client this page has, now and later. */
export function whenConnected(starter: (client: HearthClient) => void): void {
  starters.add(starter);
  if (current !== null) starter(current);
}

/** The client; throws when nobody is logged in. */
export function requireClient(): HearthClient {
  if (current === null) throw new Error("nobody is logged in");
  return current;
}

/** This browser's installation id; every login of the browser carries it. */
export function browserClientId(): string {
  const stored = localStorage.getItem("hearth.clientId");
  if (stored !== null) return stored;
  const made = `web-${crypto.getRandomValues(new Uint8Array(12)).toHex()}`;
  localStorage.setItem("hearth.clientId", made);
  return made;
}

/** Asks the server who we are and shows the chat or the login. */
export async function start(): Promise<void> {
  try {
    const answer = await http.me();
    if (answer === null) {
      phase.value = "login";
      return;
    }
    me.value = answer;
    connect(answer);
    phase.value = "chat";
  } catch {
    phase.value = "unreachable";
    setTimeout(() => void start(), 2000);
  }
}

/** Called after a login worked: the cookie is set. */
export async function loggedIn(): Promise<void> {
  endedText.value = null;
  localStorage.setItem(LOGIN_MARK, String(Date.now()));
  await start();
}

/** Ends this browser's login. */
export async function logout(): Promise<void> {
  const client = requireClient();
  try {
    await http.logout();
  } finally {
    client.close("logout");
  }
}

function connect(account: Me): void {
  const options = {
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/mqtt`,
    userId: account.userId,
    clientId: account.clientId,
    token: null,
    stillLoggedIn: async () => await http.me() !== null,
  };
  const link = canShareTabs() ? new TabLink(options) : new SocketLink(options);
  const client = current = new HearthClient(link, { userId: account.userId, maxCatchUp: MAX_CATCH_UP });
  client.on("state", (state) => {
    connection.value = state;
    if (state.name === "ended") {
      current = null;
      me.value = null;
      endedText.value = ENDED_TEXTS[state.reason];
      phase.value = "login";
    }
  });
  for (const starter of starters) starter(client);
  client.open();
}

/** Wires what the browser tells the page about itself; called once. */
export function watchBrowser(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") current?.wake();
  });
  globalThis.addEventListener("storage", (event) => {
    if (event.key === LOGIN_MARK && phase.value === "login") void start();
  });
}
