/**
 * Every setting: environment variables, each optional, read once at start.
 *
 * @module
 */
import { choice, flag, integer, list, openTopicFilter, parseRateLimits, type Setting } from "./setting.ts";
import { SETTINGS } from "./settings.ts";

/** The environment as the program sees it; an empty value counts as unset. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A setting that cannot be used; the message names it and says what is accepted. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** A token bucket: how many at once, and how many a second after that. */
export interface RateLimit {
  readonly burst: number;
  readonly perSecond: number;
}

/** Everything the program can be told. */
export interface Config {
  readonly mode: "development" | "production";
  readonly port: number;
  readonly hostname: string;
  readonly dataDir: string;
  /** null: Hearth runs its own Postgres under `dataDir`. */
  readonly databaseUrl: string | null;
  /** null when `kvUrl` is used, and on Deno Deploy, which brings its own. */
  readonly kvPath: string | null;
  readonly kvUrl: string | null;
  readonly kvToken: string | null;
  readonly mediaDir: string;
  /** An origin without a trailing slash; null: taken from each request. */
  readonly publicUrl: string | null;
  /** Addresses and CIDR ranges. */
  readonly trustedProxies: readonly string[];
  readonly allowedOrigins: readonly string[];
  /** null: made at first start. */
  readonly adminSecret: string | null;
  readonly smsProvider: "log" | "webhook" | "none";
  readonly smsWebhookUrl: string | null;
  /** null: no plain MQTT listener; 0: any free port. */
  readonly mqttTcpPort: number | null;
  /** null: no MQTT over TLS; port 0: any free one. `cert` and `key` are files. */
  readonly mqttTls: { readonly port: number; readonly cert: string; readonly key: string } | null;
  /** The WebSocket listener with a port of its own; null: none; 0: any free port. */
  readonly mqttWsPort: number | null;
  /** Whether clients without a login may connect. */
  readonly brokerAnonymous: boolean;
  /** Topic filters that every connected client may publish and subscribe to. */
  readonly openTopics: readonly string[];
  readonly messageShards: number;
  readonly drainSeconds: number;
  /** `off`, or what differs from the built-in limit of a command. */
  readonly rateLimits: "off" | ReadonlyMap<string, RateLimit>;
  readonly logFormat: "text" | "json";
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly samePlatform: "keep" | "kick";
  readonly metricsToken: string | null;
  readonly limits: ConnectionLimits;
  readonly loginLimits: LoginLimits;
}

/** What one connection, address or user may take of the broker. */
export interface ConnectionLimits {
  readonly connectTimeoutSeconds: number;
  readonly maxUnauthenticatedPerIp: number;
  readonly maxUnauthenticated: number;
  readonly maxConnectionsPerUser: number;
  /** null: no limit. */
  readonly maxConnectionsPerIp: number | null;
  readonly maxFailedConnectsPerMinute: number;
  readonly maxPacketBytes: number;
  readonly maxInflightOut: number;
  readonly maxInflightIn: number;
  readonly maxSubscriptions: number;
  readonly maxTopicLevels: number;
  readonly maxFilterBytes: number;
  readonly maxClientIdBytes: number;
  readonly maxKeepAliveSeconds: number;
  readonly maxTopicAliases: number;
  readonly maxSessionExpirySeconds: number;
  readonly maxPersistentSessions: number;
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  readonly maxRetainedPerFilter: number;
  readonly maxRetainedBytes: number;
  readonly maxWaitingBytes: number;
  readonly stalledSeconds: number;
  readonly idleTimeoutSeconds: number;
  /** Whether the limits per address hold for loopback and trusted proxies too. */
  readonly limitLoopback: boolean;
}

/** How many login codes are sent. */
export interface LoginLimits {
  readonly codesPerMobileDay: number;
  readonly codePauseSeconds: number;
  readonly codesPerIpMinute: number;
  readonly codesPerHour: number;
}

/** What guessed secrets are made of. */
const WELL_KNOWN =
  /0?123456(?:7(?:8(?:90?)?)?)?|admin|secret|password|passwd|changeme|hearth|test|default|[^a-z0-9]/g;

