/**
 * Commands that create or notify happen once per `requestId`: a repeat answers what the first one came to.
 */

import * as z from "zod";
import { type ClientRequest, RequestIdTakenError } from "../store/mod.ts";
import type { Caller } from "./caller.ts";
import { ImError } from "./error.ts";
import type { Outcome } from "./outcome.ts";
import { printableIdShape, requireShape } from "./shapes.ts";

/** What a command that happens once came to. */
export interface OnceOutcome extends Outcome {
  /** As the store says: it was done before, so nobody is told again. */
  readonly repeated: boolean;
}

const requestIdShape = z.object({ requestId: printableIdShape.optional() });

/**
 * What the store knows a request by; null for one without `requestId`.
 *
 * @throws {ImError} `request/invalid`
 */
export function clientRequest(
  caller: Caller,
  command: string,
  request: Record<string, unknown>,
): ClientRequest | null {
  const { requestId } = requireShape(requestIdShape, request);
  if (requestId === undefined) return null;
  return { userId: caller.userId, clientId: caller.clientId, requestId, command };
}

/** Drops the notices of a repeat, and refuses an id that stands for another command. */
export async function settleOnce(running: Promise<OnceOutcome>): Promise<Outcome> {
  try {
    const { resultJson, notices, repeated } = await running;
    return { resultJson, notices: repeated ? [] : notices };
  } catch (cause) {
    if (!(cause instanceof RequestIdTakenError)) throw cause;
    throw new ImError("request/invalid", `requestId: it was used for ${cause.command}; take a new one`, {
      field: "requestId",
    });
  }
}
