import type { Log } from "../log.ts";
import type { MqttOwner, MqttState, StoredMqttSession } from "../store/mod.ts";
import { type ClientConnection, ClientSession, JournalLog } from "./client_session.ts";
import { SharedPublication } from "./encode_publication.ts";
import type { Journal } from "./journal.ts";
import type { BrokerLimits } from "./limits.ts";
import type { ConnectPacket, DisconnectPacket, Will } from "./packet.ts";
import { PeerLog } from "./peer_log.ts";
import { REASONS } from "./protocol_error.ts";
import type { Router } from "./router.ts";
import { Session, type SessionRules } from "./session.ts";

/** Session Expiry Interval of a session that lasts for ever. */
const FOR_EVER_SECONDS = 0xffff_ffff;

/** What sessions need. */
export interface SessionsOptions {
  readonly limits: BrokerLimits;
  readonly router: Router;
  readonly journal: Journal;
  readonly log: Log;
  /** Where the bodies of messages for clients that are away lie. */
  readonly state: Pick<MqttState, "listQueued">;
  /** The rules for clients of this user; the user is empty for anonymous ones. */
  readonly rulesFor: (userId: string) => SessionRules;
}

/** A session that is ready for its client. */
export interface ClaimedSession {
  readonly client: ClientSession;
  /** Whether it was there before: the client may count on its subscriptions and messages. */
  readonly isPresent: boolean;
}

