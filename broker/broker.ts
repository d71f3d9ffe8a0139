import {
  authenticateConnect,
  type Caller,
  execute,
  type Im,
  ImError,
  type Login,
  type Notice,
  parseRequest,
} from "../im/mod.ts";
import type { Log } from "../log.ts";
import { type AdmissionRefusal, Admissions, type Peer } from "./admission.ts";
import { type ByteStream, CLOSE_CODES } from "./byte_stream.ts";
import type { ConnectRefusal } from "./connect.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Delivery } from "./delivery.ts";
import { Flusher } from "./flusher.ts";
import type { BrokerLimits } from "./limits.ts";
import type { ConnectPacket } from "./packet.ts";
import { PeerLog } from "./peer_log.ts";
import { Presence } from "./presence.ts";
import { type ProtocolError, REASONS } from "./protocol_error.ts";
import { type RateLimit, RateLimits } from "./rate_limits.ts";
import { Registry } from "./registry.ts";
import { refusalReply, type Reply, successReply } from "./reply.ts";
import { rateName } from "./request_rate.ts";
import { TcpStream } from "./tcp_stream.ts";
import { WebSocketStream } from "./web_socket_stream.ts";

/** What a broker is made of. */
export interface BrokerOptions {
  readonly im: Im;
  readonly log: Log;
  readonly limits: BrokerLimits;
  /** Requests per user, client and command where they differ from the built-in limits; `off` for no limits. */
  readonly rateLimits: "off" | ReadonlyMap<string, RateLimit>;
}

/** Counters since the start, and what is now. */
export interface BrokerStats {
  /** Open connections with a good CONNECT, now. */
  readonly connections: number;
  /** Connections without one, now. */
  readonly unauthenticated: number;
  /** Users with at least one connection, now. */
  readonly users: number;
  readonly accepted: number;
  readonly failedConnects: number;
  readonly protocolErrors: number;
  /** Connections closed because they did not read. */
  readonly cutOff: number;
  readonly takenOver: number;
  /** Requests through every door. */
  readonly requests: number;
  readonly refusals: number;
  /** Events handed to connections. */
  readonly events: number;
}

/** How often connections are looked over for what is late, in milliseconds. */
const TICK_MS = 1_000;
/** How often sockets that take no more are looked at. */
const RETRY_MS = 20;
/** How often a drain closes some. */
const DRAIN_STEP_MS = 50;
/** Open requests of a connection may take so long at a drain, beyond its seconds. */
const DRAIN_PATIENCE_MS = 10_000;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
const REQUEST_ID = /^[\x20-\x7e]{1,64}$/;

