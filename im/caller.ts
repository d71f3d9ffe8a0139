/** Who makes a request and through which door; one per connection, or one per HTTP request. */
export interface Caller {
  readonly userId: string;
  /** The installation the login was given to. */
  readonly clientId: string;
  /** The login session behind the token. */
  readonly loginId: string;
  /** 0 unset, 1 iOS, 2 Android, 3 Windows, 4 macOS, 5 Web, 6 mini program, 7 Linux, 8 iPad, 9 Android pad, … */
  readonly platform: number;
  readonly door: "mqtt" | "http";
  /**
   * The socket the request came in on, by identity: it gets the reply and no event. `null` over HTTP, where every
   * socket of the user gets the event.
   */
  readonly connection: object | null;
  /** Largest reply this door takes, in bytes: 128 KiB over MQTT, 512 KiB over HTTP, less if the client says so. */
  readonly maxReplyBytes: number;
  /** The order in which this door's sends must be stored. */
  readonly order: SendOrder;
}

/**
 * Sends of one connection that fail together: when a send fails for a passing reason, `generation` grows, and
 * every send queued under an older generation is refused (`server/earlier-failed`), so that a retry in order stays
 * in order.
 */
export interface SendOrder {
  generation: number;
}