/**
 * Turns the environment into a configuration.
 *
 * @throws ConfigError for the first setting that cannot be used.
 */
export function readConfig(env: Env): Config {
  const text = (name: string): string | null => env[name]?.trim() || null;
  const onDeploy = text("DENO_DEPLOY") !== null;
  const read = <T>(name: string, parse: (text: string) => T | null, fallback: T): T => {
    const given = text(name);
    if (given === null) return fallback;
    const value = parse(given);
    if (value === null) throw new ConfigError(refusal(name, given));
    return value;
  };
  const count = (name: string): number => {
    const setting = settingOf(name);
    return read(name, integer(setting.min ?? 0, setting.max ?? 2 ** 31 - 1), Number(setting.default));
  };
  const url = (name: string, ...protocols: string[]) => {
    const parse = (given: string) =>
      URL.canParse(given) && protocols.includes(new URL(given).protocol) ? given : null;
    return read<string | null>(name, parse, null);
  };
  const require = (holds: boolean, sentence: string) => {
    if (!holds) throw new ConfigError(sentence);
  };

  const publicUrl = read<string | null>("PUBLIC_URL", parseOrigin, null);
  const strict = onDeploy || publicUrl?.startsWith("https:") === true;
  const mode = read("HEARTH_ENV", choice("development", "production"), strict ? "production" : "development");
  const production = mode === "production";
  require(
    !production || publicUrl !== null,
    "PUBLIC_URL must be set in production: the address people open, as in PUBLIC_URL=https://chat.example.org.",
  );

  const hostname = text("HOST") ?? (production ? "0.0.0.0" : "127.0.0.1");
  require(
    /^[\w.:%-]+$/.test(hostname),
    `HOST=${hostname} is not an address to listen on; it accepts an IP address or a host name, as in 127.0.0.1.`,
  );
  require(
    production || isLoopback(hostname) || read("ALLOW_OPEN_DEVELOPMENT", flag, false),
    `HOST=${hostname} would open a development server, which shows login codes, to other machines. ` +
      "Set HEARTH_ENV=production, or ALLOW_OPEN_DEVELOPMENT=true when that is what you want.",
  );

  const smsWebhookUrl = url("SMS_WEBHOOK_URL", "http:", "https:");
  const smsProvider = read(
    "SMS_PROVIDER",
    choice("log", "webhook", "none"),
    smsWebhookUrl !== null ? "webhook" : production ? "none" : "log",
  );
  require(
    !(production && smsProvider === "log"),
    "SMS_PROVIDER=log writes login codes into the log, which production refuses. " +
      "Set SMS_PROVIDER=webhook with SMS_WEBHOOK_URL, or leave it out to switch code login off.",
  );
  require(
    smsProvider !== "webhook" || smsWebhookUrl !== null,
    "SMS_PROVIDER=webhook needs SMS_WEBHOOK_URL: the http or https address that sends the codes.",
  );

  const adminSecret = text("ADMIN_SECRET");
  require(
    !production || adminSecret === null || isStrong(adminSecret),
    "ADMIN_SECRET is too short or well known; production needs 16 or more characters nobody can guess. " +
      "Leave it out to have one made at first start.",
  );

  const dataDir = text("DATA_DIR") ?? "./data";
  const kvUrl = url("KV_URL", "http:", "https:");
  const kvPath = text("KV_PATH");
  require(kvUrl === null || kvPath === null, "KV_URL and KV_PATH exclude each other; set one of them.");

  const tls = {
    port: read<number | null>("MQTT_TLS_PORT", integer(0, 65_535), null),
    cert: text("MQTT_TLS_CERT"),
    key: text("MQTT_TLS_KEY"),
  };
  const unset = Object.entries(tls).flatMap(([part, value]) =>
    value === null ? [`MQTT_TLS_${part.toUpperCase()}`] : []
  );
  require(
    unset.length % 3 === 0,
    `MQTT over TLS needs MQTT_TLS_PORT, MQTT_TLS_CERT and MQTT_TLS_KEY; not set: ${unset.join(", ")}.`,
  );

  const brokerAnonymous = read("BROKER_ANONYMOUS", flag, false);
  require(
    !(production && brokerAnonymous),
    "BROKER_ANONYMOUS=true lets anybody in without a login, which production refuses. Leave it out.",
  );

  return {
    mode,
    port: count("PORT"),
    hostname,
    dataDir,
    databaseUrl: url("DATABASE_URL", "postgres:", "postgresql:"),
    kvPath: kvPath ?? (kvUrl !== null || onDeploy ? null : `${dataDir}/kv.sqlite3`),
    kvUrl,
    kvToken: text("KV_TOKEN"),
    mediaDir: text("MEDIA_DIR") ?? `${dataDir}/media`,
    publicUrl,
    trustedProxies: read("TRUSTED_PROXIES", list(parseRange), []),
    allowedOrigins: read("ALLOWED_ORIGINS", list(parseOrigin), []),
    adminSecret,
    smsProvider,
    smsWebhookUrl,
    mqttTcpPort: read<number | null>("MQTT_TCP_PORT", integer(0, 65_535), null),
    mqttTls: tls.port === null || tls.cert === null || tls.key === null
      ? null
      : { port: tls.port, cert: tls.cert, key: tls.key },
    mqttWsPort: read<number | null>("MQTT_WS_PORT", integer(0, 65_535), null),
    brokerAnonymous,
    openTopics: read("OPEN_TOPICS", list(openTopicFilter), []),
    messageShards: count("MESSAGE_SHARDS"),
    drainSeconds: count("DRAIN_SECONDS"),
    rateLimits: read("RATE_LIMITS", parseRateLimits, new Map<string, RateLimit>()),
    logFormat: read("LOG_FORMAT", choice("text", "json"), "text"),
    logLevel: read("LOG_LEVEL", choice("debug", "info", "warn", "error"), "info"),
    samePlatform: read("SAME_PLATFORM", choice("keep", "kick"), "keep"),
    metricsToken: text("METRICS_TOKEN"),
    limits: {
      connectTimeoutSeconds: count("CONNECT_TIMEOUT_SECONDS"),
      maxUnauthenticatedPerIp: count("MAX_UNAUTHENTICATED_PER_IP"),
      maxUnauthenticated: count("MAX_UNAUTHENTICATED"),
      maxConnectionsPerUser: count("MAX_CONNECTIONS_PER_USER"),
      maxConnectionsPerIp: read<number | null>("MAX_CONNECTIONS_PER_IP", integer(1, 1_000_000), null),
      maxFailedConnectsPerMinute: count("MAX_FAILED_CONNECTS_PER_MINUTE"),
      maxPacketBytes: count("MAX_PACKET_BYTES"),
      maxInflightOut: count("MAX_INFLIGHT_OUT"),
      maxInflightIn: count("MAX_INFLIGHT_IN"),
      maxSubscriptions: count("MAX_SUBSCRIPTIONS"),
      maxTopicLevels: count("MAX_TOPIC_LEVELS"),
      maxFilterBytes: count("MAX_FILTER_BYTES"),
      maxClientIdBytes: count("MAX_CLIENT_ID_BYTES"),
      maxKeepAliveSeconds: count("MAX_KEEP_ALIVE_SECONDS"),
      maxTopicAliases: count("MAX_TOPIC_ALIASES"),
      maxSessionExpirySeconds: count("MAX_SESSION_EXPIRY_SECONDS"),
      maxPersistentSessions: count("MAX_PERSISTENT_SESSIONS"),
      maxQueuedMessages: count("MAX_QUEUED_MESSAGES"),
      maxQueuedBytes: count("MAX_QUEUED_BYTES"),
      maxRetainedPerFilter: count("MAX_RETAINED_PER_FILTER"),
      maxRetainedBytes: count("MAX_RETAINED_BYTES"),
      maxWaitingBytes: count("MAX_WAITING_BYTES"),
      stalledSeconds: count("STALLED_SECONDS"),
      idleTimeoutSeconds: count("IDLE_TIMEOUT_SECONDS"),
      limitLoopback: read("LIMIT_LOOPBACK", flag, false),
    },
    loginLimits: {
      codesPerMobileDay: count("LOGIN_CODES_PER_MOBILE_DAY"),
      codePauseSeconds: count("LOGIN_CODE_PAUSE_SECONDS"),
      codesPerIpMinute: count("LOGIN_CODES_PER_IP_MINUTE"),
      codesPerHour: count("LOGIN_CODES_PER_HOUR"),
    },
  };
}

