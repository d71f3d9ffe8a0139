/**
 * The tabs of one browser as one client: the tab that holds a Web Lock connects, the others talk through it over
 * a BroadcastChannel. When it closes, the next tab in the lock's queue connects.
 *
 * Every tab runs its own {@link HearthClient} with its own cursor over this link; what the shared socket keeps from
 * a tab, because a neighbour's request caused it, the leader tells the others.
 *
 * @module
 */
import type { Commands, Event } from "../wire.ts";
import type { EndReason, Link, LinkObserver, LinkState, SocketLinkOptions } from "./link.ts";
import { SocketLink } from "./link.ts";
import { entryOfSend } from "./requests.ts";

type TabMessage =
  | { readonly kind: "hello" }
  | { readonly kind: "wake" }
  | { readonly kind: "close"; readonly reason: EndReason }
  | {
    readonly kind: "send";
    readonly command: string;
    readonly requestId: string;
    readonly body: string;
    readonly connection: string;
  }
  | { readonly kind: "state"; readonly state: LinkState }
  | { readonly kind: "reply"; readonly text: string }
  | { readonly kind: "event"; readonly text: string };

/** Requests whose effect the server tells to every socket but the one that asked. */
const TOLD_TO_OTHERS: ReadonlySet<string> = new Set(["message.send", "conversation.read", "user.update_me"]);

interface Forwarded {
  /** The tab's own request, or one that came over the channel. */
  readonly own: boolean;
  readonly command: string;
  readonly body: string;
}

/** Whether this runtime can share a connection between tabs. */
export function canShareTabs(): boolean {
  return typeof BroadcastChannel === "function" && globalThis.navigator?.locks !== undefined;
}

/** The link of one tab: through a socket of its own while it leads, else through the leading tab. */
export class TabLink implements Link {
  readonly #options: SocketLinkOptions;
  readonly #channel: BroadcastChannel;
  readonly #ended = new AbortController();
  readonly #forwarded = new Map<string, Forwarded>();
  #observer: LinkObserver | null = null;
  #socket: SocketLink | null = null;
  #state: LinkState = { name: "idle" };
  #releaseLock: (() => void) | null = null;

  /** Nothing happens before {@link open}. Throws where {@link canShareTabs} is false. */
  constructor(options: SocketLinkOptions) {
    this.#options = options;
    this.#channel = new BroadcastChannel(`hearth ${options.userId} ${options.clientId}`);
    this.#channel.onmessage = (message: MessageEvent<TabMessage>) => this.#heard(message.data);
  }

  /** Whether this tab holds the connection. */
  get isLeader(): boolean {
    return this.#socket !== null;
  }

