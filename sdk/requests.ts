/**
 * Requests that wait for their answers, across reconnects.
 *
 * @module
 */
import type { CommandName, Commands, Entry, ErrorName, Refusal, Reply } from "../wire.ts";
import { randomId } from "./random_id.ts";

/** A request was refused, or got no answer in time (`server/timeout`, code 249, after `timeoutMs`). */
export class RequestError extends Error {
  /** Always `RequestError`. */
  override readonly name = "RequestError";
  /** The number of the protocol's table. */
  readonly code: number;
  /** The name of the protocol's table. */
  readonly error: ErrorName;
  /** The request field that was wrong. */
  readonly field: string | undefined;
  /** When to try again, if the server said so. */
  readonly retryAfterMs: number | undefined;

  /** Wraps a refusal. */
  constructor(refusal: Refusal) {
    super(refusal.message);
    this.code = refusal.code;
    this.error = refusal.error;
    this.field = refusal.field;
    this.retryAfterMs = refusal.retryAfterMs;
  }
}

interface PendingRequest {
  readonly command: string;
  readonly body: string;
  /** What `message.send` was asked, for the entry its reply stands for. */
  readonly send: Commands["message.send"]["request"] | null;
  readonly resolve: (result: never) => void;
  readonly reject: (error: RequestError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Requests in the order they were made, by `requestId`. */
export class PendingRequests {
  readonly #pending = new Map<string, PendingRequest>();

  /**
   * Adds a request: sets its ids where they are missing, hands the JSON text to `write` and answers with what the
   * reply brings. After `timeoutMs` it is refused as `server/timeout` and `late` is called.
   */
  add<C extends CommandName>(
    command: C,
    request: Commands[C]["request"] & { readonly requestId?: string },
    timeoutMs: number,
    write: (requestId: string, body: string) => void,
    late: () => void,
  ): Promise<Commands[C]["result"]> {
    const requestId = request.requestId ?? randomId();
    const full: Record<string, unknown> = { ...request, requestId };
    if (command === "message.send") full.clientMessageId ??= randomId();
    const send = command === "message.send" ? full as Commands["message.send"]["request"] : null;
    const body = JSON.stringify(full);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(requestId);
        reject(
          new RequestError({
            code: 249,
            error: "server/timeout",
            message: `${command} got no answer in time`,
          }),
        );
        late();
      }, timeoutMs);
      this.#pending.set(requestId, { command, body, send, resolve, reject, timer });
      write(requestId, body);
    });
  }

  /**
   * Takes the JSON text of a reply. `sent` hears of the entry that a reply to `message.send` stands for, before
   * the promise resolves: the entry must be counted before the next packet is looked at.
   */
  answer(text: string, userId: string, sent: (entry: Entry) => void): void {
    const reply = JSON.parse(text) as Reply;
    const pending = reply.requestId === undefined ? undefined : this.#take(reply.requestId);
    if (pending === undefined) return;
    if (!("result" in reply)) return pending.reject(new RequestError(reply));
    if (pending.send !== null) {
      const entry = entryOfSend(userId, pending.send, reply.result as Commands["message.send"]["result"]);
      if (entry !== null) sent(entry);
    }
    pending.resolve(reply.result as never);
  }

  /** Writes everything that waits once more, with the same ids, in order. */
  repeat(write: (command: string, requestId: string, body: string) => void): void {
    for (const [requestId, { command, body }] of this.#pending) write(command, requestId, body);
  }

  /** Refuses what waits; with `prefix` only requests whose id starts so. */
  refuse(refusal: Refusal, prefix = ""): void {
    for (const requestId of [...this.#pending.keys()]) {
      if (requestId.startsWith(prefix)) this.#take(requestId)?.reject(new RequestError(refusal));
    }
  }

  #take(requestId: string): PendingRequest | undefined {
    const pending = this.#pending.get(requestId);
    if (pending !== undefined) clearTimeout(pending.timer);
    this.#pending.delete(requestId);
    return pending;
  }
}

/**
 * The timeline entry that a reply to `message.send` stands for: the sending socket gets no event. `null` for
 * transparent messages, which have no place in a timeline.
 */
export function entryOfSend(
  userId: string,
  request: Commands["message.send"]["request"],
  result: Commands["message.send"]["result"],
): Entry | null {
  if (result.seq === undefined) return null;
  return {
    timeline: result.timeline ?? "me",
    seq: result.seq,
    kind: "new",
    message: {
      messageId: result.messageId,
      clientMessageId: request.clientMessageId ?? "",
      conversation: request.conversation,
      from: userId,
      content: request.content,
      to: request.to ?? [],
      timestamp: result.timestamp,
      editedAt: 0,
    },
  };
}
