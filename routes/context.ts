import type { Context } from "hono";
import type { Broker } from "../broker/mod.ts";
import type { Im } from "../im/mod.ts";
import type { Log } from "../log.ts";
import type { Client } from "./client.ts";

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

/** What the routes are made of. */
export interface RouteOptions {
  readonly config: RouteConfig;
  readonly im: Im;
  readonly broker: Broker;
  readonly secrets: { readonly adminSecret: string };
  readonly log: Log;
  readonly version: string;
  /** Why this node takes no traffic; null when it does. */
  readonly readiness: () => string | null;
}

/** What a request carries through the routes. */
export interface RouteEnv {
  Bindings: Deno.ServeHandlerInfo<Deno.NetAddr>;
  Variables: {
    client: Client;
    /** Stands in the log and in the answer's `x-request-id`. */
    requestId: string;
  };
}

/** A request under way. */
export type RouteContext = Context<RouteEnv>;
