/**
 * Login and commands over HTTP: what a client does before it has a connection, or without one.
 *
 * In a page of the server's own origin the answers set an HttpOnly cookie and no secret reaches the script;
 * elsewhere {@link HttpClient} keeps the app token of the login and sends it back.
 *
 * @module
 */
import type { CommandName, Commands, Refusal } from "../wire.ts";
import { RequestError } from "./requests.ts";

/** A login that worked. */
export interface LoginResult {
  /** Who logged in. */
  readonly userId: string;
  /** The IM token: the MQTT password. Pages of the server's own origin throw it away. */
  readonly token: string;
  /** Whether this login made the user. */
  readonly register: boolean;
  /** The app token; `null` where a cookie was set instead. */
  readonly authToken: string | null;
}

/** Who a cookie or token belongs to. */
export interface Me {
  /** My user id. */
  readonly userId: string;
  /** The installation of this login. */
  readonly clientId: string;
  /** The platform of this login; 5 is a web page. */
  readonly platform: number;
  /** My display name. */
  readonly name: string;
  /** A picture's URL, or "". */
  readonly portrait: string;
}

/** A QR login as its page sees it. */
export interface PcSession {
  /** The public id in the QR; it lets nobody take the login. */
  readonly token: string;
  /** Milliseconds left. */
  readonly expired: number;
  /** Two digits for the page to show and the phone's user to type. */
  readonly number: string;
  /** An SVG picture. */
  readonly qr: string;
  /** For clients that are no page of the server; pages have it as a cookie. */
  readonly pollSecret?: string;
}

/** A QR login as the phone sees it, never with the number. */
export interface ScannedSession {
  /** The public id. */
  readonly token: string;
  /** Milliseconds left. */
  readonly expired: number;
  /** The kind of device that wants to log in. */
  readonly device?: string;
  /** Its browser. */
  readonly browser?: string;
  /** Its address. */
  readonly ip?: string;
  /** Where that address is, as far as it tells; "" when it tells nothing. */
  readonly place?: "this-machine" | "local-network" | "";
  /** When it asked, ms since 1970. */
  readonly createdAt?: number;
}

/** What a long poll of a QR login brought. */
export type PollResult =
  | { readonly state: "confirmed"; readonly login: LoginResult }
  | { readonly state: "scanned"; readonly userName: string; readonly portrait: string }
  | { readonly state: "waiting" | "cancelled" | "expired" };

/** An app-server path refused; the codes are those of its envelope. */
export class LoginError extends Error {
  /** Always `LoginError`. */
  override readonly name = "LoginError";
  /** One of `APP_ERRORS` in wire.ts: 3 too often, 5 code expired, 6 code or number wrong, 8 QR gone … */
  readonly code: number;
  /** When to try again, if the server said so. */
  readonly retryAfterMs: number | undefined;

  /** Wraps a refusal of the envelope. */
  constructor(code: number, message: string, retryAfterMs?: number) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Where the server is, and what proves who asks. */
export interface HttpOptions {
  /** `https://host`; "" in a page of the server's own origin. */
  readonly origin?: string;
  /** An IM token, sent as Bearer. */
  readonly token?: string;
  /** An app token of an earlier login. */
  readonly authToken?: string;
  /** Another `fetch`. */
  readonly fetch?: typeof fetch;
}

interface Envelope {
  readonly code: number;
  readonly message?: string;
  readonly result?: unknown;
  readonly retryAfterMs?: number;
}

/** The server's HTTP side for one user. Network failures reject as `TypeError`, refusals as {@link LoginError}. */
export class HttpClient {
  readonly #origin: string;
  readonly #fetch: typeof fetch;
  #token: string | undefined;
  #authToken: string | undefined;

  /** Nothing is asked yet. */
  constructor(options: HttpOptions = {}) {
    this.#origin = options.origin ?? "";
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#token = options.token;
    this.#authToken = options.authToken;
  }

  /** Asks for a login code by SMS. `devCode` is the code itself, on a development server on this machine. */
  async sendCode(mobile: string): Promise<{ devCode?: string }> {
    const result = await this.#call("/send_code", { mobile });
    return typeof result === "object" && result !== null ? result as { devCode?: string } : {};
  }

  /** Logs in with the code from the SMS; the first login of a number creates the user. */
  async loginByCode(
    login: { mobile: string; code: string; clientId: string; platform: number; device_name?: string },
  ): Promise<LoginResult> {
    return this.#loggedIn(await this.#post("/login", login));
  }

