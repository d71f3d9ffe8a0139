import type { ImError } from "../im/mod.ts";
import { type ErrorName, ERRORS } from "../wire.ts";

/** The answer to a request, as its door passes it on. */
export interface Reply {
  /** 0, or the code of the refusal. */
  readonly code: number;
  /** The name of the refusal; null on success. */
  readonly error: ErrorName | null;
  /** The request's own id; null when it had none. */
  readonly requestId: string | null;
  /** The reply as JSON: with `command` for MQTT, without it for HTTP. */
  readonly text: string;
}

const REQUEST_ID = /^[\x20-\x7e]{1,64}$/;

/** Whether this may come back as a request's id: 1–64 printable characters. */
export function isRequestId(value: unknown): value is string {
  return typeof value === "string" && REQUEST_ID.test(value);
}

/** The id in a body that is refused unread; null when there is none to be found. */
export function findRequestId(body: Uint8Array): string | null {
  try {
    const { requestId } = JSON.parse(new TextDecoder().decode(body)) as { requestId?: unknown };
    return isRequestId(requestId) ? requestId : null;
  } catch {
    // It is no JSON, or null.
    return null;
  }
}

/** A reply of code 0. */
export function successReply(requestId: string | null, command: string | null, resultJson: string): Reply {
  const text = `{${head(requestId, command)}"code":0,"result":${resultJson}}`;
  return { code: 0, error: null, requestId, text };
}

/** The reply of a refused request. */
export function refusalReply(requestId: string | null, command: string | null, refusal: ImError): Reply {
  const fields = JSON.stringify(refusal.toRefusal());
  const text = `{${head(requestId, command)}${fields.slice(1)}`;
  return { code: refusal.code, error: refusal.error, requestId, text };
}

function head(requestId: string | null, command: string | null): string {
  return (requestId === null ? "" : `"requestId":${JSON.stringify(requestId)},`) +
    (command === null ? "" : `"command":${JSON.stringify(command)},`);
}

/** The 5.0 reason code of PUBACK and PUBREC. */
export function reasonOf(reply: Reply): number {
  return reply.error === null ? 0 : ERRORS[reply.error].reason;
}

/** Whether the same request may succeed later; later sends of the connection then fail too, to stay in order. */
export function isPassing(reply: Reply): boolean {
  return reply.code === 4 || reply.code === 249 || reply.code === 250;
}
