/**
 * Reads the environment once, opens, wires, serves, drains.
 *
 * @module
 */
import { Broker, CertificateError } from "./broker/mod.ts";
import {
  type Config,
  ConfigError,
  exportKvToken,
  helpText,
  languageOf,
  processEnv,
  readCertificate,
  readConfig,
} from "./config.ts";
import { createIm } from "./im/mod.ts";
import { createLog, type Log } from "./log.ts";
import { createApp, createUpgradeScreen } from "./routes/mod.ts";
import {
  acquireNodeLease,
  createStore,
  type Database,
  lockDataDir,
  migrate,
  openDatabase,
  openKv,
  openSecrets,
  Pruner,
  StartError,
  type Store,
} from "./store/mod.ts";

/** What `--version` and `/version` say. */
export const VERSION = "0.1.0";

/** A running server. */
export interface Hearth {
  /** Where this machine reaches it, as in `http://127.0.0.1:8000`. */
  readonly url: string;
  readonly port: number;
  /** The port of plain MQTT; null when it is off. */
  readonly mqttTcpPort: number | null;
  /** The port of MQTT over TLS; null when it is off. */
  readonly mqttTlsPort: number | null;
  /** The port of MQTT over WebSocket by itself; null when it is off. */
  readonly mqttWsPort: number | null;
  readonly adminSecret: string;
  readonly store: Store;
  /** Stops taking work, finishes what was taken, closes everything; safe to call twice. */
  drain(reason: string): Promise<void>;
}

/** What `boot` needs besides the configuration. */
export interface BootOptions {
  readonly log: Log;
  /** Resolves when the web page is there to be served; HTTP opens after it. */
  readonly page?: Promise<void>;
}

/** Open requests may take this long at a stop, beyond the time in which sockets are closed. */
const HTTP_DRAIN_MS = 3_000;

/**
 * Opens everything in order and serves; what was opened is closed again when a step fails.
 *
 * Order: data folder, database, schema, secrets, media folder, caches, node lease, commit queue, commands, broker,
 * HTTP. Each step is one line in the log with its milliseconds.
 *
 * @throws StartError or ConfigError, with a sentence for the operator.
 */
