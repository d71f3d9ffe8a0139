/**
 * 5.0 reason codes this server sends. 3.1.1 has none for a running connection: there the socket just closes.
 *
 * Source: MQTT Version 5.0, section 2.4.
 */
export const REASONS = {
  success: 0x00,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecified: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  unsupportedVersion: 0x84,
  clientIdInvalid: 0x85,
  badCredentials: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  sharedSubscriptionsNotSupported: 0x9e,
} as const;

/** The peer broke MQTT: its connection closes, and nothing else happens. Caught in one place, in the connection. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** The 5.0 reason code the connection is closed with. */
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A packet that cannot be read: 5.0 reason 0x81. */
export function malformed(message: string): ProtocolError {
  return new ProtocolError(REASONS.malformedPacket, message);
}

/** A packet that may not be sent, or not now: 5.0 reason 0x82. */
export function violation(message: string): ProtocolError {
  return new ProtocolError(REASONS.protocolError, message);
}