/**
 * The sessions of this node, by user and client identifier, from their first CONNECT to their end.
 *
 * Source: MQTT Version 5.0, sections 3.1.2.4, 3.1.2.5, 3.1.2.11.2 and 4.1.
 */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #sessions = new Map<string, ClientSession>();
  /** Those whose client is away. */
  readonly #away = new Set<ClientSession>();
  #persistent = 0;
  /** Wills to be sent, oldest first, while one is being sent. */
  readonly #dueWills: { readonly client: ClientSession; readonly will: Will }[] = [];
  #isSendingWills = false;
  readonly #unsentLog: PeerLog;
  /** While it is true, no will is sent and none is kept. */
  isDraining = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#unsentLog = new PeerLog(options.log, "will not published: too much is retained", "warn");
  }

  /** Sessions, of connected clients and of those that are away. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Sessions that outlive their connections. */
  get persistent(): number {
    return this.#persistent;
  }

  /** Takes up the sessions that were stored; a client that was connected then has lost its connection just now. */
  restore(stored: readonly StoredMqttSession[], nowMs: number): void {
    const { router, rulesFor } = this.#options;
    for (const { owner, record, subscriptions, queued, received } of stored) {
      const client = this.#make(owner, new Session(rulesFor(owner.userId)));
      this.#persist(client);
      client.expirySeconds = record.expirySeconds;
      client.disconnectedAtMs = record.disconnectedAtMs ?? nowMs;
      client.will = record.will;
      client.session.restore(client.log!, { subscriptions, queued, received });
      for (const [topicFilter, options] of client.session.subscriptions.listOpen()) {
        router.subscribe(client, topicFilter, options);
      }
      this.#away.add(client);
      if (record.disconnectedAtMs === null) client.log!.session();
    }
    this.sweep(nowMs);
  }

  /** The connection of this client, open or about to be; null when there is none. */
  connectionOf(owner: MqttOwner): ClientConnection | null {
    return this.#sessions.get(keyOf(owner))?.claimant ?? null;
  }

  /**
   * Makes a session ready for a CONNECT. The older connection of the client has been closed.
   * [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6]
   */
  async claim(
    owner: MqttOwner,
    { clean }: ConnectPacket,
    connection: ClientConnection,
  ): Promise<ClaimedSession | "server-unavailable"> {
    const older = this.#options.journal.asUnit(() => this.#ready(owner, clean, connection));
    const isPresent = older !== null;
    const client = older ?? this.#make(owner, new Session(this.#options.rulesFor(owner.userId)));
    client.claimant = connection;
    try {
      if (client.session.outbound.kept.lacksBodies) await this.#readBodies(client);
    } catch (error) {
      this.#options.log.error("messages of a session not read", error, { ...owner });
      return "server-unavailable";
    }
    return { client, isPresent };
  }

  /** The session that was there before and goes on; null for none. */
  #ready(owner: MqttOwner, clean: boolean, connection: ClientConnection): ClientSession | null {
    const older = this.#sessions.get(keyOf(owner));
    if (older === undefined) return null;
    if (clean) this.#end(older);
    // What time has brought and no sweep has seen yet came before this CONNECT. [MQTT-4.1.0-2]
    else this.#age(older, Date.now());
    if (!older.isEnded) return older;
    // Who begins anew must not find the old session again after a crash.
    if (older.log !== null) connection.hold();
    return null;
  }

  #make(owner: MqttOwner, session: Session): ClientSession {
    const client = new ClientSession(owner, session);
    this.#sessions.set(keyOf(owner), client);
    return client;
  }

  /** What is published meanwhile keeps its body: it may be stored too late to be found here. */
  async #readBodies(client: ClientSession): Promise<void> {
    const { journal, state } = this.#options;
    const { kept } = client.session.outbound;
    await journal.settled();
    for (const { seq, record } of await state.listQueued(client.owner)) {
      const { qos, packetId, publication } = record;
      if (publication !== null) kept.setBody(seq, qos, packetId, new SharedPublication(publication));
    }
    if (client.claimant === null) kept.dropBodies();
  }

  /** The connection of a claimed session is open; how many seconds the session will outlive it. */
  attach(client: ClientSession, connect: ConnectPacket, connection: ClientConnection): number {
    const { limits } = this.#options;
    client.connection = connection;
    this.#away.delete(client);
    client.expirySeconds = Math.min(connect.sessionExpirySeconds, limits.maxSessionExpirySeconds);
    if (client.log === null && this.#persistent >= limits.maxPersistentSessions) client.expirySeconds = 0;
    client.disconnectedAtMs = null;
    client.will = connect.will;
    if (client.expirySeconds > 0 && client.log === null) this.#persist(client);
    client.session.attach(connect, client.log);
    client.log?.session();
    return client.expirySeconds;
  }

  #persist(client: ClientSession): void {
    client.log = new JournalLog(client, this.#options.journal);
    this.#persistent++;
  }

  /** The client said good-bye. [MQTT-3.14.4-3], 3.1.1 [MQTT-3.14.4-3] */
  disconnect(client: ClientSession, { reason, sessionExpirySeconds }: DisconnectPacket): void {
    if (reason === REASONS.success) client.will = null; // [MQTT-3.1.2-8] [MQTT-3.1.2-10]
    if (sessionExpirySeconds === null) return;
    const most = client.log === null ? 0 : this.#options.limits.maxSessionExpirySeconds;
    client.expirySeconds = Math.min(sessionExpirySeconds, most);
  }

  /** The connection has ended, or was closed before its session was ready. */
  detach(owner: MqttOwner, connection: ClientConnection): void {
    const client = this.#sessions.get(keyOf(owner));
    if (client?.claimant === connection) this.#options.journal.asUnit(() => this.#detach(client));
  }

  #detach(client: ClientSession): void {
    client.claimant = null;
    const wasOpen = client.connection !== null;
    client.connection = null;
    if (!wasOpen && this.#away.has(client)) return client.session.outbound.kept.dropBodies();
    client.session.detach();
    if (this.isDraining) client.will = null;
    if (client.expirySeconds === 0) this.#end(client); // [MQTT-3.1.2-23]
    else {
      client.disconnectedAtMs = Date.now();
      this.#away.add(client);
      const will = this.#takeDueWill(client, client.disconnectedAtMs);
      client.log!.session();
      if (will !== null) this.#publishWill(client, will);
    }
  }

  /** The session is over; a will that waited for that is sent. [MQTT-3.1.3-9] */
  #end(client: ClientSession): void {
    const { router } = this.#options;
    client.isEnded = true;
    if (this.#sessions.get(keyOf(client.owner)) === client) this.#sessions.delete(keyOf(client.owner));
    this.#away.delete(client);
    for (const [topicFilter] of client.session.subscriptions.listOpen()) {
      router.unsubscribe(client, topicFilter);
    }
    if (client.log !== null) {
      client.log.forget();
      this.#persistent--;
    }
    const { will } = client;
    client.will = null;
    if (will !== null) this.#publishWill(client, will);
  }

  /** Time goes by: sends wills that are due, and ends sessions. */
  sweep(nowMs: number): void {
    if (this.isDraining) return;
    for (const client of this.#away) {
      if (client.claimant !== null) continue;
      this.#options.journal.asUnit(() => this.#age(client, nowMs));
    }
  }

  #age(client: ClientSession, nowMs: number): void {
    if (isOver(client, nowMs)) return this.#end(client);
    const will = this.#takeDueWill(client, nowMs);
    if (will === null) return;
    client.log!.session();
    this.#publishWill(client, will);
  }

  #takeDueWill(client: ClientSession, nowMs: number): Will | null {
    const { will, disconnectedAtMs } = client;
    if (will === null || nowMs < disconnectedAtMs! + will.delaySeconds * 1_000) return null;
    client.will = null;
    return will;
  }

  /** A will may cut off who does not read it, whose will is due then, and so on: one after the other, not within. */
  #publishWill(client: ClientSession, will: Will): void {
    this.#dueWills.push({ client, will });
    if (this.#isSendingWills) return;
    this.#isSendingWills = true;
    try {
      for (let due = this.#dueWills.shift(); due !== undefined; due = this.#dueWills.shift()) {
        this.#sendWill(due.client, due.will);
      }
    } finally {
      this.#isSendingWills = false;
    }
  }

  #sendWill({ owner }: ClientSession, { publication, expirySeconds }: Will): void {
    const expiresAtMs = expirySeconds === null ? null : Date.now() + expirySeconds * 1_000;
    const reason = this.#options.router.publish({ ...publication, expiresAtMs }, null);
    if (reason < 0x80) return;
    this.#unsentLog.tell({ ...owner, topic: publication.topic }, performance.now());
  }
}

/** Whether its client has been away for longer than its session lasts. [MQTT-4.1.0-2] */
function isOver({ expirySeconds, disconnectedAtMs }: ClientSession, nowMs: number): boolean {
  if (disconnectedAtMs === null || expirySeconds === FOR_EVER_SECONDS) return false;
  return nowMs >= disconnectedAtMs + expirySeconds * 1_000;
}

/** Identifiers hold no U+0000. */
function keyOf({ userId, clientId }: MqttOwner): string {
  return `${userId}\0${clientId}`;
}
