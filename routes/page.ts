/** The chat page, as `scripts/build.ts` bundles it: one document, and assets whose names change with their content. */

import { Hono } from "hono";
import { etag, RETAINED_304_HEADERS } from "hono/etag";
import { ImError } from "../im/mod.ts";
import { pagePolicy } from "./browser_safety.ts";
import type { RouteContext, RouteEnv } from "./context.ts";
import { describeOther } from "./openapi.ts";

const DIST = new URL("../web/dist/", import.meta.url);

/** A plain file name of a kind that the page is made of: nothing that could lead out of the folder. */
const ASSET_NAME = /^[\w-]+(?:\.[\w-]+)*\.(js|css|svg)$/;
const TYPES: ReadonlyMap<string, string> = new Map([
  ["js", "text/javascript; charset=utf-8"],
  ["css", "text/css; charset=utf-8"],
  ["svg", "image/svg+xml"],
]);

/** An asset as it is sent. */
interface Asset {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly gzipped: Uint8Array<ArrayBuffer>;
}

/** `/`, `/m/scan` and `/assets/…`. */
export function pageRoutes(): Hono<RouteEnv> {
  const app = new Hono<RouteEnv>();
  const assets = new Map<string, Asset>();

  // Which of the two it is, the page itself finds out; opening it changes nothing here.
  // A browser takes the policy of a 304 for the page it has kept.
  const retainedHeaders = [...RETAINED_304_HEADERS, "content-security-policy", "permissions-policy"];
  const pages = { "/": "The chat", "/m/scan": "The phone's page after scanning a QR login" };
  for (const [path, summary] of Object.entries(pages)) {
    const description = describeOther({ tag: "pages", summary, answers: { 200: "HTML" } });
    app.get(path, description, etag({ retainedHeaders }), showPage);
  }

  const assetDescription = describeOther({
    tag: "pages",
    summary: "What the page is made of",
    answers: { 200: "A file that never changes", 404: "No such file" },
  });
  app.get("/assets/:name", assetDescription, async (c) => {
    const name = c.req.param("name");
    const type = TYPES.get(ASSET_NAME.exec(name)?.[1] ?? "");
    if (type === undefined) throw noSuchFile();
    let asset = assets.get(name);
    if (asset === undefined) assets.set(name, asset = await readAsset(name));
    c.header("content-type", type);
    c.header("cache-control", "public, max-age=31536000, immutable");
    c.header("vary", "Accept-Encoding");
    if (!/\bgzip\b/.test(c.req.header("accept-encoding") ?? "")) return c.body(asset.plain);
    c.header("content-encoding", "gzip");
    return c.body(asset.gzipped);
  });

  return app;
}

async function showPage(c: RouteContext): Promise<Response> {
  const page = await readFile("index.html");
  if (page === null) return c.text("The web page has not been built: run `deno task build`.", 503);
  c.header("content-type", "text/html; charset=utf-8");
  c.header("cache-control", "no-cache");
  c.header("content-security-policy", pagePolicy(c));
  c.header("permissions-policy", "camera=(self), microphone=(), geolocation=()");
  return c.body(page);
}

async function readAsset(name: string): Promise<Asset> {
  const plain = await readFile(`assets/${name}`);
  if (plain === null) throw noSuchFile();
  const gzip = new Blob([plain]).stream().pipeThrough(new CompressionStream("gzip"));
  return { plain, gzipped: await new Response(gzip).bytes() };
}

async function readFile(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    return await Deno.readFile(new URL(name, DIST));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function noSuchFile(): ImError {
  return new ImError("path/unknown", "There is no such file.");
}
