import assert from "node:assert/strict";
import { send, sendRaw } from "./http.ts";
import { startServer } from "./server.ts";

const ROOT = new URL("../", import.meta.url);

/** The page as `deno task start` has it built; quick when it is up to date. */
async function buildPage(): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "scripts/build.ts"],
    cwd: ROOT.pathname,
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test("The page is at / and /m/scan, asked for anew each time and sent when it has changed", async () => {
  await buildPage();
  await using server = await startServer();
  const page = await send(`${server.url}/`, "GET", undefined);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type")!, /^text\/html/);
  assert.equal(page.headers.get("cache-control"), "no-cache");
  assert.match(page.text, /<script type="module" src="\/assets\/app\.[0-9a-f]+\.js">/);
  const scan = await send(`${server.url}/m/scan?token=abc`, "GET", undefined);
  assert.equal(scan.text, page.text);

  const etag = page.headers.get("etag")!;
  const again = await send(`${server.url}/`, "GET", undefined, { "if-none-match": etag });
  assert.deepEqual([again.status, again.text], [304, ""]);
  // A browser takes the headers of a 304 for the page it has kept.
  assert.equal(again.headers.get("content-security-policy"), page.headers.get("content-security-policy"));
  const changed = await send(`${server.url}/`, "GET", undefined, { "if-none-match": '"another"' });
  assert.equal(changed.status, 200);
});

Deno.test("The page may run its own scripts alone, and connect to this server alone", async () => {
  await using server = await startServer({ TRUSTED_PROXIES: "127.0.0.1" });
  const policyOf = async (headers: Record<string, string>) => {
    const page = await send(`${server.url}/`, "GET", undefined, headers);
    const directives = page.headers.get("content-security-policy")!.split("; ");
    return new Map(directives.map((one) => [one.split(" ")[0], one.split(" ").slice(1).join(" ")]));
  };
  const here = await policyOf({});
  assert.equal(here.get("script-src"), "'self'");
  assert.equal(here.get("style-src"), "'self'");
  assert.equal(here.get("frame-ancestors"), "'none'");
  assert.equal(here.get("base-uri"), "'none'");
  assert.equal(here.get("connect-src"), `'self' ${server.wsUrl.replace("/mqtt", "")}`);
  const behind = await policyOf({ "x-forwarded-proto": "https", "x-forwarded-host": "chat.example.org" });
  assert.equal(behind.get("connect-src"), "'self' wss://chat.example.org");
});

Deno.test("Assets keep for ever under their names, compressed for whoever takes that", async () => {
  await buildPage();
  await using server = await startServer();
  const page = await send(`${server.url}/`, "GET", undefined);
  const names = [...page.text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, name]) => name!);
  assert.equal(names.length, 3);
  for (const name of names) {
    const { headers, text } = await send(`${server.url}${name}`, "GET", undefined, {
      "accept-encoding": "identity",
    });
    assert.equal(headers.get("cache-control"), "public, max-age=31536000, immutable");
    assert.equal(headers.get("content-encoding"), null);
    assert.equal(headers.get("vary"), "Accept-Encoding");
    const zipped = await sendRaw(server, { path: name, headers: { "accept-encoding": "br, gzip" } });
    assert.equal(zipped.headers.get("content-encoding"), "gzip");
    assert.ok(Number(zipped.headers.get("content-length")) < text.length || text.length < 500);
    // The client library takes the compression off by itself.
    assert.equal((await send(`${server.url}${name}`, "GET", undefined)).text, text);
    const head = await send(`${server.url}${name}`, "HEAD", undefined);
    assert.deepEqual([head.status, head.text], [200, ""]);
  }
});

Deno.test("No name leads out of the folder of the assets", async (t) => {
  await buildPage();
  await using server = await startServer();
  const paths = [
    "/assets/../index.html",
    "/assets/..%2findex.html",
    "/assets/%2e%2e/index.html",
    "/assets/%2e%2e%2findex.html",
    "/assets/..%2f..%2ficon.svg",
    "/assets/..%5c..%5cicon.svg",
    "/assets/....//index.html",
    "/assets/%00.js",
    "/assets/a%2fb.js",
    "/assets//etc/passwd",
    "/assets/.js",
    "/assets/",
    "/assets/app.js",
    "/assets/sources.txt",
    "/../deno.json",
    "/web/app.tsx",
  ];
  for (const path of paths) {
    await t.step(path, async () => {
      const answer = await sendRaw(server, { path });
      assert.equal(answer.status, 404);
      assert.equal(answer.json().error, "path/unknown");
    });
  }
});
