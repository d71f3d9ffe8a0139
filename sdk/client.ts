/**
 * The Hearth client: requests with answers, events in order, nothing missed and nothing twice.
 *
 * @module
 */
import type { CommandName, Commands, Conversation, Entry, Event, MessageContent, Refusal } from "../wire.ts";
import type { ClientEvents, ClientState } from "./events.ts";
import { SocketLink } from "./link.ts";
import type { EndReason, Link, LinkState, SocketLinkOptions } from "./link.ts";
import { randomId } from "./random_id.ts";
import { PendingRequests, RequestError } from "./requests.ts";
import { startAfterSync, Timeline } from "./timeline.ts";
import type { Position } from "./timeline.ts";

/** Requests of the sync are not repeated on another connection. */
const SYNC_PREFIX = "sync-";

/** How a {@link HearthClient} behaves. */
export interface ClientOptions {
  /** My user id. */
  readonly userId: string;
  /** Where an earlier run stood; without it the client starts as a new device. */
  readonly position?: Position;
  /** Default true: a new device lists its conversations (`conversations` events). Bots may leave that out. */
  readonly listConversations?: boolean;
  /** More missed entries than this and the client starts as a new device; default: any number is pulled. */
  readonly maxCatchUp?: number;
  /** How long a request may take, waiting for the network included; default 30,000 ms. */
  readonly timeoutMs?: number;
}

/** Connects as a user over a WebSocket of its own. Browsers with several tabs use {@link TabLink} instead. */
export function connect(options: ClientOptions & SocketLinkOptions): HearthClient {
  return new HearthClient(new SocketLink(options), options);
}

/** A user's client. Requests made while it is not online are sent, with the same ids, when it is. */
export class HearthClient {
  readonly #link: Link;
  readonly #options: ClientOptions;
  readonly #observers = new Map<keyof ClientEvents, Set<(value: never) => void>>();
  readonly #requests = new PendingRequests();
  readonly #timelines = new Map<string, Timeline>();
  readonly #pulling = new Set<string>();
  #epoch: string | null = null;
  #state: ClientState = { name: "idle" };
  #connection = "";
  #opened = false;
  #syncTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #waits = new Set<() => void>();

  /** Nothing happens before {@link open}. */
  constructor(link: Link, options: ClientOptions) {
    this.#link = link;
    this.#options = options;
    if (options.position !== undefined) {
      this.#epoch = options.position.epoch;
      this.#timelines.set("me", new Timeline(options.position.cursor));
    }
  }

  /** Where the client stands now. */
  get state(): ClientState {
    return this.#state;
  }

  /** My user id. */
  get userId(): string {
    return this.#options.userId;
  }

  /** What to pass as `position` next time; `null` before the first sync. */
  get position(): Position | null {
    const timeline = this.#timelines.get("me");
    return this.#epoch === null || timeline === undefined
      ? null
      : { epoch: this.#epoch, cursor: timeline.cursor };
  }

  /** Observes one kind of event; returns what ends the observation. */
  on<K extends keyof ClientEvents>(kind: K, observer: (value: ClientEvents[K]) => void): () => void {
    let observers = this.#observers.get(kind);
    if (observers === undefined) this.#observers.set(kind, observers = new Set());
    observers.add(observer);
    return () => void observers.delete(observer);
  }

  /** Connects, and stays connected until {@link close}, a logout, or a reason that a retry cannot change. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#link.open({
      state: (state) => this.#linkChanged(state),
      reply: (text) => this.#requests.answer(text, this.userId, (entry) => this.#offer(entry)),
      event: (text) => this.#happened(JSON.parse(text) as Event),
    });
  }

  /** Resolves when the client is online, rejects when it ended. */
  online(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (state: ClientState) => {
        if (state.name === "online") resolve();
        else if (state.name === "ended") reject(new Error(`the connection ended: ${state.reason}`));
        else return;
        stop();
      };
      const stop = this.on("state", look);
      look(this.#state);
    });
  }

  /**
   * Makes a request. `requestId` (and `clientMessageId` for `message.send`) are set here when missing and repeated
   * unchanged after a reconnect, so it happens once. Rejects with {@link RequestError}.
   */
  request<C extends CommandName>(
    command: C,
    request: Commands[C]["request"] & { readonly requestId?: string },
  ): Promise<Commands[C]["result"]> {
    return this.#ask(command, request, this.#state.name === "online");
  }