/**
 * Reads certificate and private key of MQTT over TLS.
 *
 * @throws ConfigError for a file that cannot be read or is not PEM.
 */
export async function readCertificate(
  files: { readonly cert: string; readonly key: string },
): Promise<{ readonly cert: string; readonly key: string }> {
  const read = async (name: string, file: string, kind: string) => {
    const text = await Deno.readTextFile(file).catch((cause: Error) => {
      throw new ConfigError(`${name}=${file} cannot be read: ${cause.message}.`, { cause });
    });
    if (new RegExp(`^-----BEGIN (?:[A-Z]+ )?${kind}-----\\r?$`, "m").test(text)) return text;
    throw new ConfigError(`${name}=${file} is not a PEM file with a ${kind}.`);
  };
  return {
    cert: await read("MQTT_TLS_CERT", files.cert, "CERTIFICATE"),
    key: await read("MQTT_TLS_KEY", files.key, "PRIVATE KEY"),
  };
}

/** The environment of this process; the only place that asks for it. */
export function processEnv(): Env {
  return Deno.env.toObject();
}

/** Deno's client of a remote KV takes its token from the environment alone. */
export function exportKvToken(token: string | null): void {
  if (token !== null) Deno.env.set("DENO_KV_ACCESS_TOKEN", token);
}

