/** An application message on an open topic, made once for all who receive it. */
export interface Publication {
  readonly topic: string;
  /** The body; owned, never a view into received bytes. */
  readonly payload: Uint8Array;
  /** The QoS it was published at. */
  readonly qos: number;
  /** The RETAIN flag it was published with. */
  readonly retain: boolean;
  /**
   * The properties of 5.0 that go on to receivers unaltered and in their order (Payload Format Indicator, Content
   * Type, Response Topic, Correlation Data, User Properties), encoded, without their length; empty for most.
   * [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
   */
  readonly properties: Uint8Array;
  /** When it is of no use any more, in milliseconds since 1970; null: never. */
  readonly expiresAtMs: number | null;
}

/** What one subscription asks for. */
export interface SubscriptionOptions {
  /** Highest QoS of deliveries. */
  readonly qos: number;
  /** Whether what the same client published is left out; 5.0. */
  readonly noLocal: boolean;
  /** Whether the RETAIN flag of the publisher is kept; 5.0. */
  readonly retainAsPublished: boolean;
  /** 0: retained messages now; 1: only when the subscription is new; 2: none. */
  readonly retainHandling: number;
  /** Comes back with each delivery; null for none; 5.0. */
  readonly subscriptionId: number | null;
}
