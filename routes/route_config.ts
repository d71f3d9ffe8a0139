/** What the routes are told of the configuration. */
export interface RouteConfig {
  readonly mode: "development" | "production";
  /** The origin people open; null: taken from each request. */
  readonly publicUrl: string | null;
  /** Addresses and CIDR ranges of proxies whose forwarded headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly smsProvider: "log" | "webhook" | "none";
  /** null: `/metrics` is for this machine alone. */
  readonly metricsToken: string | null;
  readonly limits: {
    /** The largest request body, as over MQTT. */
    readonly maxPacketBytes: number;
    /** WebSocket ping and pong. */
    readonly idleTimeoutSeconds: number;
  };
}
