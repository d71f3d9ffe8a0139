/** For whoever runs the server: alive, ready, which version, how much. */

import { Hono } from "hono";
import * as z from "zod";
import { ImError } from "../im/mod.ts";
import { sameBytes } from "../store/mod.ts";
import type { RouteContext, RouteEnv, RouteOptions } from "./context.ts";
import type { HttpCounts } from "./http_counts.ts";
import { writeMetrics } from "./metrics.ts";
import type { OpenPolls } from "./open_polls.ts";
import { describeOther } from "./openapi.ts";

/** Probes ask for an address, not for the name people use. */
export const PROBE_PATHS = ["/healthz", "/readyz", "/version", "/metrics"] as const;

const utf8 = new TextEncoder();

/** `/healthz`, `/readyz`, `/version` and `/metrics`. */
export function operationsRoutes(
  { config, im, broker, version, readiness, polls, counts }: RouteOptions & {
    readonly polls: OpenPolls;
    readonly counts: HttpCounts;
  },
): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();
  const startedAtMs = Date.now();

  app.get(
    "/healthz",
    describeOther({ tag: "operations", summary: "Whether the process answers", answers: { 200: "It does" } }),
    (c) => c.json({ status: "alive" }),
  );

  app.get(
    "/readyz",
    describeOther({
      tag: "operations",
      summary: "Whether this node takes traffic",
      answers: {
        200: "It does",
        503: ["It does not", z.object({ status: z.literal("not ready"), reason: z.string() })],
      },
    }),
    (c) => {
      const reason = readiness();
      return reason === null ? c.json({ status: "ready" }) : c.json({ status: "not ready", reason }, 503);
    },
  );

  app.get(
    "/version",
    describeOther({
      tag: "operations",
      summary: "Which version runs",
      answers: { 200: ["The version", z.object({ name: z.string(), version: z.string() })] },
    }),
    (c) => c.json({ name: "hearth", version }),
  );

  app.get(
    "/metrics",
    describeOther({
      tag: "operations",
      summary: "Figures for Prometheus; for this machine alone, or with METRICS_TOKEN as Bearer",
      answers: { 200: "Text", 401: "The token is wrong", 403: "Not from here" },
    }),
    (c) => {
      requireReader(c, config.metricsToken);
      const text = writeMetrics({
        version,
        isReady: readiness() === null,
        broker: broker.stats(),
        commits: im.store.commits.stats,
        httpAnswers: counts.entries(),
        openPolls: polls.count,
        memory: Deno.memoryUsage(),
        startedAtMs,
      });
      return c.body(text, 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    },
  );

  return app;
}

function requireReader(c: RouteContext, token: string | null): void {
  if (token === null) {
    if (!c.var.client.isLocal) throw new ImError("request/no-right", "Metrics are read on this machine.");
    return;
  }
  const given = c.req.header("authorization") ?? "";
  if (!sameBytes(utf8.encode(given), utf8.encode(`Bearer ${token}`))) {
    throw new ImError("token/invalid", "The metrics token is required.");
  }
}
