import type { Publication, SubscriptionOptions } from "./publication.ts";

/** MQTT protocol levels: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type ProtocolLevel = 4 | 5;

/** What a client may send once its CONNECT was good, after the strict check. */
export type Packet =
  | PublishPacket
  | AcknowledgementPacket
  | SubscribePacket
  | UnsubscribePacket
  | { readonly type: "pingreq" }
  | DisconnectPacket
  | { readonly type: "auth" };

/** A CONNECT that is well formed; whether it is let in is another matter. */
export interface ConnectPacket {
  readonly type: "connect";
  readonly level: ProtocolLevel;
  readonly clientId: string;
  readonly userName: string | null;
  readonly password: Uint8Array | null;
  /** Clean Session, or Clean Start. */
  readonly clean: boolean;
  /** 0 turns keep-alive off. */
  readonly keepAliveSeconds: number;
  readonly will: Will | null;
  /** 0 when the client does not say, 4,294,967,295 for ever; 3.1.1: for ever without Clean Session, else 0. */
  readonly sessionExpirySeconds: number;
  /** 65,535 when the client does not say. */
  readonly receiveMaximum: number;
  /** Infinity when the client does not say. */
  readonly maxPacketBytes: number;
  /** Aliases the client lets us use on its connection. */
  readonly topicAliasMaximum: number;
  readonly wantsResponseInformation: boolean;
  /** Whether reason strings and user properties may be sent on any packet. */
  readonly wantsProblemInformation: boolean;
  readonly authenticationMethod: string | null;
}

/** What is published when the client is gone without a good-bye. */
export interface Will {
  /** `expiresAtMs` is null: its expiry counts from when it is published. */
  readonly publication: Publication;
  /** Message Expiry Interval; null for none. */
  readonly expirySeconds: number | null;
  readonly delaySeconds: number;
}

/** A PUBLISH. Byte arrays are views into the received bytes: copy what must last. */
export interface PublishPacket {
  readonly type: "publish";
  /** Empty where {@linkcode PublishPacket.topicAlias} stands for it. */
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly payload: Uint8Array;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
  /** 1–65,535; null for none. */
  readonly topicAlias: number | null;
  /** Message Expiry Interval in seconds; null for none. */
  readonly expirySeconds: number | null;
  /** The properties that go on to receivers, as {@linkcode Publication.properties}. */
  readonly forwarded: Uint8Array;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export interface AcknowledgementPacket {
  readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp";
  readonly packetId: number;
  /** 0 in 3.1.1. */
  readonly reason: number;
}

/** A SUBSCRIBE with at least one filter. */
export interface SubscribePacket {
  readonly type: "subscribe";
  readonly packetId: number;
  /** All have the Subscription Identifier of the packet. */
  readonly subscriptions: readonly { readonly topicFilter: string; readonly options: SubscriptionOptions }[];
}

/** An UNSUBSCRIBE with at least one filter. */
export interface UnsubscribePacket {
  readonly type: "unsubscribe";
  readonly packetId: number;
  readonly topicFilters: readonly string[];
}

/** The client is about to close. */
export interface DisconnectPacket {
  readonly type: "disconnect";
  readonly reason: number;
  /** null when the client does not say. */
  readonly sessionExpirySeconds: number | null;
}
