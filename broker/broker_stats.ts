/** Counters since the start, and what is now. */
export interface BrokerStats {
  /** Open connections with a good CONNECT, now. */
  readonly connections: number;
  /** Connections without one, now. */
  readonly unauthenticated: number;
  /** Users with at least one connection, now. */
  readonly users: number;
  /** Connections taken. */
  readonly accepted: number;
  /** CONNECTs that failed for the client's own fault. */
  readonly failedConnects: number;
  /** Connections closed because their peer broke MQTT. */
  readonly protocolErrors: number;
  /** Connections closed because they did not read. */
  readonly cutOff: number;
  /** Connections closed because their client came again. */
  readonly takenOver: number;
  /** Requests through every door. */
  readonly requests: number;
  /** Requests that were refused. */
  readonly refusals: number;
  /** Events handed to connections. */
  readonly events: number;
  /** MQTT sessions, now: of connected clients, and of those that are away. */
  readonly sessions: number;
  /** Those of them that outlive their connections. */
  readonly persistentSessions: number;
  /** Subscriptions of open topics, now. */
  readonly subscriptions: number;
  /** Messages published to open topics. */
  readonly published: number;
  /** Messages of open topics handed to sessions. */
  readonly delivered: number;
  /** Messages of open topics that a session did not get because it had too many, or they were too old. */
  readonly dropped: number;
  /** Retained messages, now. */
  readonly retained: number;
  /** Bytes of their topics, payloads and properties. */
  readonly retainedBytes: number;
}