export async function boot(config: Config, options: BootOptions): Promise<Hearth> {
  const { log } = options;
  const { hostname } = config;
  const started = performance.now();
  const closing = new Closing(log);
  const step = async <T>(name: string, open: () => T | Promise<T>, describe?: (opened: T) => StepFields) => {
    const before = performance.now();
    const opened = await open();
    log.info(name, { ...describe?.(opened), ms: Math.round(performance.now() - before) });
    return opened;
  };
  log.info("configuration read", {
    mode: config.mode,
    dataDir: config.dataDir,
    smsProvider: config.smsProvider,
  });
  if (config.smsProvider === "none") log.warn("code login is off: SMS_PROVIDER is not set");
  try {
    const certificate = config.mqttTls === null ? null : await readCertificate(config.mqttTls);
    const lock = await step("data folder taken", () => lockDataDir(config.dataDir));
    closing.add("data folder", () => lock.release());

    const database = await step(
      "database open",
      () => openAnyDatabase(config, log),
      ({ settings, embedded }) => ({
        kind: embedded ? "embedded" : "external",
        version: settings.serverVersion,
        fsync: settings.fsync,
        synchronousCommit: settings.synchronousCommit,
      }),
    );
    closing.add("database", () => database.close());
    if (database.settings.fsync !== "on" || database.settings.synchronousCommit === "off") {
      log.warn(
        "the database may lose acknowledged messages in a power cut: fsync or synchronous_commit is off",
      );
    }
    await step("schema up to date", () => migrate(database.sql, config), ({ from, to }) => ({ from, to }));
    const secrets = await step("secrets read", () => openSecrets(config.dataDir, config));
    await step("media folder", () => Deno.mkdir(config.mediaDir, { recursive: true, mode: 0o700 }));
    exportKvToken(config.kvToken);
    const kv = await step("key-value store open", () => openKv({ ...config, log }));
    closing.add("key-value store", () => kv.close());
    const lease = await step(
      "node number leased",
      () => acquireNodeLease(database.sql, { address: config.publicUrl ?? "", log }),
      ({ node, clockSkewMs }) => ({ node, clockSkewMs }),
    );
    closing.add("node lease", () => lease.release());
    const store = await step("commit queue open", () => createStore({ database, kv, lease, log }));
    closing.add("commit queue", () => store.commits.close());
    const pruner = new Pruner(database.sql, { log });
    closing.add("pruner", () => pruner.close());

    const im = await step(
      "commands ready",
      () => createIm({ ...config, smsWebhookSecret: secrets.adminSecret, store, log }),
    );
    let server: Deno.HttpServer<Deno.NetAddr> | null = null;
    // Sockets are the broker's to close, so HTTP is closed after it.
    closing.add("HTTP", () => server === null ? undefined : closeServer(server));
    const broker = await step("broker ready", () => Broker.open({ ...config, im, log }));
    closing.add("broker", () => broker.drain(config.drainSeconds));
    await options.page;

    let unready: string | null = "starting";
    const app = createApp({
      config,
      im,
      broker,
      secrets,
      log,
      version: VERSION,
      readiness: () => unready ?? (lease.canSend() ? null : "no node lease, or a wrong clock"),
    });
    closing.add("long polls", () => app.endPolls());
    server = await step(
      "HTTP open",
      () => Deno.serve({ hostname, port: config.port, onListen: () => {} }, app.fetch),
      ({ addr }) => ({ port: addr.port }),
    );
    const tcp = config.mqttTcpPort === null ? null : await step(
      "MQTT over TCP open",
      () => broker.listenTcp({ hostname, port: config.mqttTcpPort! }),
      ({ port }) => ({ port }),
    );
    const tls = config.mqttTls === null || certificate === null ? null : await step(
      "MQTT over TLS open",
      () => listenTls(broker, { hostname, port: config.mqttTls!.port, ...certificate }),
      ({ port }) => ({ port }),
    );
    const webSocket = config.mqttWsPort === null ? null : await step(
      "MQTT over WebSocket (ws) open",
      () =>
        broker.listenWebSocket({
          hostname,
          port: config.mqttWsPort!,
          ...createUpgradeScreen({ config, broker }),
        }),
      ({ port }) => ({ port }),
    );
    unready = null;
    const host = ["0.0.0.0", "::"].includes(hostname) ? "127.0.0.1" : hostname;
    const { port } = server.addr;
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
    log.info("ready", { url: config.publicUrl ?? url, ms: Math.round(performance.now() - started) });
    let drained: Promise<void> | null = null;
    return {
      url,
      port,
      mqttTcpPort: tcp?.port ?? null,
      mqttTlsPort: tls?.port ?? null,
      mqttWsPort: webSocket?.port ?? null,
      adminSecret: secrets.adminSecret,
      store,
      drain: (reason) => {
        unready = `stopping: ${reason}`;
        drained ??= closing.run(reason);
        return drained;
      },
    };
  } catch (error) {
    await closing.run("start failed");
    throw error;
  }
}

/** Whatever is wrong with somebody else's database, `DATABASE_URL` is where to look. */
async function openAnyDatabase(config: Config, log: Log): Promise<Database> {
  try {
    return await openDatabase({ ...config, log });
  } catch (error) {
    if (config.databaseUrl === null || error instanceof StartError || !(error instanceof Error)) throw error;
    const sentence = `The database named by DATABASE_URL cannot be used: ${error.message}.`;
    throw new StartError(sentence, { cause: error });
  }
}

