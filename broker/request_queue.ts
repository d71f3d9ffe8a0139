/**
 * The requests of one connection: started in order, answered in order.
 */

import { ImError, isPipelined, type SendOrder } from "../im/mod.ts";
import type { OutgoingEvent } from "./outgoing.ts";
import { ProtocolError, REASONS } from "./protocol_error.ts";
import { findRequestId, isPassing, refusalReply, type Reply } from "./reply.ts";
import type { Request } from "./session.ts";

/** What a queue needs of its connection. */
export interface RequestOwner {
  /** The order in which the sends of the client must be stored. */
  readonly order: SendOrder;
  /** Whether a reply could leave now: a page waits in front of the socket at most once. */
  readonly hasRoom: boolean;
  /** Starts a command; the promise is that of `Execution.entered`. `answer` is called once, now or later. */
  start(command: string, body: Uint8Array, answer: (reply: Reply) => void): Promise<void> | null;
  /** Writes the acknowledgement and the reply. `reply` is null where there was no command. */
  finish(request: Request, reply: Reply | null): void;
  /** Writes an event that had to leave behind a reply. */
  writeEvent(event: OutgoingEvent): void;
}

interface Pending {
  /** Counts the requests of the connection. */
  readonly number: number;
  readonly request: Request;
  readonly isSend: boolean;
  /** The caller's send generation when the request was received. */
  readonly generation: number;
  state: "waiting" | "running" | "answered";
  body: Uint8Array;
  reply: Reply | null;
  /** What must be written right behind this reply. */
  behind: OutgoingEvent[] | null;
}

const NO_BYTES = new Uint8Array(0);

/** The ordered requests of one connection. */
export class RequestQueue {
  readonly #owner: RequestOwner;
  readonly #maxWaitingBytes: number;
  /** Oldest first; the first is not answered, or about to be finished. */
  #queue: Pending[] = [];
  #started = 0;
  #running = 0;
  #runsAlone = false;
  /** It looks for its place in the commit queue. */
  #entering: Pending | null = null;
  #isPumping = false;
  #isStarting = false;
  /** A send that failed before it was stored: nothing starts until its failure has been told. */
  #barrier: Pending | null = null;
  #answered = 0;
  /** The last in the queue of those that are answered and wait for their turn. */
  #lastAnswered: Pending | null = null;
  #lastNumber = 0;
  #waitingBytes = 0;

  /** `maxWaitingBytes` bounds the bodies of requests that cannot start yet. */
  constructor(owner: RequestOwner, maxWaitingBytes: number) {
    this.#owner = owner;
    this.#maxWaitingBytes = maxWaitingBytes;
  }

  /** Requests received and not finished. */
  get size(): number {
    return this.#queue.length;
  }

  /**
   * Takes a request; it starts at once when nothing is in its way.
   *
   * @throws {ProtocolError} when too many bytes wait: nothing else would hold such a client back
   */
  push(request: Request): void {
    const { command, correlationData } = request;
    const pending: Pending = {
      number: ++this.#lastNumber,
      request: correlationData === null && request.body.length === 0
        ? request
        : { ...request, body: NO_BYTES, correlationData: correlationData?.slice() ?? null },
      isSend: command !== null && isPipelined(command),
      generation: this.#owner.order.generation,
      state: "waiting",
      body: request.body,
      reply: null,
      behind: null,
    };
    this.#queue.push(pending);
    this.#waitingBytes += pending.body.length;
    this.pump();
    if (pending.state !== "waiting") return;
    // The bytes are the socket's, and may be a small part of a large frame.
    pending.body = pending.body.slice();
    if (this.#waitingBytes > this.#maxWaitingBytes) {
      throw new ProtocolError(
        REASONS.quotaExceeded,
        `More than ${this.#maxWaitingBytes} bytes of requests wait.`,
      );
    }
  }

  /** Starts what may start. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#started < this.#queue.length) {
        const next = this.#queue[this.#started]!;
        if (!this.#mayStart(next)) break;
        this.#started++;
        this.#waitingBytes -= next.body.length;
        this.#start(next);
      }
    } finally {
      this.#isPumping = false;
    }
  }

  #mayStart(next: Pending): boolean {
    if (this.#entering !== null || this.#barrier !== null) return false;
    if (this.#running > 0 && (this.#runsAlone || !next.isSend)) return false;
    return next.request.command === null || this.#owner.hasRoom;
  }

  #start(pending: Pending): void {
    const { command } = pending.request;
    const body = pending.body;
    pending.body = NO_BYTES;
    pending.state = "running";
    this.#running++;
    this.#runsAlone = !pending.isSend;
    if (command === null) return this.#answer(pending, null);
    if (pending.isSend && pending.generation !== this.#owner.order.generation) {
      return this.#answer(pending, earlierFailed(command, body));
    }
    this.#isStarting = true;
    let entered: Promise<void> | null;
    try {
      entered = this.#owner.start(command, body, (reply) => this.#answer(pending, reply));
    } finally {
      this.#isStarting = false;
    }
    if (entered === null) return;
    this.#entering = pending;
    const enter = () => {
      this.#entering = null;
      this.pump();
    };
    entered.then(enter, enter);
  }

  #answer(pending: Pending, reply: Reply | null): void {
    pending.state = "answered";
    pending.reply = reply;
    this.#running--;
    this.#answered++;
    if (pending.number > (this.#lastAnswered?.number ?? 0)) this.#lastAnswered = pending;
    const { order } = this.#owner;
    if (pending.isSend && reply !== null && isPassing(reply) && pending.generation === order.generation) {
      // Refused before it was queued, it must not make earlier sends fail that are still on their way.
      if (this.#isStarting || this.#entering === pending) this.#barrier = pending;
      else order.generation++;
    }
    this.#finishAnswered();
    this.pump();
  }

  /** Acknowledgements and replies leave in the order of the requests. [MQTT-4.6.0-2] */
  #finishAnswered(): void {
    while (this.#queue.length > 0 && this.#queue[0]!.state === "answered") {
      const pending = this.#queue.shift()!;
      this.#started--;
      this.#answered--;
      this.#owner.finish(pending.request, pending.reply);
      if (pending === this.#barrier) {
        this.#barrier = null;
        this.#owner.order.generation++;
      }
      if (pending.behind !== null) { for (const event of pending.behind) this.#owner.writeEvent(event); }
    }
    if (this.#answered === 0) this.#lastAnswered = null;
  }

  /**
   * Whether a reply that is older than this event still waits for its turn; then the event is written behind it, so
   * that replies to sends and events leave in seq order.
   */
  holdBehindReplies(event: OutgoingEvent): boolean {
    if (this.#lastAnswered === null) return false;
    (this.#lastAnswered.behind ??= []).push(event);
    return true;
  }

  /** Forgets what has not started. */
  clear(): void {
    this.#queue.length = this.#started;
    this.#waitingBytes = 0;
  }
}

function earlierFailed(command: string, body: Uint8Array): Reply {
  return refusalReply(
    findRequestId(body),
    command,
    new ImError("server/earlier-failed", "An earlier message of this connection failed. Send both again."),
  );
}
