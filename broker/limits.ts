/** What a connection, an address or a user may take of the broker; config.ts has the defaults. */
export interface BrokerLimits {
  /** From the open socket to a good CONNECT. */
  readonly connectTimeoutSeconds: number;
  /** Connections of one address that have not sent a good CONNECT. */
  readonly maxUnauthenticatedPerIp: number;
  /** Connections in all that have not sent a good CONNECT. */
  readonly maxUnauthenticated: number;
  /** Over it, a new installation is refused; one that comes again takes over. */
  readonly maxConnectionsPerUser: number;
  /** null: no limit. */
  readonly maxConnectionsPerIp: number | null;
  /** Failed CONNECTs of one address in a minute; over it, the address is refused for a minute. */
  readonly maxFailedConnectsPerMinute: number;
  /** Largest packet taken in, its fixed header included; refused from the header. */
  readonly maxPacketBytes: number;
  /** Packets of QoS 1 and 2 sent and not yet acknowledged, per connection; less if the client says so. */
  readonly maxInflightOut: number;
  /** Packets of QoS 1 and 2 received and not yet acknowledged, and requests waiting, per connection. */
  readonly maxInflightIn: number;
  /** Per session. */
  readonly maxSubscriptions: number;
  /** Levels of a topic filter, and of a topic name. */
  readonly maxTopicLevels: number;
  /** Of a topic filter, and of a topic name, in UTF-8. */
  readonly maxFilterBytes: number;
  /** Of a client identifier, in UTF-8. */
  readonly maxClientIdBytes: number;
  /** A longer keep-alive is cut to this; 0: it is the client's to choose. */
  readonly maxKeepAliveSeconds: number;
  /** Aliases a client may use on a connection; 0: none. */
  readonly maxTopicAliases: number;
  /** A session outlives its connection by no more. */
  readonly maxSessionExpirySeconds: number;
  /** Sessions that outlive their connections, in all; over it, a session ends with its connection. */
  readonly maxPersistentSessions: number;
  /** Messages of open topics kept for a session whose client is away; over it, the oldest go. */
  readonly maxQueuedMessages: number;
  /** Of the messages kept for a session; over it, the oldest go. */
  readonly maxQueuedBytes: number;
  /** Retained messages on the topics one open filter lets in. */
  readonly maxRetainedPerFilter: number;
  /** Of all retained messages, topics and properties included. */
  readonly maxRetainedBytes: number;
  /** Events waiting for a slow connection; over it, the connection is cut off. */
  readonly maxWaitingBytes: number;
  /** A connection for which something waits and that makes no progress for so long is cut off. */
  readonly stalledSeconds: number;
  /** WebSocket ping and pong; MQTT keep-alive is what decides. 0: none. */
  readonly idleTimeoutSeconds: number;
  /** Whether the limits per address hold for loopback and trusted proxies too. */
  readonly limitLoopback: boolean;
}

/** The part of {@linkcode BrokerLimits} that an MQTT session knows of. */
export type SessionLimits = Pick<
  BrokerLimits,
  | "maxInflightOut"
  | "maxInflightIn"
  | "maxSubscriptions"
  | "maxTopicLevels"
  | "maxFilterBytes"
  | "maxTopicAliases"
  | "maxQueuedMessages"
  | "maxQueuedBytes"
  | "maxRetainedPerFilter"
>;