/** The language of this process's messages, from `--lang`, else `LC_ALL`, `LC_MESSAGES` or `LANG`. */
export function languageOf(env: Env, asked?: string): "en" | "zh" {
  const language = asked ?? (env.LC_ALL || env.LC_MESSAGES || env.LANG || "en");
  return language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The table of settings as `deno task start --help` shows it. */
export function helpText(language: "en" | "zh"): string {
  const heading = language === "zh"
    ? "炉火 Hearth：一个 Deno 程序的即时通讯服务器\n\n用法：deno task start [--help] [--version] [--lang=zh|en]\n\n设置（环境变量，均可省略）："
    : "Hearth, an instant-messaging server in one Deno program\n\n" +
      "Usage: deno task start [--help] [--version] [--lang=en|zh]\n\nSettings (environment variables, each optional):";
  const column = (of: (setting: Setting) => string) =>
    Math.max(...SETTINGS.map((setting) => of(setting).length));
  const names = column((setting) => setting.name);
  const defaults = column((setting) => setting.default);
  const rows = SETTINGS.map((setting) =>
    `  ${setting.name.padEnd(names)}  ${setting.default.padEnd(defaults)}  ${setting[language]}`
  );
  return [heading, "", ...rows, ""].join("\n");
}

/** 16 characters or more of which enough remains when well-known pieces are taken out. */
function isStrong(secret: string): boolean {
  const rest = secret.toLowerCase().replaceAll(WELL_KNOWN, "");
  return secret.length >= 16 && rest.length >= 8 && new Set(rest).size >= 5;
}

/** Whether only this machine can reach `hostname`. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

function refusal(name: string, given: string): string {
  // A secret inside an address is nobody's business in a log.
  const shown = name.endsWith("_URL") ? given.replace(/\/\/[^@/]*@/, "//…@") : given;
  return `${name}=${shown} cannot be used; it accepts ${settingOf(name).accepts}.`;
}

function settingOf(name: string): Setting {
  const setting = SETTINGS.find((setting) => setting.name === name);
  if (setting === undefined) throw new Error(`${name} is missing in the table of settings`);
  return setting;
}

function parseOrigin(given: string): string | null {
  if (!URL.canParse(given)) return null;
  const url = new URL(given);
  const bare = url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  return bare && (url.protocol === "http:" || url.protocol === "https:") ? url.origin : null;
}

function parseRange(given: string): string | null {
  return /^(?:\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,2})?|[0-9a-f:]*:[0-9a-f:.]*(?:\/\d{1,3})?)$/i.test(given)
    ? given
    : null;
}