  /**
   * Sends a message; a text when `content` is a string. Use the same `clientMessageId` to try again.
   * Rejects with {@link RequestError}.
   */
  send(
    conversation: Conversation,
    content: string | MessageContent,
    clientMessageId: string = randomId(),
  ): Promise<Commands["message.send"]["result"]> {
    const body = typeof content === "string"
      ? { type: 1, searchableContent: content, persistFlag: 3 }
      : content;
    return this.request("message.send", { clientMessageId, conversation, content: body });
  }

  /** Looks at once whether the connection lives: for a page that was hidden, a laptop that slept. */
  wake(): void {
    this.#link.wake();
  }

  /**
   * Ends this login on the server, then closes. Rejects with {@link RequestError}, and stays open, when the server
   * could not be told in time: the login is then still alive.
   */
  async logout(): Promise<void> {
    try {
      await this.request("session.logout", {});
    } catch (error) {
      // The server may close the connection before its answer has come through.
      if (this.#state.name === "ended" && this.#state.reason === "logout") return;
      throw error;
    }
    this.close("logout");
  }

  /** Closes for good; what is still unanswered is rejected. */
  close(reason: EndReason = "closed"): void {
    this.#link.close(reason);
    if (this.#state.name !== "ended") this.#end(reason, "closed here");
  }

  #ask<C extends CommandName>(
    command: C,
    request: Commands[C]["request"] & { readonly requestId?: string },
    sendNow: boolean,
  ): Promise<Commands[C]["result"]> {
    if (this.#state.name === "ended") {
      return Promise.reject(new RequestError(endedRefusal(this.#state.reason)));
    }
    return this.#requests.add(
      command,
      request,
      this.#options.timeoutMs ?? 30_000,
      (requestId, body) => void (sendNow && this.#link.send(command, requestId, body)),
      () => this.#link.wake(),
    );
  }

  #linkChanged(state: LinkState): void {
    if (state.name === "up") {
      if (state.connection === this.#connection) return;
      this.#leaveConnection();
      this.#connection = state.connection;
      // What a lost connection was asked while syncing belongs to that connection: the new one starts over.
      this.#requests.refuse(
        { code: 4, error: "server/error", message: "the connection was lost" },
        SYNC_PREFIX,
      );
      this.#pulling.clear();
      void this.#sync(state.connection);
      return;
    }
    this.#leaveConnection();
    if (state.name === "ended") this.#end(state.reason, state.message);
    else this.#set(state);
  }

  /** Subscribed already; so: sync, list (a new device), pull, then what waited. Nothing falls between. */
  async #sync(connection: string): Promise<void> {
    if (this.#state.name !== "syncing") this.#set({ name: "syncing" });
    try {
      const held = this.position;
      const answer = await this.#askNow("sync", held === null ? {} : { ...held });
      if (connection !== this.#connection) return;
      const start = startAfterSync(held, answer, this.#options.maxCatchUp ?? Number.MAX_SAFE_INTEGER);
      this.#epoch = answer.epoch;
      if (start === "new-device") {
        this.#timelines.clear();
        if (this.#options.listConversations !== false) await this.#listConversations(connection);
        if (connection !== this.#connection) return;
        this.#timelines.set("me", new Timeline(answer.head));
      }
      this.#timelines.get("me")?.hear(answer.head);
      for (const { timeline, head } of answer.timelines) {
        const own = this.#timelines.get(timeline);
        if (own === undefined) this.#timelines.set(timeline, new Timeline(head));
        else own.hear(head);
      }
      // A new device pulls at once too: what came while it listed has a seq above the head it was given.
      for (const timeline of this.#timelines.keys()) await this.#pull(timeline, start === "new-device");
      if (connection !== this.#connection || this.#epoch !== answer.epoch) return;
      this.#set({ name: "online" });
      this.#requests.repeat((command, requestId, body) => void this.#link.send(command, requestId, body));
    } catch (error) {
      this.#syncAgain(connection, error);
    }
  }

  /** The connection is up but could not answer: until it does, something may be missing. */
  #syncAgain(connection: string, error: unknown): void {
    if (connection !== this.#connection) return;
    if (!(error instanceof RequestError)) throw error;
    this.#set({ name: "syncing" });
    const delayMs = error.retryAfterMs ?? 1000 + Math.random() * 2000;
    clearTimeout(this.#syncTimer);
    this.#syncTimer = setTimeout(() => void this.#sync(connection), delayMs);
  }

  async #listConversations(connection: string): Promise<void> {
    let pageToken: string | undefined;
    let first = true;
    do {
      const page = await this.#askNow("conversation.list", pageToken === undefined ? {} : { pageToken });
      if (connection !== this.#connection) return;
      pageToken = page.nextPageToken || undefined;
      this.#tell("conversations", {
        conversations: page.conversations,
        first,
        last: pageToken === undefined,
      });
      first = false;
    } while (pageToken !== undefined);
  }

  /** Asks on this connection alone, online or not. A server that finds the client too quick is asked later. */
  async #askNow<C extends CommandName>(
    command: C,
    request: Commands[C]["request"],
  ): Promise<Commands[C]["result"]> {
    const connection = this.#connection;
    for (;;) {
      try {
        return await this.#ask(command, { ...request, requestId: `${SYNC_PREFIX}${randomId()}` }, true);
      } catch (error) {
        if (!(error instanceof RequestError) || error.error !== "request/too-often") throw error;
        await this.#wait(error.retryAfterMs ?? 1000);
        if (connection !== this.#connection) throw error;
      }
    }
  }

  /** Waits, at most until the connection is another one. */
  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waits.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waits.add(done);
    });
  }

  /** Pulls until nothing is missing; entries that events bring meanwhile are applied where they fit. */
  async #pull(name: string, always: boolean): Promise<void> {
    const timeline = this.#timelines.get(name);
    if (timeline === undefined || this.#pulling.has(name)) return;
    this.#pulling.add(name);
    const connection = this.#connection;
    try {
      while ((always || timeline.isBehind) && connection === this.#connection) {
        always = false;
        const page = await this.#askNow("message.pull", {
          timeline: name,
          cursor: timeline.cursor,
          limit: 500,
        });
        if (connection !== this.#connection) return;
        if (page.epoch !== this.#epoch) {
          this.#epoch = null;
          return void this.#sync(connection);
        }
        const before = timeline.cursor;
        for (const entry of timeline.take(page)) this.#tell("entry", entry);
        if (timeline.cursor === before) return; // the server has no more, whatever was heard
      }
    } finally {
      if (connection === this.#connection) this.#pulling.delete(name);
    }
  }

  #happened(event: Event): void {
    switch (event.type) {
      case "message":
        return this.#offer(event);
      case "transparent":
        return this.#tell("transparent", event.message);
      case "read":
      case "receipt":
      case "user":
      case "kicked":
        return this.#tell(event.type, event as never);
      case "devices":
        return this.#tell("devices", {});
    }
  }

  #offer(entry: Entry): void {
    const timeline = this.#timelines.get(entry.timeline);
    if (timeline === undefined) return; // before the first sync has set a cursor: the pull after it brings this
    // An event that was too large for this client comes without its body.
    const whole: boolean = "message" in entry || "messageId" in entry;
    if (!whole) timeline.hear(entry.seq);
    const verdict = whole ? timeline.offer(entry.seq) : timeline.isBehind ? "pull" : "ignore";
    if (verdict === "apply") this.#tell("entry", entry);
    else if (verdict === "pull" && this.#state.name === "online") {
      const connection = this.#connection;
      this.#pull(entry.timeline, false).catch((error: unknown) => this.#syncAgain(connection, error));
    }
  }

  #leaveConnection(): void {
    this.#connection = "";
    clearTimeout(this.#syncTimer);
    for (const done of [...this.#waits]) done();
  }

  #end(reason: EndReason, message: string): void {
    this.#leaveConnection();
    this.#set({ name: "ended", reason, message });
    this.#requests.refuse(endedRefusal(reason));
  }

  #set(state: ClientState): void {
    this.#state = state;
    this.#tell("state", state);
  }

  /** An observer that throws is its owner's bug: it is reported as such and stops nothing here. */
  #tell<K extends keyof ClientEvents>(kind: K, value: ClientEvents[K]): void {
    for (const observer of this.#observers.get(kind) ?? []) {
      try {
        (observer as (value: ClientEvents[K]) => void)(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

function endedRefusal(reason: EndReason): Refusal {
  return { code: 6, error: "token/invalid", message: `the connection ended: ${reason}` };
}
