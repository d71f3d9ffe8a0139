/** What is kept of MQTT sessions and retained messages, as the broker gives and takes it. */

/** Whose session: the key of everything below it. */
export interface MqttOwner {
  /** Empty for an anonymous client. */
  readonly userId: string;
  readonly clientId: string;
}

/** An application message as it is kept. */
export interface PublicationRecord {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** The QoS it was published at. */
  readonly qos: number;
  /** The RETAIN flag it was published with. */
  readonly retain: boolean;
  /** The properties that go on to receivers, encoded, without their length. */
  readonly properties: Uint8Array;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAtMs: number | null;
}

/** What is kept of a session itself. */
export interface MqttSessionRecord {
  /** Session Expiry Interval; counted from `disconnectedAtMs`. */
  readonly expirySeconds: number;
  /** Null while connected. */
  readonly disconnectedAtMs: number | null;
  readonly will: {
    readonly publication: PublicationRecord;
    /** Message Expiry Interval of the will, counted from its publication; null for none. */
    readonly expirySeconds: number | null;
    readonly delaySeconds: number;
  } | null;
}

/** The options of one subscription. */
export interface MqttSubscriptionRecord {
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  readonly subscriptionId: number | null;
}

/** One message for a session. */
export interface QueuedRecord {
  /** The QoS of this delivery. */
  readonly qos: number;
  /** 0 while none is given. */
  readonly packetId: number;
  /** Its PUBREC came (QoS 2): the body is gone. */
  readonly isReleased: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** Null once released. */
  readonly publication: PublicationRecord | null;
}

/**
 * One change.
 *
 * `replacedBytes` is {@linkcode publicationBytes} of the publication that stood there before, 0 for none: its chunks
 * go.
 */
export type MqttWrite =
  | { readonly kind: "session"; readonly owner: MqttOwner; readonly record: MqttSessionRecord }
  | {
    readonly kind: "subscription";
    readonly owner: MqttOwner;
    readonly topicFilter: string;
    /** Null: it ends. */
    readonly record: MqttSubscriptionRecord | null;
  }
  | {
    readonly kind: "queued";
    readonly owner: MqttOwner;
    readonly seq: number;
    /** Null: it goes. */
    readonly record: QueuedRecord | null;
    readonly replacedBytes: number;
  }
  | {
    /** A packet identifier of an incoming QoS 2 message that waits for its PUBREL. */
    readonly kind: "received";
    readonly owner: MqttOwner;
    readonly packetId: number;
    readonly isKept: boolean;
  }
  | {
    readonly kind: "retained";
    readonly topic: string;
    /** Null: the topic retains nothing. */
    readonly record: PublicationRecord | null;
    readonly replacedBytes: number;
  }
  | {
    /** Everything of this session goes. */
    readonly kind: "forget";
    readonly owner: MqttOwner;
  };

/** A queued message without its body. */
export interface QueuedOutline {
  readonly seq: number;
  readonly qos: number;
  readonly packetId: number;
  readonly isReleased: boolean;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly expiresAtMs: number | null;
  /** {@linkcode publicationBytes} of its publication, 0 once released: what its replacement says it replaces. */
  readonly payloadBytes: number;
}

/** A session as it is found after a start. */
export interface StoredMqttSession {
  readonly owner: MqttOwner;
  readonly record: MqttSessionRecord;
  /** By topic filter. */
  readonly subscriptions: ReadonlyMap<string, MqttSubscriptionRecord>;
  /** By seq, without bodies. */
  readonly queued: readonly QueuedOutline[];
  /** Packet identifiers that wait for their PUBREL. */
  readonly received: readonly number[];
}

/** The size by which a publication is stored: an upper bound of the bytes of topic, payload and properties. */
export function publicationBytes({ topic, payload, properties }: PublicationRecord): number {
  // A UTF-16 unit is at most three bytes of UTF-8; counting them exactly would cost a pass over every topic.
  return topic.length * 3 + payload.length + properties.length;
}