  /** Starts a QR login for an installation. */
  async pcSession(
    session: { clientId: string; platform: number; device_name: string },
    signal?: AbortSignal,
  ): Promise<PcSession> {
    return await this.#call("/pc_session", session, signal) as PcSession;
  }

  /** Waits, up to 50 s, for what happens to a QR login. `seen` keeps a known scan from being told again. */
  async sessionLogin(
    token: string,
    options: { pollSecret?: string; seen?: "scanned"; signal?: AbortSignal } = {},
  ): Promise<PollResult> {
    const { signal, ...body } = options;
    const reply = await this.#post(`/session_login/${encodeURIComponent(token)}`, body, signal);
    switch (reply.answer.code) {
      case 0:
        return { state: "confirmed", login: this.#loggedIn(reply) };
      case 9:
        return { state: "scanned", userName: "", portrait: "", ...reply.answer.result as object };
      case 10:
        return { state: "waiting" };
      case 18:
        return { state: "cancelled" };
      case 8:
        return { state: "expired" };
      default:
        throw errorOf(reply.answer);
    }
  }

  /** Tells the server, as the phone, that a QR was scanned. */
  async scan(token: string): Promise<ScannedSession> {
    return await this.#call(`/scan_pc/${encodeURIComponent(token)}`, {}) as ScannedSession;
  }

  /** Lets the scanned login in; `number` is what the other screen shows. */
  async confirm(token: string, number: string): Promise<void> {
    await this.#call("/confirm_pc", { token, number });
  }

  /** Refuses the scanned login. */
  async cancel(token: string): Promise<void> {
    await this.#call("/cancel_pc", { token });
  }

  /** Who I am, or `null` when the login has ended or there is none. */
  async me(): Promise<Me | null> {
    const response = await this.#fetch(`${this.#origin}/me`, { headers: this.#headers() });
    if (response.status === 401) {
      await response.body?.cancel();
      return null;
    }
    if (!response.ok) throw new TypeError(`/me answered ${response.status}`);
    return await response.json() as Me;
  }

  /** Ends this login. */
  async logout(): Promise<void> {
    await this.#call("/logout", {});
    this.#token = this.#authToken = undefined;
  }

  /** Which node to dial. */
  async route(): Promise<{ host: string; port: number; wsUrl: string; node: string }> {
    const response = await this.#fetch(`${this.#origin}/route`, { headers: this.#headers() });
    if (!response.ok) throw new TypeError(`/route answered ${response.status}`);
    return await response.json() as { host: string; port: number; wsUrl: string; node: string };
  }

  /** Makes a request over HTTP instead of MQTT; the same result, refusals as {@link RequestError}. */
  async request<C extends CommandName>(
    command: C,
    request: Commands[C]["request"],
  ): Promise<Commands[C]["result"]> {
    const { answer } = await this.#post(`/im/${command}`, request);
    if (answer.code !== 0) throw new RequestError(answer as unknown as Refusal);
    return answer.result as Commands[C]["result"];
  }

  async #call(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const { answer } = await this.#post(path, body, signal);
    if (answer.code !== 0) throw errorOf(answer);
    return answer.result;
  }

  async #post(
    path: string,
    body: unknown,
    signal?: AbortSignal,
  ): Promise<{ answer: Envelope; authToken: string | null }> {
    const response = await this.#fetch(`${this.#origin}${path}`, this.#init(body, signal));
    const text = await response.text();
    try {
      return { answer: JSON.parse(text) as Envelope, authToken: response.headers.get("authToken") };
    } catch (cause) {
      // Not from the server itself: a proxy that cannot reach it, for instance.
      throw new TypeError(`${path} answered ${response.status} without JSON`, { cause });
    }
  }

  #loggedIn({ answer, authToken }: { answer: Envelope; authToken: string | null }): LoginResult {
    if (answer.code !== 0) throw errorOf(answer);
    if (authToken !== null) this.#authToken = authToken;
    return { ...answer.result as Omit<LoginResult, "authToken">, authToken };
  }

  #init(body: unknown, signal?: AbortSignal): RequestInit {
    return {
      method: "POST",
      headers: { ...this.#headers(), "content-type": "application/json" },
      body: JSON.stringify(body),
      ...signal && { signal },
    };
  }

  #headers(): Record<string, string> {
    if (this.#authToken !== undefined) return { authToken: this.#authToken };
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }
}

function errorOf(envelope: Envelope): LoginError {
  return new LoginError(
    envelope.code,
    envelope.message ?? `refused with code ${envelope.code}`,
    envelope.retryAfterMs,
  );
}
