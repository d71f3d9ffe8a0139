import assert from "node:assert/strict";
import { Broker } from "../broker/mod.ts";
import { COMMANDS, createIm } from "../im/mod.ts";
import { type App, createApp } from "../routes/mod.ts";
import { APP_ERRORS, ERRORS } from "../wire.ts";
import { createLogin } from "./admin.ts";
import { quietLog } from "./database.ts";
import { type Json, post, send } from "./http.ts";
import { startServer, type TestServer } from "./server.ts";

/** The routes over a running server's store, for what no request over loopback can show. */
async function openRoutes(
  server: TestServer,
  readiness: () => string | null = () => null,
): Promise<{ readonly app: App } & AsyncDisposable> {
  const { config, hearth, adminSecret } = server;
  const log = quietLog();
  const im = createIm({ ...config, smsWebhookSecret: null, store: hearth.store, log });
  const broker = await Broker.open({ ...config, im, log });
  const app = createApp({ config, im, broker, secrets: { adminSecret }, log, version: "1.2.3", readiness });
  return { app, [Symbol.asyncDispose]: () => broker.drain(0) };
}

/** Asks as if from an address. */
async function askFrom(app: App, hostname: string, path: string, headers: Record<string, string> = {}) {
  const remoteAddr: Deno.NetAddr = { transport: "tcp", hostname, port: 4711 };
  const request = new Request(`http://localhost${path}`, { headers: { host: "localhost", ...headers } });
  return await app.fetch(request, { remoteAddr, completed: Promise.resolve() });
}

const figure = (text: string, name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);

Deno.test("The process says that it is alive, ready, and which version it is", async () => {
  await using server = await startServer();
  const get = async (path: string) => await send(`${server.url}${path}`, "GET", undefined);
  assert.equal((await get("/healthz")).status, 200);
  assert.deepEqual((await get("/readyz")).json(), { status: "ready" });
  const { name, version } = (await get("/version")).json();
  assert.equal(name, "hearth");
  assert.match(version, /^\d+\.\d+\.\d+$/);
});

Deno.test("A node that takes no traffic answers 503 with the reason, and is still alive", async () => {
  await using server = await startServer();
  await using routes = await openRoutes(server, () => "stopping: SIGTERM");
  const { app } = routes;
  const ready = await askFrom(app, "127.0.0.1", "/readyz");
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { status: "not ready", reason: "stopping: SIGTERM" });
  const alive = await askFrom(app, "127.0.0.1", "/healthz");
  assert.equal(alive.status, 200);
  assert.equal((await alive.json()).status, "alive");
});

