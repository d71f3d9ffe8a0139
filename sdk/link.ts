/**
 * A connection that comes back: state machine, back-off, and what each kind of ending means.
 *
 * @module
 */
import { Connection } from "./connection.ts";
import type { ConnectionEnd, ConnectionOptions } from "./connection.ts";
import { randomId } from "./random_id.ts";
import type { Refusal } from "../wire.ts";

/** Why a link will not come back by itself. */
export type EndReason = "closed" | "logout" | "kicked" | "taken-over" | "token" | "forbidden" | "protocol";

/** Where a link stands. `waiting` with `retryAtMs` null waits for the network. */
export type LinkState =
  | { readonly name: "idle" }
  | { readonly name: "connecting" }
  | { readonly name: "up"; /** Differs for every connection made. */ readonly connection: string }
  | { readonly name: "waiting"; readonly retryAtMs: number | null }
  | { readonly name: "ended"; readonly reason: EndReason; readonly message: string };

/** Who hears of a link. */
export interface LinkObserver {
  /** The link's state changed. */
  state(state: LinkState): void;
  /** JSON text of a reply. */
  reply(text: string): void;
  /** JSON text of an event. */
  event(text: string): void;
}

/** Carries requests to the server and brings replies and events back, over whatever is in between. */
export interface Link {
  /** Starts; the observer hears everything from now on. */
  open(observer: LinkObserver): void;
  /** Sends a request body. False when the link is not up: the client repeats it when it is. */
  send(command: string, requestId: string, body: string): boolean;
  /** Looks at once whether the connection lives, and tries again at once when it waits. */
  wake(): void;
  /** Ends for good. */
  close(reason?: EndReason): void;
}

/** How a {@link SocketLink} behaves. */
export interface SocketLinkOptions extends ConnectionOptions {
  /** Asked before a retry once connecting failed: false ends the link with `token`. Browsers cannot see why an upgrade failed. */
  readonly stillLoggedIn?: () => Promise<boolean>;
  /** The first back-off step, default 500 ms; each failure doubles it. */
  readonly backOffMs?: number;
  /** The longest back-off, default 30,000 ms. */
  readonly maxBackOffMs?: number;
}

/** How long a connection must have lasted for the back-off to start over. */
const STABLE_MS = 10_000;

/** MQTT 5.0 reason codes after which a retry would only be refused again. */
const FINAL_REASONS: Readonly<Record<number, EndReason>> = {
  0x81: "protocol", // malformed packet
  0x82: "protocol", // protocol error
  0x84: "protocol", // unsupported protocol version
  0x85: "token", // client identifier not valid
  0x86: "token", // bad user name or password
  0x87: "token", // not authorized
  0x8a: "forbidden", // banned
  0x8e: "taken-over", // session taken over
  0x98: "logout", // administrative action; unless it was a logout, a `kicked` event came before it
};

/** How long to wait before try number `attempt` (from 0): full jitter over an exponential step, never under 100 ms. */
export function backOffMs(attempt: number, stepMs: number, maxMs: number, random: number): number {
  return Math.max(100, Math.round(random * Math.min(maxMs, stepMs * 2 ** Math.min(attempt, 20))));
}

/** The link over a WebSocket of one's own. */
export class SocketLink implements Link {
  readonly #options: SocketLinkOptions;
  #observer: LinkObserver | null = null;
  #connection: Connection | null = null;
  #state: LinkState = { name: "idle" };
  #attempt = 0;
  #upSinceMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #kickedReason: string | null = null;
  readonly #networkChanged = (event: globalThis.Event) => {
    if (event.type === "online") this.wake();
    else if (this.#connection !== null) this.#connection.probe(2000);
  };

  /** Nothing happens before {@link open}. */
  constructor(options: SocketLinkOptions) {
    this.#options = options;
  }

  /** Starts connecting. */
  open(observer: LinkObserver): void {
    this.#observer = observer;
    globalThis.addEventListener?.("online", this.#networkChanged);
    globalThis.addEventListener?.("offline", this.#networkChanged);
    this.#connect();
  }

  /** Sends at QoS 1; false while not up. A request too large for the server is refused here. */
  send(command: string, requestId: string, body: string): boolean {
    const connection = this.#connection;
    if (connection === null || !connection.isOpen) return false;
    if (connection.fits(command, body)) return connection.send(command, body);
    const refusal: Refusal = {
      code: 251,
      error: "message/too-large",
      message: "the request is larger than the server takes",
    };
    this.#observer?.reply(JSON.stringify({ requestId, command, ...refusal }));
    return true;
  }

  /** Probes a connection that is up, retries at once when waiting. */
  wake(): void {
    if (this.#state.name === "waiting") this.#connect();
    else this.#connection?.probe();
  }

  /** Says goodbye and stays down. */
  close(reason: EndReason = "closed"): void {
    this.#end(reason, "closed here");
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.#kickedReason = null;
    this.#set({ name: "connecting" });
    const connection = this.#connection = new Connection(this.#options, {
      opened: () => {
        this.#upSinceMs = Date.now();
        this.#set({ name: "up", connection: randomId() });
      },
      reply: (text) => this.#observer?.reply(text),
      event: (text) => {
        if (text.includes('"kicked"')) this.#noteKick(text);
        this.#observer?.event(text);
      },
      closed: (end) => {
        if (this.#connection === connection) this.#lost(end);
      },
    });
  }

  /** The last word before the server closes: why. */
  #noteKick(text: string): void {
    const event: unknown = JSON.parse(text);
    if (typeof event === "object" && event !== null && "type" in event && event.type === "kicked") {
      this.#kickedReason = "reason" in event ? String(event.reason) : "kicked";
    }
  }

  #lost(end: ConnectionEnd): void {
    this.#connection = null;
    if (this.#state.name === "ended") return;
    if (this.#kickedReason !== null) {
      const reason = this.#kickedReason;
      return this.#end(reason === "forbidden" ? "forbidden" : "kicked", reason);
    }
    const final = end.kind === "lost" ? undefined : FINAL_REASONS[end.reasonCode];
    if (final !== undefined) return this.#end(final, end.message);
    const neverUp = this.#upSinceMs === 0;
    if (!neverUp && Date.now() - this.#upSinceMs > STABLE_MS) this.#attempt = 0;
    this.#upSinceMs = 0;
    void this.#wait(neverUp);
  }

  async #wait(askFirst: boolean): Promise<void> {
    if (globalThis.navigator?.onLine === false) return this.#set({ name: "waiting", retryAtMs: null });
    const { backOffMs: stepMs = 500, maxBackOffMs = 30_000, stillLoggedIn } = this.#options;
    const delayMs = backOffMs(this.#attempt++, stepMs, maxBackOffMs, Math.random());
    this.#set({ name: "waiting", retryAtMs: Date.now() + delayMs });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delayMs);
    // An unreachable server is no answer: the retry goes on.
    if (askFirst && stillLoggedIn && await stillLoggedIn().catch(() => true) === false) {
      this.#end("token", "the login has ended");
    }
  }

  #end(reason: EndReason, message: string): void {
    if (this.#state.name === "ended") return;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#networkChanged);
    globalThis.removeEventListener?.("offline", this.#networkChanged);
    this.#set({ name: "ended", reason, message });
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
  }

  #set(state: LinkState): void {
    this.#state = state;
    this.#observer?.state(state);
  }
}
