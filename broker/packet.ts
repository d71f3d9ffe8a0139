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
  readonly will: { readonly topic: string; readonly qos: number; readonly retain: boolean } | null;
  /** 0 when the client does not say; 5.0 only. */
  readonly sessionExpirySeconds: number;
  /** 65,535 when the client does not say. */
  readonly receiveMaximum: number;
  /** Infinity when the client does not say. */
  readonly maxPacketBytes: number;
  readonly wantsResponseInformation: boolean;
  /** Whether reason strings and user properties may be sent on any packet. */
  readonly wantsProblemInformation: boolean;
  readonly authenticationMethod: string | null;
}

/** A PUBLISH. Byte arrays are views into the received bytes: copy what must last. */
export interface PublishPacket {
  readonly type: "publish";
  readonly topic: string;
  readonly qos: number;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly payload: Uint8Array;
  readonly responseTopic: string | null;
  readonly correlationData: Uint8Array | null;
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
  readonly subscriptions: readonly { readonly topicFilter: string; readonly qos: number }[];
  readonly hasSubscriptionId: boolean;
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
