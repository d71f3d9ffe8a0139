import type { Context } from "hono";
import type { Broker } from "../broker/mod.ts";
import type { Im } from "../im/mod.ts";
import type { Log } from "../log.ts";
import type { Client } from "./client.ts";
import type { RouteConfig } from "./route_config.ts";

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
