/**
 * What the server publishes: replies and events, as parts that {@linkcode writePublish} joins in one buffer.
 */

import { INBOX_TOPIC, REPLY_TOPIC } from "./topic.ts";

/** What a PUBLISH to a client is made of. */
export interface Outgoing {
  readonly topic: Uint8Array;
  /** The properties of 5.0 without their length; empty for most. */
  readonly properties: Uint8Array;
  /** The first part of the payload: ASCII. */
  readonly prefix: string;
  /** The rest of the payload, shared by all receivers. */
  readonly tail: Uint8Array;
}

/** An event for `me/inbox`. */
export interface OutgoingEvent extends Outgoing {
  /** Makes the tail that takes the place of one too large for the client; null where there is none. */
  readonly shorten: (() => Uint8Array) | null;
}

const utf8 = new TextEncoder();
const INBOX = utf8.encode(INBOX_TOPIC);
const REPLY = utf8.encode(REPLY_TOPIC);
const NO_PROPERTIES = new Uint8Array(0);
const USUAL_REPLY_BYTES = 8_192;
/** Longer replies are rare, and room for them is not kept. */
const MAX_KEPT_CHARACTERS = 65_536;

// Replies are encoded one at a time and copied into their packet.
let scratch = new Uint8Array(USUAL_REPLY_BYTES);

/** An event; the tail, and what shortens it, are shared by all receivers with the same view. */
export function inboxEvent(
  prefix: string,
  tail: Uint8Array,
  shorten: (() => Uint8Array) | null,
): OutgoingEvent {
  return { topic: INBOX, properties: NO_PROPERTIES, prefix, tail, shorten };
}

/** A reply; its bytes are valid until the next reply is made. */
export function replyOutgoing(topic: string, correlationData: Uint8Array | null, text: string): Outgoing {
  return {
    topic: topic === REPLY_TOPIC ? REPLY : utf8.encode(topic),
    properties: correlationData === null ? NO_PROPERTIES : correlationProperty(correlationData),
    prefix: "",
    tail: encodeReply(text),
  };
}

function encodeReply(text: string): Uint8Array {
  if (text.length > MAX_KEPT_CHARACTERS) return utf8.encode(text);
  // UTF-8 needs at most three bytes for a UTF-16 code unit.
  if (scratch.length < 3 * text.length) scratch = new Uint8Array(3 * text.length);
  return scratch.subarray(0, utf8.encodeInto(text, scratch).written);
}

/** The Correlation Data property. */
function correlationProperty(correlationData: Uint8Array): Uint8Array {
  const property = new Uint8Array(3 + correlationData.length);
  property[0] = 0x09;
  property[1] = correlationData.length >> 8;
  property[2] = correlationData.length & 0xff;
  property.set(correlationData, 3);
  return property;
}
