import { type MqttOwner, type MqttSessionRecord, type MqttWrite, publicationBytes } from "../store/mod.ts";
import type { Journal } from "./journal.ts";
import type { Delivery } from "./kept_messages.ts";
import type { Will } from "./packet.ts";
import type { SubscriptionOptions } from "./publication.ts";
import type { Session } from "./session.ts";
import type { QueuedState, SessionLog } from "./session_log.ts";

/** What a session needs of the connection its client has. */
export interface ClientConnection {
  /** Sends a message of an open topic, or keeps it until there is room. */
  publish(delivery: Delivery): void;
  /** What is written from now on leaves when everything in the journal is stored. */
  hold(): void;
  /** Closes it with a reason code of 5.0. */
  close(reason: number): void;
}

/** A client's session, whether the client is connected or not. */
export class ClientSession {
  readonly owner: MqttOwner;
  readonly session: Session;
  /** null while the client is away. */
  connection: ClientConnection | null = null;
  /** Whose CONNECT it is that the session is being made ready for, or was. */
  claimant: ClientConnection | null = null;
  /** null for a session that ends with its connection. */
  log: JournalLog | null = null;
  /** Counted from the end of the connection; 4,294,967,295: for ever. */
  expirySeconds = 0;
  /** Milliseconds since 1970; null while connected. */
  disconnectedAtMs: number | null = null;
  will: Will | null = null;
  isEnded = false;
  /** The router's: what this client gets of the message that is being matched. */
  match: Match | null = null;

  constructor(owner: MqttOwner, session: Session) {
    this.owner = owner;
    this.session = session;
  }

  /** Sends a message of an open topic, or keeps it for when the client comes again. */
  publish(delivery: Delivery): void {
    if (this.connection !== null) this.connection.publish(delivery);
    else if (!this.isEnded) this.session.enqueue(delivery, this.claimant !== null);
  }

  /** What is stored of the session itself. */
  toRecord(): MqttSessionRecord {
    const { expirySeconds, disconnectedAtMs, will } = this;
    return { expirySeconds, disconnectedAtMs, will };
  }
}

/** What one client gets of a message: all its subscriptions that match, together. */
export interface Match {
  readonly subscriber: ClientSession;
  qos: number;
  retain: boolean;
  subscriptionIds: readonly number[];
}

/** The lasting state of one session, on its way into the journal. */
export class JournalLog implements SessionLog {
  readonly #client: ClientSession;
  readonly #journal: Journal;

  constructor(client: ClientSession, journal: Journal) {
    this.#client = client;
    this.#journal = journal;
  }

  /** The session itself: its expiry, its will, since when its client is away. */
  session(): void {
    this.#add({ kind: "session", owner: this.#client.owner, record: this.#client.toRecord() });
    this.#client.connection?.hold();
  }

  subscription(topicFilter: string, options: SubscriptionOptions | null): void {
    this.#add({ kind: "subscription", owner: this.#client.owner, topicFilter, record: options });
    this.#client.connection?.hold();
  }

  queued(seq: number, state: QueuedState | null, replacedBytes: number): number {
    this.#add({ kind: "queued", owner: this.#client.owner, seq, record: state, replacedBytes });
    // When its end is lost, it is only sent again, and the client knows its identifier.
    if (state !== null) this.#client.connection?.hold();
    return state?.publication ? publicationBytes(state.publication) : 0;
  }

  received(packetId: number, isKept: boolean): void {
    this.#add({ kind: "received", owner: this.#client.owner, packetId, isKept });
    this.#client.connection?.hold();
  }

  /** What still comes when the session has ended would be found by the next one of this client after a restart. */
  #add(write: MqttWrite): void {
    if (!this.#client.isEnded) this.#journal.add(write);
  }

  /** Everything of the session goes. */
  forget(): void {
    this.#journal.add({ kind: "forget", owner: this.#client.owner });
    this.#client.connection?.hold();
  }
}
