import { type Caller, execute, type Im, ImError, type Notice, parseRequest } from "../im/mod.ts";
import type { Log } from "../log.ts";
import { type RateLimit, RateLimits } from "./rate_limits.ts";
import { isRequestId, refusalReply, type Reply, successReply } from "./reply.ts";
import { rateName } from "./request_rate.ts";

/** What carrying out requests needs. */
export interface RequestsOptions {
  readonly im: Im;
  readonly log: Log;
  readonly rateLimits: "off" | ReadonlyMap<string, RateLimit>;
  /** Who delivers what a request caused. */
  readonly notify: (notices: readonly Notice[]) => void;
}

/** Carries requests of every door to `im`, one function for all. */
export class Requests {
  readonly #im: Im;
  readonly #log: Log;
  readonly #rates: RateLimits;
  readonly #notify: (notices: readonly Notice[]) => void;
  #running = 0;
  #requests = 0;
  #refusals = 0;

  constructor(options: RequestsOptions) {
    this.#im = options.im;
    this.#log = options.log;
    this.#rates = new RateLimits(options.rateLimits);
    this.#notify = options.notify;
  }

  /** Requests that have started and are not answered. */
  get running(): number {
    return this.#running;
  }

  /** Counters since the start. */
  get counts(): { readonly requests: number; readonly refusals: number } {
    return { requests: this.#requests, refusals: this.#refusals };
  }

  /**
   * Carries out one request.
   *
   * `answer` is called exactly once, in the turn in which the command settles and before its notices are delivered;
   * it must not throw. A request over a rate limit is refused with `request/too-often`.
   *
   * @returns resolves when the next request of the same connection may start; null when it may at once
   */
  perform(
    caller: Caller,
    command: string,
    body: Uint8Array | string,
    answer: (reply: Reply) => void,
  ): Promise<void> | null {
    this.#requests++;
    // Over HTTP the path says which command it was.
    const named = caller.door === "mqtt" ? command : null;
    let requestId: string | null = null;
    const refuse = (cause: unknown) => {
      this.#refusals++;
      answer(refusalReply(requestId, named, this.#toRefusal(cause, command)));
    };
    let request: Record<string, unknown> | null = null;
    let refusal: unknown = null;
    try {
      request = parseRequest(body);
      requestId = requireRequestId(request);
    } catch (cause) {
      refusal = cause;
    }
    // What cannot be read is counted too.
    const rate = rateName(command, request);
    const retryAfterMs = this.#rates.take(caller.userId, caller.clientId, rate, Date.now());
    if (retryAfterMs > 0) {
      refusal = new ImError("request/too-often", "Too many requests. Try again later.", { retryAfterMs });
    }
    if (request === null || refusal !== null) {
      refuse(refusal);
      return null;
    }
    const { entered, outcome } = execute(this.#im, caller, command, request);
    this.#running++;
    outcome.then(({ resultJson, notices }) => {
      this.#running--;
      answer(successReply(requestId, named, resultJson));
      if (notices.length > 0) this.#notify(notices);
    }, (cause) => {
      this.#running--;
      refuse(cause);
    }).catch((cause) => this.#log.error("request not answered", cause, { command: command.slice(0, 64) }));
    return entered;
  }

  /** What is no refusal is a bug: it is logged with its cause, and the caller may try again. */
  #toRefusal(cause: unknown, command: string): ImError {
    if (cause instanceof ImError) return cause;
    this.#log.error("command failed", cause, { command: command.slice(0, 64) });
    return new ImError("server/error", "Something went wrong here. Try again.");
  }
}

/** The id that comes back with the reply; null when the request has none. */
function requireRequestId(request: Record<string, unknown>): string | null {
  const { requestId } = request;
  if (requestId === undefined) return null;
  if (isRequestId(requestId)) return requestId;
  throw new ImError("request/invalid", "requestId: 1–64 printable characters", { field: "requestId" });
}
