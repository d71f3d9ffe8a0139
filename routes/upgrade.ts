/** Who may open a WebSocket for MQTT: one rule for the upgrade of the one port and for a listener of its own. */

import {
  type AdmissionRefusal,
  type Broker,
  chooseSubProtocol,
  SUB_PROTOCOLS,
  type UpgradeScreen,
} from "../broker/mod.ts";
import { ImError } from "../im/mod.ts";
import { ERRORS } from "../wire.ts";
import { type Client, Clients } from "./client.ts";
import type { RouteConfig } from "./route_config.ts";

/** Where MQTT over WebSocket is found; older clients dial `/`. */
export const MQTT_PATHS: readonly string[] = ["/mqtt", "/"];

/** How a connection that is not taken is refused, and when to come again. */
const REFUSALS = {
  "draining": { error: "server/error", seconds: 5, message: "The server is stopping." },
  "too-many": { error: "server/error", seconds: 10, message: "The server is full." },
  "too-many-of-address": { error: "request/too-often", seconds: 10, message: "Too many connections." },
  "too-many-failures": { error: "request/too-often", seconds: 60, message: "Too many failed CONNECTs." },
} as const satisfies Record<AdmissionRefusal, unknown>;

/** Whom an upgrade is asked by, and which web origins are ours. */
export type UpgradeClient = Pick<Client, "peer" | "ownOrigins">;

/** What the rule is made of. */
export interface UpgradeOptions {
  readonly config: RouteConfig;
  readonly broker: Broker;
}

/**
 * Checks a request for a WebSocket; the sub-protocol to answer with.
 *
 * @throws {ImError} `request/invalid` without a sub-protocol of MQTT, `request/no-right` for a page of a foreign
 * origin, `request/too-often` and `server/error` when no more connections are taken.
 */
export function requireUpgrade(
  headers: Headers,
  { peer, ownOrigins }: UpgradeClient,
  { config, broker }: UpgradeOptions,
): string {
  const offered = headers.get("sec-websocket-protocol") ?? "";
  const subProtocol = chooseSubProtocol(offered.split(",").map((name) => name.trim()));
  if (subProtocol === null) {
    throw new ImError("request/invalid", `Offer one of the sub-protocols ${SUB_PROTOCOLS.join(", ")}.`);
  }
  const origin = headers.get("origin"); // programs send none
  if (origin !== null && !ownOrigins.includes(origin) && !config.allowedOrigins.includes(origin)) {
    throw new ImError("request/no-right", "Pages of this origin may not connect here.");
  }
  const refusal = broker.refuseConnection(peer);
  if (refusal !== null) {
    const { error, seconds, message } = REFUSALS[refusal];
    throw new ImError(error, message, { retryAfterMs: seconds * 1_000 });
  }
  return subProtocol;
}

/** The same rule for the broker's own listener. No page comes from there, so `PUBLIC_URL` alone is our origin. */
export function createUpgradeScreen(options: UpgradeOptions): UpgradeScreen {
  const { publicUrl } = options.config;
  const clients = new Clients(options.config);
  const ownOrigins = publicUrl === null ? [] : [publicUrl];
  return {
    peerOf: (address) => clients.describe({ headers: new Headers() }, address).peer,
    screen({ path, headers, address }) {
      try {
        if (!MQTT_PATHS.includes(path)) throw new ImError("path/unknown", "There is nothing here.");
        const { peer } = clients.describe({ headers }, address);
        requireUpgrade(headers, { peer, ownOrigins }, options);
        return peer;
      } catch (error) {
        if (!(error instanceof ImError)) throw error;
        const seconds = error.retryAfterMs === undefined ? null : Math.ceil(error.retryAfterMs / 1_000);
        return {
          status: ERRORS[error.error].http,
          headers: seconds === null ? {} : { "retry-after": String(seconds) },
          body: JSON.stringify(error.toRefusal()),
        };
      }
    },
  };
}
