/** The real program and a real Chromium, for tests of the page. */
import assert from "node:assert/strict";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { connect, type HearthClient } from "../sdk/mod.ts";
import { adminRequest } from "./admin.ts";
import { Program } from "./page_program.ts";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
/** How long a state of the page may take to appear; a loaded machine needs some of it. */
const PATIENCE_MS = 20_000;

/** Whether there is a Chromium here. */
export async function hasChromium(): Promise<boolean> {
  try {
    await Deno.stat(CHROMIUM);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Somebody in front of a browser of their own, logged in or not. */
export interface Visitor extends AsyncDisposable {
  readonly context: BrowserContext;
  readonly page: Page;
}

/** A visitor who is logged in. */
export interface Person extends Visitor {
  readonly userId: string;
  readonly name: string;
  readonly mobile: string;
}

/** Sizes of the window. */
export const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 800 } };
export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

/** One program and one browser for all tests of the page. */
export class Rig {
  #program: Program | null = null;
  #browser: Browser | null = null;
  /** The folder that `HEARTH_SCREENSHOTS` names; no pictures are taken without. */
  readonly #pictures = Deno.env.get("HEARTH_SCREENSHOTS");
  #lastMobile = 13_900_000_000;

  /** Starts the program on an empty folder, and Chromium without a window. */
  async start(): Promise<void> {
    [this.#program, this.#browser] = await Promise.all([
      Program.onEmptyFolder(),
      chromium.launch({ executablePath: CHROMIUM, args: FLAGS }),
    ]);
  }

  /** Ends both. */
  async stop(): Promise<void> {
    await this.#browser?.close();
    await this.#program?.[Symbol.asyncDispose]();
  }

  /** Where the program is. */
  get url(): string {
    return this.#program!.url;
  }

  /** The port the program listens on. */
  get port(): number {
    return this.#program!.port;
  }

  /** Makes a user, or renames one, through the server API. */
  async createUser(userId: string, displayName: string): Promise<void> {
    await this.#administer("/admin/user/create", { userId, name: userId, displayName });
  }

  /** Another device of a user, without a page: for sending much in a short time. Its end waits for its sockets. */
  async openClient(userId: string): Promise<HearthClient & AsyncDisposable> {
    const clientId = `client-${crypto.randomUUID()}`;
    const login = { userId, clientId, platform: 2 };
    const { token } = await this.#administer("/admin/user/get_token", login) as { token: string };
    const closed: Promise<unknown>[] = [];
    const client = connect({
      url: `ws://127.0.0.1:${this.port}/mqtt`,
      userId,
      clientId,
      token,
      WebSocket: class extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols);
          closed.push(new Promise((resolve) => this.addEventListener("close", resolve)));
        }
      },
    });
    client.open();
    await client.online();
    return Object.assign(client, {
      [Symbol.asyncDispose]: async () => {
        client.close();
        await Promise.all(closed);
      },
    });
  }

  async #administer(path: string, body: unknown): Promise<unknown> {
    const adminSecret = (await this.#program!.readAdminSecret()).trim();
    return await adminRequest({ url: this.url, adminSecret }, path, body);
  }

  /** A number that nobody has yet. */
  newMobile(): string {
    return String(++this.#lastMobile);
  }

  /** Opens a browser of its own on an address. What goes wrong on its page fails the test when it closes. */
  async visit(url: string, options: BrowserContextOptions = {}): Promise<Visitor> {
    const context = await this.#browser!.newContext({ locale: "en-GB", ...DESKTOP, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const faults: string[] = [];
    const note = (fault: string) => {
      faults.push(fault);
      console.error(`on the page: ${fault}`);
    };
    context.on("weberror", (event) => note(String(event.error())));
    context.on("console", (message) => {
      if (message.type() === "error" && !isAboutNetwork(message.text())) note(message.text());
    });
    const page = await context.newPage();
    await page.goto(url);
    const close = async () => {
      await context.close();
      assert.deepEqual(faults, [], "the page had errors");
    };
    return { context, page, [Symbol.asyncDispose]: close };
  }

  /** Somebody new, logged in and looking at the list of chats; the login is not gone through by hand. */
  async openAs(name: string, options: BrowserContextOptions = {}, url = this.url): Promise<Person> {
    const mobile = this.newMobile();
    const visitor = await this.visit(`${url}/healthz`, options);
    const userId = await logInQuietly(visitor.context, url, mobile);
    await callApi(visitor.context, url, "/im/user.update_me", { entries: [{ type: 0, value: name }] });
    await visitor.page.goto(url);
    await visitor.page.locator(".chat-page").waitFor();
    return { ...visitor, userId, name, mobile };
  }

  /** Takes a picture of the page for a person to look at, where it is wanted. */
  async picture(page: Page, name: string): Promise<void> {
    if (this.#pictures === undefined) return;
    await page.screenshot({ path: `${this.#pictures}/${name}.png`, animations: "disabled" });
  }
}

/** What Chromium itself writes when a server is away or refuses: no fault of the page. */
function isAboutNetwork(text: string): boolean {
  return /^(Failed to load resource|WebSocket connection to .* failed)/.test(text);
}

/** Logs a browser in by code over HTTP. */
export async function logInQuietly(
  context: BrowserContext,
  url: string,
  mobile: string,
  clientId = `web-test-${crypto.randomUUID()}`,
): Promise<string> {
  const { devCode } = await callApi(context, url, "/send_code", { mobile }) as { devCode: string };
  const login = { mobile, code: devCode, clientId, platform: 5, device_name: "Chrome · Linux" };
  const { userId } = await callApi(context, url, "/login", login) as { userId: string };
  return userId;
}

/** A request with the browser's cookies, as a page of the server makes it; the answer's `result`. */
export async function callApi(
  context: BrowserContext,
  url: string,
  path: string,
  data: unknown,
): Promise<unknown> {
  const response = await context.request.post(`${url}${path}`, { data, headers: { origin: url } });
  const answer = await response.json() as { code: number; message?: string; result?: unknown };
  assert.equal(answer.code, 0, `${path}: ${answer.message}`);
  return answer.result;
}

/** Sends a text over HTTP. */
export async function sendQuietly(from: Person, url: string, target: string, text: string): Promise<void> {
  await callApi(from.context, url, "/im/message.send", {
    clientMessageId: crypto.randomUUID(),
    conversation: { type: 0, target, line: 0 },
    content: { type: 1, searchableContent: text, persistFlag: 3 },
  });
}

/** Opens the chat with somebody by searching for the number, as one does who was given it. */
export async function openChatWith(page: Page, person: Person): Promise<void> {
  await page.locator(".search input").fill(person.mobile);
  await row(page, person.name).click();
  await page.locator(".composer textarea").waitFor();
}

/** Types a message and sends it with Enter. */
export async function write(page: Page, text: string): Promise<void> {
  const box = page.locator(".composer textarea");
  await box.fill(text);
  await box.press("Enter");
}

/** The message with a text. */
export function bubble(page: Page, text: string): Locator {
  return page.locator(".bubble", { hasText: text });
}

/** How far an own message got: `Sent`, `Read` … */
export function mark(page: Page, text: string, label: string): Locator {
  return bubble(page, text).getByRole("img", { name: label, exact: true });
}

/** Somebody's row in the list of chats or of people. */
export function row(page: Page, name: string): Locator {
  return page.locator(".row", { hasText: name });
}

/** Opens a panel from the menu. */
export async function openPanel(page: Page, item: string): Promise<Locator> {
  await page.locator(".menu > .round").click();
  await page.locator(".menu-item", { hasText: item }).click();
  const panel = page.getByRole("dialog");
  await panel.waitFor();
  return panel;
}

/** The texts of the messages that are drawn, oldest first. */
export async function textsOn(page: Page): Promise<string[]> {
  return await page.locator(".bubble-text").allTextContents();
}

/** Waits until a condition holds that no single element of a page shows. */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!await condition()) {
    assert.ok(performance.now() < deadline, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
