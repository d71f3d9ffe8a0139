import { REASONS } from "./protocol_error.ts";

/** WebSocket close codes this server sends. Source: RFC 6455, section 7.4.1, and the IANA registry. */
export const CLOSE_CODES = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedFrame: 1003,
  policy: 1008,
  tooLarge: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
} as const;

const BY_REASON: ReadonlyMap<number, number> = new Map([
  [REASONS.unspecified, CLOSE_CODES.internalError],
  [REASONS.serverShuttingDown, CLOSE_CODES.goingAway],
  [REASONS.keepAliveTimeout, CLOSE_CODES.policy],
  [REASONS.takenOver, CLOSE_CODES.policy],
  [REASONS.packetTooLarge, CLOSE_CODES.tooLarge],
  [REASONS.quotaExceeded, CLOSE_CODES.tryAgainLater],
  [REASONS.administrativeAction, CLOSE_CODES.policy],
]);

/** The close code that says what a 5.0 reason code says; what is not listed is a fault of the peer. */
export function closeCodeOf(reason: number): number {
  return BY_REASON.get(reason) ?? CLOSE_CODES.protocolError;
}