async function listenTls(
  broker: Broker,
  options: Parameters<Broker["listenTls"]>[0],
): Promise<{ readonly port: number }> {
  try {
    return await broker.listenTls(options);
  } catch (cause) {
    if (!(cause instanceof CertificateError)) throw cause;
    throw new StartError(`MQTT_TLS_CERT and MQTT_TLS_KEY cannot be used: ${cause.message}.`, { cause });
  }
}

type StepFields = Readonly<Record<string, string | number>>;

/** What is open, closed in the opposite order. */
class Closing {
  readonly #open: { readonly name: string; readonly close: () => void | Promise<void> }[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add(name: string, close: () => void | Promise<void>): void {
    this.#open.push({ name, close });
  }

  /** One part that cannot be closed does not keep the others open. */
  async run(reason: string): Promise<void> {
    const started = performance.now();
    this.#log.info("stopping", { reason });
    for (let part = this.#open.pop(); part !== undefined; part = this.#open.pop()) {
      const before = performance.now();
      try {
        await part.close();
        this.#log.info(`${part.name} closed`, { ms: Math.round(performance.now() - before) });
      } catch (error) {
        this.#log.error(`${part.name} not closed`, error);
      }
    }
    this.#log.info("stopped", { ms: Math.round(performance.now() - started) });
  }
}

/** Lets open requests finish; a peer that stopped reading would hold this up for ever. */
async function closeServer(server: Deno.HttpServer<Deno.NetAddr>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, HTTP_DRAIN_MS));
  await Promise.race([server.shutdown(), limit]);
  clearTimeout(timer);
}

/** Bundles the page when it is out of date, in a program of its own: the bundler's memory is given back. */
async function buildPage(log: Log): Promise<void> {
  const before = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("scripts/build.ts", import.meta.url).pathname],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  if (success) {
    log.info("page ready", { build: text.decode(stdout).trim(), ms: Math.round(performance.now() - before) });
    return;
  }
  const said = text.decode(stderr).trim();
  try {
    await Deno.stat(new URL("web/dist/index.html", import.meta.url));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new StartError(`The web page could not be built: ${said}`);
  }
  log.warn("page not built, serving the one built before", { reason: said });
}

/** Runs until a signal; the exit code is 0 after a drain. */
async function main(args: readonly string[]): Promise<void> {
  const env = processEnv();
  const asked = args.find((arg) => arg.startsWith("--lang="))?.slice("--lang=".length);
  if (args.includes("--help")) return console.log(helpText(languageOf(env, asked)));
  if (args.includes("--version")) return console.log(`hearth ${VERSION}`);

  let log = createLog({ format: "text", level: "info" });
  try {
    const config = readConfig(env);
    log = createLog({ format: config.logFormat, level: config.logLevel });
    logStrays(log);
    const page = buildPage(log);
    // Its failure is met where boot awaits it, which may be after an earlier failure.
    page.catch(() => {});
    const booting = boot(config, { log, page });
    drainOnSignal(booting);
    const hearth = await booting;
    console.log(`Hearth is ready: ${config.publicUrl ?? hearth.url}`);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof StartError) {
      console.error(`Hearth cannot start. ${error.message}`);
    } else log.error("start failed", error);
    Deno.exit(1);
  }
}

/** The first signal drains, also one that comes during the start; the second ends the process at once. */
function drainOnSignal(booting: Promise<Hearth>): void {
  let stopping = false;
  const signals = Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGTERM", "SIGINT"] as const;
  for (const signal of signals) {
    Deno.addSignalListener(signal, () => {
      if (stopping) Deno.exit(130);
      stopping = true;
      booting.then((hearth) => hearth.drain(signal)).then(() => Deno.exit(0), () => Deno.exit(1));
    });
  }
}

/** What nobody caught is a bug: logged with its cause, and the process lives. */
function logStrays(log: Log): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.error("unhandled rejection", event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    log.error("uncaught error", event.error);
  });
}

if (import.meta.main) await main(Deno.args);