/** Holds the connections of this node, carries requests to `im` and brings its notices back. */
export class Broker {
  readonly #im: Im;
  readonly #log: Log;
  readonly #limits: BrokerLimits;
  readonly #admissions: Admissions;
  readonly #rates: RateLimits;
  readonly #registry = new Registry();
  readonly #delivery = new Delivery(this.#registry);
  readonly #presence: Presence;
  readonly #peerLog: PeerLog;
  readonly #connections = new Set<Connection>();
  readonly #paused = new Set<Connection>();
  readonly #listeners: Deno.TcpListener[] = [];
  readonly #host: ConnectionHost;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #tickedAtMs = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #running = 0;
  readonly #counts = {
    accepted: 0,
    failedConnects: 0,
    protocolErrors: 0,
    cutOff: 0,
    takenOver: 0,
    requests: 0,
    refusals: 0,
  };

  /** Makes a broker that listens nowhere yet. */
  constructor(options: BrokerOptions) {
    this.#im = options.im;
    this.#log = options.log;
    this.#limits = options.limits;
    this.#admissions = new Admissions(options.limits);
    this.#rates = new RateLimits(options.rateLimits);
    this.#presence = new Presence(options.im.store.kv, options.log);
    this.#peerLog = new PeerLog(options.log);
    this.#host = this.#makeHost();
  }

  #makeHost(): ConnectionHost {
    return {
      limits: this.#limits,
      flusher: new Flusher(),
      authenticate: (connect, appToken) => this.#authenticate(connect, appToken),
      register: (connection, login) => this.#register(connection, login),
      perform: (caller, command, body, answer) => this.perform(caller, command, body, answer),
      connectFailed: (connection) => {
        this.#counts.failedConnects++;
        this.#admissions.fail(connection.admission, Date.now());
      },
      peerBroke: (connection, error) => this.#peerBroke(connection, error),
      failed: (cause) => this.#log.error("connection failed", cause),
      paused: (connection) => {
        this.#paused.add(connection);
        this.#retryTimer ??= setTimeout(() => this.#retryPaused(), RETRY_MS);
      },
      cutOff: (connection) => {
        this.#counts.cutOff++;
        this.#log.debug("slow connection cut off", {
          userId: connection.login?.userId,
          clientId: connection.login?.clientId,
        });
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
    this.#counts.requests++;
    // Over HTTP the path says which command it was.
    const named = caller.door === "mqtt" ? command : null;
    let requestId: string | null = null;
    const refuse = (cause: unknown) => {
      this.#counts.refusals++;
      answer(refusalReply(requestId, named, this.#toRefusal(cause, command)));
    };
    let request: Record<string, unknown>;
    try {
      request = parseRequest(body);
      requestId = requireRequestId(request);
      const rate = rateName(command, request);
      const retryAfterMs = this.#rates.take(caller.userId, caller.clientId, rate, Date.now());
      if (retryAfterMs > 0) {
        throw new ImError("request/too-often", "Too many requests. Try again later.", { retryAfterMs });
      }
    } catch (refusal) {
      refuse(refusal);
      return null;
    }
    const { entered, outcome } = execute(this.#im, caller, command, request);
    this.#running++;
    outcome.then(({ resultJson, notices }) => {
      this.#running--;
      answer(successReply(requestId, named, resultJson));
      if (notices.length > 0) this.notify(notices);
    }, (cause) => {
      this.#running--;
      refuse(cause);
    }).catch((cause) => this.#log.error("request not answered", cause, { command }));
    return entered;
  }

  /** What is no refusal is a bug: it is logged with its cause, and the caller may try again. */
  #toRefusal(cause: unknown, command: string): ImError {
    if (cause instanceof ImError) return cause;
    this.#log.error("command failed", cause, { command: command.slice(0, 64) });
    return new ImError("server/error", "Something went wrong here. Try again.");
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
    this.#accept(new WebSocketStream(socket, options.peer), options.appToken);
  }

  /**
   * Listens for MQTT over TCP.
   *
   * @param options port 0 takes any free one
   */
  listenTcp(options: { readonly hostname: string; readonly port: number }): { readonly port: number } {
    const listener = Deno.listen({ ...options, transport: "tcp" });
    this.#listeners.push(listener);
    this.#acceptTcp(listener).catch((cause) => this.#log.error("TCP listener failed", cause));
    return { port: listener.addr.port };
  }

  async #acceptTcp(listener: Deno.TcpListener): Promise<void> {
    while (this.#listeners.includes(listener)) {
      let conn: Deno.TcpConn;
      try {
        conn = await listener.accept();
      } catch (error) {
        if (!this.#listeners.includes(listener)) return;
        // Out of file descriptors, or a peer that left while it was being accepted: the next one may do better.
        this.#log.warn("TCP connection not accepted", { error: String(error) });
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      const peer = { address: conn.remoteAddr.hostname, isTrustedProxy: false };
      if (this.refuseConnection(peer) !== null) {
        conn.close();
        continue;
      }
      try {
        conn.setNoDelay(true);
        conn.setKeepAlive(true);
      } catch {
        // It is gone already; reading will tell.
      }
      this.#accept(new TcpStream(conn, peer, this.#log), null);
    }
  }

  #accept(stream: ByteStream, appToken: string | null): void {
    const nowMs = performance.now();
    this.#counts.accepted++;
    const admission = this.#admissions.admit(stream.peer, Date.now());
    const connection = new Connection(stream, { host: this.#host, admission, appToken, nowMs });
    this.#connections.add(connection);
    if (this.#ticker === undefined) {
      this.#tickedAtMs = nowMs;
      this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    }
    stream.open(connection);
  }

  async #authenticate(connect: ConnectPacket, appToken: string | null): Promise<Login | ConnectRefusal> {
    if (this.#admissions.isDraining) return "shutting-down";
    let password: string | null = null;
    try {
      if (connect.password !== null) password = strictUtf8.decode(connect.password);
    } catch {
      return "bad-credentials";
    }
    if (password === null && appToken === null) return "bad-credentials";
    try {
      const { clientId, userName } = connect;
      return await authenticateConnect(this.#im, { userId: userName!, clientId, password, appToken });
    } catch (error) {
      return this.#connectRefusal(error);
    }
  }

  #connectRefusal(error: unknown): ConnectRefusal {
    if (!(error instanceof ImError)) {
      this.#log.error("CONNECT not checked", error);
      return "server-unavailable";
    }
    switch (error.error) {
      case "token/invalid":
      case "token/revoked":
        return "bad-credentials";
      case "user/forbidden":
        return "banned";
      case "request/too-often":
        return "quota-exceeded";
      default:
        return "server-unavailable";
    }
  }

  #register(connection: Connection, login: Login): ConnectRefusal | null {
    if (this.#admissions.isDraining) return "shutting-down";
    const { userId, clientId } = login;
    const older = this.#registry.getConnection(userId, clientId);
    if (older !== null) {
      this.#counts.takenOver++;
      older.close(REASONS.takenOver, CLOSE_CODES.policy); // [MQTT-3.1.4-3], 3.1.1 [MQTT-3.1.4-2]
    } else if (this.#registry.listConnections(userId).length >= this.#limits.maxConnectionsPerUser) {
      // The newest is refused: closing another one would only make the two take turns.
      return "quota-exceeded"; // [MQTT-3.1.4-2]
    }
    this.#admissions.authenticate(connection.admission);
    this.#registry.add(userId, connection);
    const { node, epoch } = this.#im.store.lease;
    this.#presence.set(userId, clientId, { node, epoch, sinceMs: Date.now() });
    return null;
  }

  #closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#paused.delete(connection);
    this.#admissions.release(connection.admission);
    const { login } = connection;
    if (login !== null && this.#registry.delete(login.userId, connection)) {
      this.#presence.set(login.userId, login.clientId, null);
    }
    if (this.#connections.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
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
      connections: this.#registry.connections,
      unauthenticated: this.#admissions.unauthenticated,
      users: this.#registry.users,
      ...this.#counts,
      events: this.#delivery.events,
    };
  }

  /**
   * Takes no more connections, lets open requests finish, and closes the sockets one after the other over so many
   * seconds (5.0: DISCONNECT 0x8B), so that their clients do not all come back at once. Safe to call twice.
   */
  async drain(seconds: number): Promise<void> {
    this.#admissions.isDraining = true;
    for (const listener of this.#listeners.splice(0)) listener.close();
    const startedAtMs = performance.now();
    const all = this.#connections.size;
    const spanMs = seconds * 1_000;
    while (this.#connections.size > 0 || this.#running > 0) {
      const passedMs = performance.now() - startedAtMs;
      const isImpatient = passedMs > spanMs + DRAIN_PATIENCE_MS;
      const share = spanMs === 0 ? 1 : Math.min(1, passedMs / spanMs);
      let due = this.#connections.size - Math.floor(all * (1 - share));
      for (const connection of [...this.#connections]) {
        if (due <= 0) break;
        if (connection.requestCount > 0 && !isImpatient) continue;
        connection.close(REASONS.serverShuttingDown, CLOSE_CODES.goingAway);
        due--;
      }
      if (isImpatient) break;
      if (this.#connections.size > 0 || this.#running > 0) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_STEP_MS));
      }
    }
    clearTimeout(this.#retryTimer);
    await this.#presence.settled();
  }
}

/** The id that comes back with the reply; null when the request has none. */
function requireRequestId(request: Record<string, unknown>): string | null {
  const { requestId } = request;
  if (requestId === undefined) return null;
  if (typeof requestId === "string" && REQUEST_ID.test(requestId)) return requestId;
  throw new ImError("request/invalid", "requestId: 1–64 printable characters", { field: "requestId" });
}