  /** Asks who leads, and queues for leading. */
  open(observer: LinkObserver): void {
    this.#observer = observer;
    this.#set({ name: "connecting" });
    this.#tell({ kind: "hello" });
    const name = `hearth ${this.#options.userId} ${this.#options.clientId}`;
    navigator.locks.request(name, { signal: this.#ended.signal }, () => this.#lead()).catch(
      (error: unknown) => {
        if (!this.#ended.signal.aborted) throw error;
      },
    );
  }

  /** Sends through the leader; false when the link is not up. */
  send(command: string, requestId: string, body: string): boolean {
    if (this.#state.name !== "up") return false;
    if (this.#socket === null) {
      this.#tell({ kind: "send", command, requestId, body, connection: this.#state.connection });
      return true;
    }
    return this.#forward(command, requestId, body, true);
  }

  /** Wakes the leader's connection. */
  wake(): void {
    if (this.#socket !== null) this.#socket.wake();
    else this.#tell({ kind: "wake" });
  }

  /** Ends the link of this tab; a logout ends that of every tab. */
  close(reason: EndReason = "closed"): void {
    if (this.#ended.signal.aborted) return;
    if (reason !== "closed") this.#tell({ kind: "close", reason });
    this.#finish({ name: "ended", reason, message: "closed here" });
  }

  /** Holds the lock until the link ends. */
  #lead(): Promise<void> {
    if (this.#ended.signal.aborted) return Promise.resolve();
    const held = new Promise<void>((resolve) => this.#releaseLock = resolve);
    this.#socket = new SocketLink(this.#options);
    this.#socket.open({
      state: (state) => {
        if (state.name !== "up") this.#forwarded.clear();
        this.#tell({ kind: "state", state });
        if (state.name === "ended") this.#finish(state);
        else this.#set(state);
      },
      reply: (text) => this.#replied(text),
      event: (text) => {
        this.#tell({ kind: "event", text });
        this.#observer?.event(text);
      },
    });
    return held;
  }

  #heard(message: TabMessage): void {
    if (this.#ended.signal.aborted) return;
    const leads = this.#socket !== null;
    switch (message.kind) {
      case "hello":
        if (leads) this.#tell({ kind: "state", state: this.#state });
        return;
      case "wake":
        this.#socket?.wake();
        return;
      case "send":
        // A request made before the last reconnect is repeated by its tab, which has heard of it by then.
        if (leads && this.#state.name === "up" && this.#state.connection === message.connection) {
          this.#forward(message.command, message.requestId, message.body, false);
        }
        return;
      case "close":
        this.#finish({ name: "ended", reason: message.reason, message: "another tab ended the login" });
        return;
    }
    if (leads) return;
    if (message.kind === "state") {
      if (message.state.name === "ended") this.#finish(message.state);
      else this.#set(message.state);
    } else if (message.kind === "reply") this.#observer?.reply(message.text);
    else this.#observer?.event(message.text);
  }

  #forward(command: string, requestId: string, body: string, own: boolean): boolean {
    if (TOLD_TO_OTHERS.has(command)) this.#forwarded.set(requestId, { own, command, body });
    return this.#socket?.send(command, requestId, body) ?? false;
  }

  /** Every tab gets every reply and knows its own by the id. */
  #replied(text: string): void {
    const reply = JSON.parse(text) as { requestId?: string; code: number; result?: Record<string, unknown> };
    const forwarded = reply.requestId === undefined ? undefined : this.#forwarded.get(reply.requestId);
    if (forwarded !== undefined) this.#forwarded.delete(reply.requestId!);
    const event = forwarded === undefined || reply.code !== 0 || reply.result === undefined
      ? null
      : this.#eventOf(forwarded, reply.result);
    // The tab that asked hears the reply first; to it the event is then an old one.
    this.#tell({ kind: "reply", text });
    this.#observer?.reply(text);
    if (event === null) return;
    const eventText = JSON.stringify(event);
    this.#tell({ kind: "event", text: eventText });
    if (forwarded?.own === false) this.#observer?.event(eventText);
  }

  /** What the server tells other sockets about a request of ours. */
  #eventOf(forwarded: Forwarded, result: Record<string, unknown>): Event | null {
    const request = JSON.parse(forwarded.body) as Record<string, unknown>;
    switch (forwarded.command) {
      case "message.send": {
        const send = request as unknown as Commands["message.send"]["request"];
        const entry = entryOfSend(
          this.#options.userId,
          send,
          result as unknown as Commands["message.send"]["result"],
        );
        return entry === null ? null : { type: "message", ...entry };
      }
      case "conversation.read":
        return { type: "read", conversation: request.conversation, ...result } as unknown as Event;
      default:
        return { type: "user", userId: this.#options.userId, version: String(result.updatedAt) };
    }
  }

  #finish(state: LinkState): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#set(state);
    this.#socket?.close();
    this.#releaseLock?.();
    this.#channel.close();
  }

  #tell(message: TabMessage): void {
    if (!this.#ended.signal.aborted) this.#channel.postMessage(message);
  }

  #set(state: LinkState): void {
    this.#state = state;
    this.#observer?.state(state);
  }
}
