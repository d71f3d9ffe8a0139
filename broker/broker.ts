import type { Caller, Im, Login, Notice } from "../im/mod.ts";
import type { Log } from "../log.ts";
import { type AdmissionRefusal, Admissions, type Peer } from "./admission.ts";
import { authenticate } from "./authentication.ts";
import type { BrokerStats } from "./broker_stats.ts";
import type { ByteStream } from "./byte_stream.ts";
import type { ConnectRefusal } from "./connect.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Delivery } from "./delivery.ts";
import { closeBySteps } from "./drain.ts";
import { Flusher } from "./flusher.ts";
import type { BrokerLimits } from "./limits.ts";
import { NodeState } from "./node_state.ts";
import { OpenStreams } from "./open_streams.ts";
import type { ConnectPacket } from "./packet.ts";
import { PeerLog } from "./peer_log.ts";
import { Presence } from "./presence.ts";
import { type ProtocolError, REASONS } from "./protocol_error.ts";
import type { RateLimit } from "./rate_limits.ts";
import { Registry } from "./registry.ts";
import type { Reply } from "./reply.ts";
import { Requests } from "./requests.ts";
import { TcpListener } from "./tcp_listener.ts";
import { TlsListener, type TlsListenerOptions } from "./tls_listener.ts";
import { WebSocketStream } from "./web_socket_stream.ts";
import { WsListener, type WsListenerOptions } from "./ws_listener.ts";

/** What a broker is made of. */
export interface BrokerOptions {
  /** What requests mean. */
  readonly im: Im;
  /** Where events of connections are told. */
  readonly log: Log;
  /** What a connection, an address or a user may take. */
  readonly limits: BrokerLimits;
  /** Requests per user, client and command where they differ from the built-in limits; `off` for no limits. */
  readonly rateLimits: "off" | ReadonlyMap<string, RateLimit>;
  /** Whether clients without a login may connect; they may use open topics only. */
  readonly brokerAnonymous: boolean;
  /** Topic filters that every connected client may publish and subscribe to. */
  readonly openTopics: readonly string[];
}

/** How often connections are looked over for what is late, in milliseconds. */
const TICK_MS = 1_000;
/** How often sockets that take no more are looked at. */
const RETRY_MS = 20;
/** How long peers may take at a drain to close their side of what we have closed. */
const DRAIN_CLOSE_MS = 2_500;

/** How long the store may take at a drain for what is not stored yet; nobody has been told that it is. */
const DRAIN_STORE_MS = 10_000;

