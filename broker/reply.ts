import { type ErrorName, ERRORS } from "../wire.ts";
import type { ImError } from "../im/mod.ts";

/** The answer to a request, as its door passes it on. */
export interface Reply {
  /** 0, or the code of the refusal. */
  readonly code: number;
  /** The name of the refusal; null on success. */
  readonly error: ErrorName | null;
  /** The reply as JSON: with `command` for MQTT, without it for HTTP. */
  readonly text: string;
}

/** A reply of code 0. */
export function successReply(requestId: string | null, command: string | null, resultJson: string): Reply {
  return { code: 0, error: null, text: `{${head(requestId, command)}"code":0,"result":${resultJson}}` };
}

/** The reply of a refused request. */
export function refusalReply(requestId: string | null, command: string | null, refusal: ImError): Reply {
  const fields = JSON.stringify(refusal.toRefusal());
  return { code: refusal.code, error: refusal.error, text: `{${head(requestId, command)}${fields.slice(1)}` };
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
