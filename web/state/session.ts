/** Who is logged in, and the one client that talks for him. */
import { batch, signal } from "@preact/signals";
import {
  canShareTabs,
  HearthClient,
  HttpClient,
  LoginError,
  randomId,
  SocketLink,
  TabLink,
} from "../../sdk/mod.ts";
import type { ClientState, EndReason, Me } from "../../sdk/mod.ts";
import { browserName } from "../browser_name.ts";
import type { TextKey } from "../i18n.ts";
import { forgetUser, recall, remember } from "./storage.ts";

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
let starting = false;
/** Another tab has logged in while the server was being asked: its answer may be of the time before. */
let isOutdated = false;
const starters = new Set<(client: HearthClient) => void>();

/** How much a page pulls after it was away; beyond that, listing the conversations anew is quicker. */
const MAX_CATCH_UP = 2000;
/** Tabs that wait at the login page look again when this changes. */
const LOGIN_MARK = "hearth.login";
/** 5 is a web page. */
const PLATFORM = 5;
/** The code of the login paths for a login that is over. */
const LOGIN_REQUIRED = 13;
/** How often a server that cannot be reached is asked again. */
const RETRY_MS = 2000;

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

/** What every login of this browser says of itself; the id of the installation stays the same. */
export function thisBrowser(): { clientId: string; platform: number; device_name: string } {
  const clientId = recall("hearth.clientId") ?? madeClientId;
  remember("hearth.clientId", clientId);
  return { clientId, platform: PLATFORM, device_name: browserName() };
}
const madeClientId = `web-${randomId()}`;

/**
 * Asks the server who we are and shows the chat or the login; `ended` is what to say there of the login before.
 */
export async function start(ended: TextKey | null = null): Promise<void> {
  if (current !== null) return;
  if (starting) {
    isOutdated = true;
    return;
  }
  starting = true;
  isOutdated = false;
  const answer = await http.me().catch(() => "unreachable" as const);
  starting = false;
  if (answer === "unreachable") {
    phase.value = "unreachable";
    setTimeout(() => void start(ended), RETRY_MS);
  } else if (answer === null && isOutdated) {
    await start(ended);
  } else if (answer === null) {
    endedText.value = ended;
    phase.value = "login";
  } else {
    endedText.value = null;
    me.value = answer;
    connect(answer);
    phase.value = "chat";
  }
}

/** Called after a login worked: the cookie is set. */
export async function loggedIn(): Promise<void> {
  remember(LOGIN_MARK, String(Date.now()));
  await start();
}

/** Ends this browser's login. When the server cannot be told, it rejects and the login stays. */
export async function logout(): Promise<void> {
  const { userId } = requireClient();
  try {
    await http.logout();
  } catch (error) {
    // Refused because it is over already: what was wanted.
    if (!(error instanceof LoginError && error.code === LOGIN_REQUIRED)) throw error;
  }
  forgetUser(userId);
  current?.close("logout");
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
    if (state.name === "ended") leave(state.reason);
  });
  for (const starter of starters) starter(client);
  client.open();
}

function leave(reason: EndReason): void {
  batch(() => {
    current = null;
    me.value = null;
    phase.value = "loading";
  });
  const text = ENDED_TEXTS[reason];
  // Another tab may have logged this browser in anew, which ended the login before: that is no reason to leave.
  if (reason === "logout" || reason === "kicked") return void start(text);
  endedText.value = text;
  phase.value = "login";
}

/** Wires what the browser tells the page about itself; called once. */
export function watchBrowser(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") current?.wake();
  });
  globalThis.addEventListener("storage", (event) => {
    if (event.key === LOGIN_MARK) void start();
  });
}
