/** HTTP as its different clients speak it: programs, pages with cookies, and raw bytes. */
import assert from "node:assert/strict";
import type { TestServer } from "./server.ts";

/** What a server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as a JSON object; fails the test when it is none. */
  json(): Json;
}

/** A JSON object whose fields a test names. */
// deno-lint-ignore no-explicit-any
export type Json = Record<string, any>;

/** Makes a request as a program does: nothing a browser adds. */
export async function send(
  url: string,
  method: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const given = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    body: given ? body as BodyInit | null ?? null : JSON.stringify(body),
    redirect: "manual",
  });
  return toAnswer(response.status, response.headers, await response.text());
}

/** POSTs JSON as a program does; the answer must be JSON. */
export async function post(
  server: TestServer,
  path: string,
  body: unknown = {},
  headers: Record<string, string> = {},
): Promise<Json> {
  return (await send(`${server.url}${path}`, "POST", body, headers)).json();
}

/** A page in a browser: it keeps cookies, and says where it comes from. */
export class Page {
  readonly #url: string;
  readonly #browser: Record<string, string>;
  readonly #cookies = new Map<string, { readonly value: string; readonly path: string }>();
  /** Every `Set-Cookie` line so far. */
  readonly setCookies: string[] = [];

  /** A page of the server's own origin; `browser` are headers that differ. */
  constructor(server: TestServer, browser: Record<string, string> = {}) {
    this.#url = server.url;
    this.#browser = { "sec-fetch-site": "same-origin", origin: server.url, ...browser };
  }

  /** The same browser with another page in it. */
  withHeaders(browser: Record<string, string>): Page {
    const page = new Page({ url: this.#url } as TestServer, browser);
    for (const [name, cookie] of this.#cookies) page.#cookies.set(name, cookie);
    return page;
  }

  async request(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const cookie = this.cookieHeader(path);
    const answer = await send(`${this.#url}${path}`, method, body, {
      ...this.#browser,
      ...(cookie === "" ? {} : { cookie }),
      ...headers,
    });
    for (const line of answer.headers.getSetCookie()) this.#keep(line);
    return answer;
  }

  async post(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Json> {
    return (await this.request("POST", path, body, headers)).json();
  }

  /** What the browser sends as `Cookie` to a path. */
  cookieHeader(path: string): string {
    return [...this.#cookies].filter(([, cookie]) => path.startsWith(cookie.path))
      .map(([name, { value }]) => `${name}=${value}`).join("; ");
  }

  #keep(line: string): void {
    this.setCookies.push(line);
    const [pair = "", ...attributes] = line.split(/;\s*/);
    const [name = "", value = ""] = pair.split("=");
    const path = attributes.find((one) => /^path=/i.test(one))?.slice("path=".length) ?? "/";
    if (attributes.some((one) => /^max-age=0$/i.test(one))) this.#cookies.delete(name);
    else this.#cookies.set(name, { value, path });
  }
}

/** Sends a request byte for byte, with whatever `Host` it names; the connection is closed after the answer. */
export async function sendRaw(
  server: TestServer,
  request: {
    readonly method?: string;
    readonly path: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  },
): Promise<Answer> {
  const { hostname, port, host } = new URL(server.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const { method = "GET", path, body = "" } = request;
  const headers = {
    host,
    connection: "close",
    ...(body === "" ? {} : { "content-length": String(new TextEncoder().encode(body).length) }),
    ...request.headers,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  await connection.write(new TextEncoder().encode(`${method} ${path} HTTP/1.1\r\n${lines}\r\n${body}`));
  let text = "";
  for await (const part of connection.readable.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (isWhole(text)) break;
  }
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [first = "", ...fields] = head.split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  const pairs = fields.map((field): [string, string] => {
    const colon = field.indexOf(":");
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  });
  return toAnswer(status, new Headers(pairs), rest.join("\r\n\r\n"));
}

/** A connection that was asked to upgrade stays open behind a refusal: the length says where the answer ends. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text.slice(0, end + 2))?.[1];
  // What follows a switch of protocols is no answer any more.
  if (length === undefined) return text.startsWith("HTTP/1.1 101");
  return new TextEncoder().encode(text.slice(end + 4)).length >= Number(length);
}

function toAnswer(status: number, headers: Headers, text: string): Answer {
  const json = () => {
    const value: unknown = JSON.parse(text);
    assert.ok(typeof value === "object" && value !== null, text);
    return value as Json;
  };
  return { status, headers, text, json };
}

/** Logs somebody in by code; the answer's `result` and the app token of the header. */
export async function logIn(
  server: TestServer,
  mobile: string,
  clientId = `client-${mobile}`,
): Promise<{ readonly userId: string; readonly token: string; readonly appToken: string }> {
  const { devCode } = (await post(server, "/send_code", { mobile })).result;
  const answer = await send(`${server.url}/login`, "POST", { mobile, code: devCode, clientId, platform: 2 });
  const { code, message, result } = answer.json();
  assert.equal(code, 0, message);
  return { userId: result.userId, token: result.token, appToken: answer.headers.get("authToken") ?? "" };
}