/** Holds the connections of this node, carries requests to `im` and brings its notices back. */
export class Broker {
  readonly #im: Im;
  readonly #log: Log;
  readonly #limits: BrokerLimits;
  readonly #admissions: Admissions;
  readonly #requests: Requests;
  readonly #registry = new Registry();
  readonly #delivery = new Delivery(this.#registry);
  readonly #presence: Presence;
  readonly #peerLog: PeerLog;
  readonly #state: NodeState;
  readonly #connections = new Set<Connection>();
  readonly #paused = new Set<Connection>();
  readonly #listeners: { close(): void }[] = [];
  readonly #streams = new OpenStreams();
  readonly #host: ConnectionHost;
  readonly #ticker: ReturnType<typeof setInterval>;
  #tickedAtMs: number;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  /** CONNECTs that are being looked up, also of connections that are closed meanwhile. */
  #authenticating = 0;
  readonly #counts = {
    accepted: 0,
    failedConnects: 0,
    protocolErrors: 0,
    cutOff: 0,
    takenOver: 0,
  };

  private constructor(options: BrokerOptions, state: NodeState) {
    const { im, log, limits } = options;
    this.#im = im;
    this.#log = log;
    this.#limits = limits;
    this.#state = state;
    this.#admissions = new Admissions(limits);
    this.#requests = new Requests({ ...options, notify: (notices) => this.notify(notices) });
    this.#presence = new Presence(im.store.kv, log);
    this.#peerLog = new PeerLog(log);
    this.#host = this.#makeHost(options.brokerAnonymous);
    this.#tickedAtMs = performance.now();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Makes a broker with the sessions and retained messages that were stored; it listens nowhere yet. */
  static async open(options: BrokerOptions): Promise<Broker> {
    const { mqtt } = options.im.store.kv;
    return new Broker(options, await NodeState.load({ ...options, state: mqtt }));
  }

  #makeHost(allowsAnonymous: boolean): ConnectionHost {
    const { router, journal, sessions, hasOpenTopics } = this.#state;
    return {
      ...{ router, journal, sessions, hasOpenTopics, allowsAnonymous },
      limits: this.#limits,
      flusher: new Flusher(),
      accessFor: (isAnonymous) => this.#state.accessFor(isAnonymous),
      authenticate: (connect, appToken) => this.#authenticate(connect, appToken, allowsAnonymous),
      register: (connection) => this.#register(connection),
      perform: (caller, command, body, answer) => this.#requests.perform(caller, command, body, answer),
      connectFailed: (connection) => {
        this.#counts.failedConnects++;
        this.#admissions.fail(connection.admission, Date.now());
      },
      peerBroke: (connection, error) => this.#peerBroke(connection, error),
      failed: (connection, cause) => this.#log.error("connection failed", cause, { ...connection.owner }),
      paused: (connection) => {
        this.#paused.add(connection);
        this.#retryTimer ??= setTimeout(() => this.#retryPaused(), RETRY_MS);
      },
      cutOff: (connection) => {
        this.#counts.cutOff++;
        this.#log.debug("slow connection cut off", { ...connection.owner });
      },
      closed: (connection) => this.#closed(connection),
    };
  }

  /**
   * Carries out one request, through whichever door it came.
   *
   * `answer` is called exactly once, in the turn in which the command settles and before its notices are delivered;
   * it must not throw. A request over a rate limit is refused with `request/too-often`.
   *
   * @param body a JSON object in UTF-8; `requestId` in it comes back
   * @returns resolves when the next request of the same connection may start; null when it may at once
   */
  perform(
    caller: Caller,
    command: string,
    body: Uint8Array | string,
    answer: (reply: Reply) => void,
  ): Promise<void> | null {
    return this.#requests.perform(caller, command, body, answer);
  }

  /** Delivers notices to the connections of this node. */
  notify(notices: readonly Notice[]): void {
    for (const notice of notices) {
      if (notice.kind !== "close" || this.#admissions.unauthenticated === 0) continue;
      // A connection that is being authenticated may have been found good a moment before its login ended.
      for (const connection of this.#connections) connection.noteEndedLogin(notice.loginId);
    }
    this.#delivery.deliver(notices);
  }

  /** Why a connection from this peer would not be taken now; null when it would. */
  refuseConnection(peer: Peer): AdmissionRefusal | null {
    return this.#admissions.refuse(peer, Date.now());
  }

  /**
   * Takes over a WebSocket as it comes from the upgrade. Ask {@linkcode Broker.refuseConnection} before.
   *
   * @param appToken the login cookie of a page of our own origin: it takes the place of a password
   */
  acceptWebSocket(
    socket: WebSocket,
    options: { readonly peer: Peer; readonly appToken: string | null },
  ): void {
    this.#accept(new WebSocketStream(socket, options.peer, this.#streams), options.appToken);
  }

  /**
   * Listens for MQTT over TCP.
   *
   * @param options port 0 takes any free one
   */
  listenTcp(options: { readonly hostname: string; readonly port: number }): { readonly port: number } {
    const listener = new TcpListener({
      log: this.#log,
      streams: this.#streams,
      isRefused: (peer) => this.refuseConnection(peer) !== null,
      accept: (stream) => this.#accept(stream, null),
    }, options);
    this.#listeners.push(listener);
    return { port: listener.port };
  }

  /**
   * Listens for MQTT over TLS.
   *
   * @param options port 0 takes any free one
   * @throws {CertificateError} for a certificate and a private key that cannot be used
   */
  async listenTls(options: TlsListenerOptions): Promise<{ readonly port: number }> {
    const listener = await TlsListener.open({
      log: this.#log,
      streams: this.#streams,
      limits: this.#limits,
      admissions: this.#admissions,
      accept: (stream) => this.#accept(stream, null),
    }, options);
    this.#listeners.push(listener);
    return { port: listener.port };
  }

  /**
   * Listens for MQTT over WebSocket on a port of its own, where a message of more than 4 × `maxPacketBytes` is refused
   * from its first bytes. The login cookie is not read there.
   *
   * @param options port 0 takes any free one; `screen` decides who may connect
   */
  async listenWebSocket(options: WsListenerOptions): Promise<{ readonly port: number }> {
    const listener = await WsListener.open({
      log: this.#log,
      streams: this.#streams,
      limits: this.#limits,
      admissions: this.#admissions,
      peerBroke: ({ address }, reason) => {
        this.#counts.protocolErrors++;
        this.#peerLog.tell({ address, reason }, performance.now());
      },
      accept: (stream) => this.#accept(stream, null),
    }, options);
    this.#listeners.push(listener);
    return { port: listener.port };
  }

  #accept(stream: ByteStream, appToken: string | null): void {
    const nowMs = performance.now();
    this.#counts.accepted++;
    const admission = this.#admissions.admit(stream.peer, Date.now());
    const connection = new Connection(stream, { host: this.#host, admission, appToken, nowMs });
    this.#connections.add(connection);
    stream.open(connection);
  }

  async #authenticate(
    connect: ConnectPacket,
    appToken: string | null,
    allowsAnonymous: boolean,
  ): Promise<Login | null | ConnectRefusal> {
    this.#authenticating++;
    try {
      return await authenticate(this.#im, this.#log, connect, { appToken, allowsAnonymous });
    } finally {
      this.#authenticating--;
    }
  }

  #register(connection: Connection): ConnectRefusal | null {
    if (this.#admissions.isDraining) return "shutting-down";
    const { login, owner } = connection;
    const older = this.#state.sessions.connectionOf(owner!);
    if (older !== null) {
      this.#counts.takenOver++;
      older.close(REASONS.takenOver); // [MQTT-3.1.4-3], 3.1.1 [MQTT-3.1.4-2]
    } else if (
      login !== null &&
      this.#registry.listConnections(login.userId).length >= this.#limits.maxConnectionsPerUser
    ) {
      // The newest is refused: closing another one would only make the two take turns.
      return "quota-exceeded"; // [MQTT-3.1.4-2]
    }
    this.#admissions.authenticate(connection.admission);
    if (login === null) return null;
    const { userId, clientId } = login;
    this.#registry.add(userId, connection);
    const { node, epoch } = this.#im.store.lease;
    this.#presence.set(userId, clientId, { node, epoch, sinceMs: Date.now() });
    return null;
  }

  #closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#paused.delete(connection);
    const { admission, login, owner } = connection;
    this.#admissions.close(admission);
    this.#streams.whenClosed(connection.stream, () => this.#admissions.release(admission));
    if (login !== null && this.#registry.delete(login.userId, connection)) {
      this.#presence.set(login.userId, login.clientId, null);
    }
    if (owner !== null) this.#state.sessions.detach(owner, connection);
  }

  #peerBroke(connection: Connection, error: ProtocolError): void {
    this.#counts.protocolErrors++;
    const { login, stream } = connection;
    this.#peerLog.tell({
      address: stream.peer.address,
      reason: error.message,
      ...(login === null ? {} : { userId: login.userId }),
    }, performance.now());
  }

  #tick(): void {
    const nowMs = performance.now();
    const lateMs = nowMs - this.#tickedAtMs - TICK_MS;
    this.#tickedAtMs = nowMs;
    // When this process stood still, what the peers sent meanwhile has not been read yet.
    if (lateMs > TICK_MS) { for (const connection of this.#connections) connection.excuse(lateMs); }
    for (const connection of this.#connections) connection.tick(nowMs);
    this.#state.sweep(Date.now());
  }

  #retryPaused(): void {
    this.#retryTimer = undefined;
    const nowMs = performance.now();
    for (const connection of this.#paused) {
      if (!connection.retry(nowMs)) this.#paused.delete(connection);
    }
    if (this.#paused.size > 0) this.#retryTimer ??= setTimeout(() => this.#retryPaused(), RETRY_MS);
  }

  /** Whether a user is connected to this node; with `clientId`, whether that installation is. */
  isOnline(userId: string, clientId?: string): boolean {
    return clientId === undefined
      ? this.#registry.listConnections(userId).length > 0
      : this.#registry.getConnection(userId, clientId) !== null;
  }

  /** Figures for `/metrics`. */
  stats(): BrokerStats {
    return {
      connections: this.#connections.size - this.#admissions.unauthenticated,
      unauthenticated: this.#admissions.unauthenticated,
      users: this.#registry.users,
      ...this.#counts,
      ...this.#requests.counts,
      events: this.#delivery.events,
      ...this.#state.stats(),
    };
  }

  /** A store that fails must not keep the process from ending. */
  async #settleJournal(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), DRAIN_STORE_MS);
    });
    const settled = await Promise.race([this.#state.journal.settled(), late]);
    clearTimeout(timer);
    if (settled === "late") this.#log.error("MQTT sessions not stored before the end", "the store fails");
  }

  get #isBusy(): boolean {
    return this.#connections.size > 0 || this.#requests.running > 0 || this.#authenticating > 0;
  }

  /**
   * Takes no more connections, lets open requests finish, and closes the sockets one after the other over so many
   * seconds (5.0: DISCONNECT 0x8B), so that their clients do not all come back at once. Safe to call twice.
   */
  async drain(seconds: number): Promise<void> {
    this.#admissions.isDraining = true;
    this.#state.sessions.isDraining = true;
    for (const listener of this.#listeners) listener.close();
    await closeBySteps(this.#connections, seconds, () => this.#isBusy);
    clearTimeout(this.#retryTimer);
    clearInterval(this.#ticker);
    await this.#streams.settled(DRAIN_CLOSE_MS);
    await this.#presence.settled();
    await this.#settleJournal();
  }
}