Deno.test("Metrics count what happens, in lines that Prometheus reads", async () => {
  await using server = await startServer();
  const token = await createLogin(server, "alice");
  const headers = { authorization: `Bearer ${token}` };
  const content = { type: 1, searchableContent: "hello" };
  const message = { clientMessageId: "m1", conversation: { type: 0, target: "alice" }, content };
  assert.equal((await post(server, "/im/message.send", message, headers)).code, 0);
  assert.equal((await post(server, "/im/message.send", message, headers)).result.repeated, true);
  assert.equal((await post(server, "/im/message.sing", {}, headers)).code, 254);

  const answer = await send(`${server.url}/metrics`, "GET", undefined);
  assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  for (const line of answer.text.trimEnd().split("\n")) {
    assert.match(
      line,
      /^(?:# (?:HELP|TYPE) [a-z_]+ .+|[a-z_]+(?:\{[a-z]+="[^"]*"\})? \d+(?:\.\d+)?(?:e[+-]\d+)?)$/,
    );
  }
  const value = (name: string) => figure(answer.text, name);
  assert.equal(value("hearth_ready"), 1);
  assert.equal(value("hearth_requests_total"), 3);
  assert.equal(value("hearth_refusals_total"), 1);
  assert.equal(value("hearth_messages_stored_total"), 1);
  assert.equal(value("hearth_messages_repeated_total"), 1);
  assert.equal(value("hearth_connections"), 0);
  assert.ok(value("hearth_flushes_total") >= 1);
  assert.ok(value("process_resident_memory_bytes") > 10_000_000);
  assert.match(answer.text, /^hearth_http_answers_total\{status="4xx"\} 1$/m);
});

Deno.test("Metrics are read on this machine alone, unless there is a token", async (t) => {
  await using server = await startServer();
  const status = async (app: App, from: string, headers: Record<string, string> = {}) => {
    const answer = await askFrom(app, from, "/metrics", headers);
    await answer.body?.cancel();
    return answer.status;
  };
  await using routes = await openRoutes(server);
  const open = routes.app;
  await t.step("on this machine they are", async () => assert.equal(await status(open, "127.0.0.1"), 200));
  await t.step("from elsewhere they are not", async () => {
    assert.equal(await status(open, "203.0.113.9"), 403);
    assert.equal(await status(open, "2001:db8::1"), 403);
  });
  await t.step("through a proxy on this machine they are not", async () => {
    assert.equal(await status(open, "127.0.0.1", { "x-forwarded-for": "203.0.113.9" }), 403);
    assert.equal(await status(open, "127.0.0.1", { "x-forwarded-for": "127.0.0.1" }), 403);
  });
  await t.step("under a name that others use they are not", async () => {
    assert.equal(await status(open, "127.0.0.1", { host: "rebound.example.org" }), 403);
  });
  await using closedRoutes = await openRoutes({
    ...server,
    config: { ...server.config, metricsToken: "a token of the tests" },
  });
  const closed = closedRoutes.app;
  await t.step("with a token it is the token that counts", async () => {
    assert.equal(await status(closed, "203.0.113.9", { authorization: "Bearer a token of the tests" }), 200);
    assert.equal(await status(closed, "127.0.0.1"), 401);
    assert.equal(await status(closed, "127.0.0.1", { authorization: "Bearer another" }), 401);
  });
});

Deno.test("The OpenAPI document lists every command and every path, with the shapes that check the requests", async (t) => {
  await using server = await startServer();
  const api = (await send(`${server.url}/openapi.json`, "GET", undefined)).json();
  assert.match(api.openapi, /^3\.1\./);
  const bodyOf = (path: string) =>
    api.paths[path].post.requestBody.content["application/json"].schema as Json;

  await t.step("commands", () => {
    const listed = Object.keys(api.paths).filter((path) => path.startsWith("/im/"));
    assert.deepEqual(listed.sort(), Object.keys(COMMANDS).map((name) => `/im/${name}`).sort());
    for (const [name, { summary }] of Object.entries(COMMANDS)) {
      assert.equal(api.paths[`/im/${name}`].post.summary, summary);
    }
    const send = bodyOf("/im/message.send");
    assert.deepEqual(send.required, ["conversation", "content"]);
    assert.equal(send.properties.requestId.type, "string");
    assert.equal(send.properties.conversation.properties.type.maximum, 3);
  });
  await t.step("the other paths", () => {
    const paths = {
      post: [
        ..."send_code login logout pc_session confirm_pc cancel_pc route admin/user/create admin/user/get_token"
          .split(" "),
        ..."session_login/{token} scan_pc/{token}".split(" "),
      ],
      get: "me route mqtt healthz readyz version metrics openapi.json docs m/scan assets/{name}".split(" ")
        .concat(""),
    };
    for (const [method, names] of Object.entries(paths)) {
      for (const name of names) {
        assert.ok(api.paths[`/${name}`]?.[method]?.summary, `${method} /${name}`);
      }
    }
    assert.deepEqual(api.paths["/scan_pc/{token}"].post.parameters[0].name, "token");
    assert.deepEqual(bodyOf("/login").required, ["mobile", "code", "clientId"]);
  });
  await t.step("what is listed is there", async () => {
    for (const [path, methods] of Object.entries(api.paths as Json)) {
      if (path.startsWith("/assets/")) continue;
      for (const method of Object.keys(methods)) {
        const url = `${server.url}${path.replace("{token}", "x")}`;
        const { status, text } = await send(url, method.toUpperCase(), method === "get" ? undefined : {});
        assert.ok(status !== 404 && status !== 405, `${method} ${path}: ${status} ${text}`);
      }
    }
  });
  await t.step("errors", () => {
    assert.deepEqual(api["x-errors"], { commands: ERRORS, login: APP_ERRORS });
    assert.deepEqual(api.components.schemas.Refusal.properties.error.enum, Object.keys(ERRORS));
  });
  await t.step("references lead somewhere, and security schemes are named", () => {
    const text = JSON.stringify(api);
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
      assert.ok(api.components.schemas[name!], `${name}`);
    }
    for (const methods of Object.values(api.paths as Json)) {
      for (const { security = [] } of Object.values(methods as Json)) {
        for (const scheme of security.flatMap(Object.keys)) assert.ok(api.components.securitySchemes[scheme]);
      }
    }
  });
});

Deno.test("The page of the API shows the same to people, and loads nothing from elsewhere", async () => {
  await using server = await startServer();
  const answer = await send(`${server.url}/docs`, "GET", undefined);
  assert.match(answer.headers.get("content-type")!, /^text\/html/);
  for (const name of Object.keys(COMMANDS)) assert.ok(answer.text.includes(`<code>/im/${name}</code>`), name);
  for (const error of Object.keys({ ...ERRORS, ...APP_ERRORS })) {
    assert.ok(answer.text.includes(error), error);
  }
  assert.doesNotMatch(answer.text, /<script|https?:\/\/|style="/);
  const style = await send(`${server.url}/docs/style.css`, "GET", undefined);
  assert.match(style.headers.get("content-type")!, /^text\/css/);
  assert.match(style.text, /light-dark\(/);
});
