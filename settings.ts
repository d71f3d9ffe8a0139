/** The table of settings: what each is called, its default, what it accepts, what it means. */

/** One setting. */
export interface Setting {
  readonly name: string;
  /** As shown; numbers are the default itself. */
  readonly default: string;
  /** Ends the sentence "it accepts …". */
  readonly accepts: string;
  readonly en: string;
  readonly zh: string;
  /** Bounds of a number. */
  readonly min?: number;
  readonly max?: number;
}

function number(name: string, value: number, min: number, max: number, en: string, zh: string): Setting {
  return { name, default: String(value), accepts: `a whole number from ${min} to ${max}`, en, zh, min, max };
}

function words(name: string, shown: string, accepts: string, en: string, zh: string): Setting {
  return { name, default: shown, accepts, en, zh };
}

const ORIGIN = "an origin without a path, as in https://chat.example.org";
const YES_OR_NO = "true or false";

/** Every setting, in the order `--help` shows them. */
export const SETTINGS: readonly Setting[] = [
  number(
    "PORT",
    8000,
    0,
    65_535,
    "The one port for pages, HTTP and MQTT over WebSocket; 0 picks a free one",
    "网页、HTTP 与 MQTT over WebSocket 共用的端口；0 表示自动选择",
  ),
  words(
    "HOST",
    "127.0.0.1",
    "an IP address or a host name",
    "Address to listen on; 0.0.0.0 in production",
    "监听地址；生产模式默认 0.0.0.0",
  ),
  words(
    "HEARTH_ENV",
    "development",
    "development or production",
    "Production is strict; default with an https PUBLIC_URL and on Deno Deploy",
    "生产模式检查严格；PUBLIC_URL 为 https 或在 Deno Deploy 上时默认 production",
  ),
  words(
    "PUBLIC_URL",
    "–",
    ORIGIN,
    "The address people open; required in production",
    "对外访问地址；生产模式必填",
  ),
  words(
    "DATA_DIR",
    "./data",
    "a folder",
    "Folder of the built-in database, the KV file, media and secrets",
    "内置数据库、KV 文件、媒体与密钥所在目录",
  ),
  words(
    "DATABASE_URL",
    "–",
    "an address as in postgres://user:password@host:5432/hearth",
    "A Postgres 15 or newer; without it Hearth runs its own",
    "外部 Postgres（15 及以上）；不设则使用内置数据库",
  ),
  number(
    "MESSAGE_SHARDS",
    128,
    1,
    1024,
    "Partitions of the timelines; fixed by the first start",
    "时间线表的分区数；首次启动后不可更改",
  ),
  words("KV_PATH", "DATA_DIR/kv.sqlite3", "a file", "File of Deno KV", "Deno KV 的数据文件"),
  words(
    "KV_URL",
    "–",
    "an http or https address",
    "A KV Connect server instead of a file",
    "使用 KV Connect 服务器代替文件",
  ),
  words("KV_TOKEN", "–", "a text", "Access token for KV_URL", "KV_URL 的访问令牌"),
  words("MEDIA_DIR", "DATA_DIR/media", "a folder", "Folder of uploaded files", "上传文件所在目录"),
  words(
    "TRUSTED_PROXIES",
    "–",
    "addresses and CIDR ranges separated by commas, as in 10.0.0.0/8,::1",
    "Proxies whose forwarded headers are believed",
    "可信代理；只采信它们的转发头",
  ),
  words(
    "ALLOWED_ORIGINS",
    "–",
    "origins separated by commas, as in https://app.example.org",
    "Other web origins that may call the API and open WebSockets",
    "允许跨域访问的其他来源",
  ),
  words(
    "ADMIN_SECRET",
    "made at first start",
    "16 or more characters",
    "Signs requests to the server API",
    "服务端 API 的签名密钥",
  ),
  words(
    "SMS_PROVIDER",
    "log",
    "log, webhook or none",
    "How login codes are sent: log in development, none in production",
    "登录验证码的发送方式：开发为 log，生产默认 none",
  ),
  words(
    "SMS_WEBHOOK_URL",
    "–",
    "an http or https address",
    "Called to send a login code",
    "发送验证码时调用的地址",
  ),
  words(
    "SAME_PLATFORM",
    "keep",
    "keep or kick",
    "Whether a new login ends older ones of the same platform",
    "同平台新登录是否踢掉旧登录",
  ),
  number(
    "LOGIN_CODES_PER_MOBILE_DAY",
    10,
    1,
    1_000_000,
    "Login codes a day to one mobile",
    "每个手机号每天的验证码数",
  ),
  number(
    "LOGIN_CODE_PAUSE_SECONDS",
    60,
    0,
    86_400,
    "Seconds between two codes to one mobile",
    "同一手机号两次验证码的间隔秒数",
  ),
  number(
    "LOGIN_CODES_PER_IP_MINUTE",
    30,
    1,
    1_000_000,
    "Login codes a minute asked for by one address",
    "每个 IP 每分钟的验证码数",
  ),
  number("LOGIN_CODES_PER_HOUR", 1000, 1, 100_000_000, "Login codes an hour in all", "每小时验证码总数"),
  words(
    "MQTT_TCP_PORT",
    "–",
    "a port from 0 to 65535",
    "Also listen for plain MQTT over TCP",
    "另开端口接受 TCP 上的 MQTT",
  ),
  number(
    "CONNECT_TIMEOUT_SECONDS",
    10,
    1,
    3600,
    "Seconds from opening a connection to its CONNECT",
    "连接建立到 CONNECT 的最长秒数",
  ),
  number(
    "MAX_UNAUTHENTICATED_PER_IP",
    100,
    1,
    1_000_000,
    "Connections of one address without a good CONNECT",
    "每个 IP 未通过 CONNECT 的连接数",
  ),
  number(
    "MAX_UNAUTHENTICATED",
    2000,
    1,
    1_000_000,
    "Connections without a good CONNECT in all",
    "未通过 CONNECT 的连接总数",
  ),
  number("MAX_CONNECTIONS_PER_USER", 20, 1, 1_000_000, "Connections of one user", "每个用户的连接数"),
  words(
    "MAX_CONNECTIONS_PER_IP",
    "–",
    "a whole number from 1 to 1000000",
    "Connections of one address; no limit when unset",
    "每个 IP 的连接数；不设则不限",
  ),
  number(
    "MAX_FAILED_CONNECTS_PER_MINUTE",
    20,
    1,
    1_000_000,
    "Failed CONNECTs of one address in a minute, then a minute's pause",
    "每个 IP 每分钟失败的 CONNECT 数，超出后暂停一分钟",
  ),
  words(
    "LIMIT_LOOPBACK",
    "false",
    YES_OR_NO,
    "Limits per address hold for loopback and trusted proxies too",
    "对本机与可信代理同样限制每 IP 的数量",
  ),
  number(
    "MAX_PACKET_BYTES",
    262_144,
    1024,
    268_435_455,
    "Largest MQTT packet that is accepted, bytes",
    "接受的最大 MQTT 报文字节数",
  ),
  number(
    "MAX_INFLIGHT_OUT",
    64,
    1,
    65_535,
    "Deliveries of a connection not yet acknowledged",
    "每个连接未确认的下行 QoS 消息数",
  ),
  number(
    "MAX_INFLIGHT_IN",
    1024,
    1,
    65_535,
    "Requests of a connection not yet acknowledged",
    "每个连接未确认的上行 QoS 消息数",
  ),
  number("MAX_SUBSCRIPTIONS", 100, 1, 100_000, "Subscriptions of a client", "每个客户端的订阅数"),
  number("MAX_TOPIC_LEVELS", 32, 2, 1024, "Levels of a topic", "主题的最大层数"),
  number("MAX_FILTER_BYTES", 1024, 16, 65_535, "Bytes of a topic filter", "主题过滤器的最大字节数"),
  number(
    "MAX_WAITING_BYTES",
    1_048_576,
    65_536,
    1_073_741_824,
    "Bytes waiting for a slow connection before it is closed",
    "慢连接积压多少字节后断开",
  ),
  number(
    "STALLED_SECONDS",
    10,
    1,
    3600,
    "Seconds without progress before a slow connection is closed",
    "慢连接多少秒没有进展后断开",
  ),
  number(
    "IDLE_TIMEOUT_SECONDS",
    90,
    10,
    3600,
    "Seconds of silence before a WebSocket is pinged and closed",
    "WebSocket 静默多少秒后探测并断开",
  ),
  words(
    "RATE_LIMITS",
    "–",
    "off, or command=burst/perSecond pairs separated by commas, as in message.send=2000/500",
    "Other request limits per user, client and command",
    "按用户、客户端与命令调整请求频率",
  ),
  number(
    "DRAIN_SECONDS",
    5,
    0,
    3600,
    "Seconds over which connections are closed at a stop",
    "停机时分散关闭连接的秒数",
  ),
  words(
    "ALLOW_OPEN_DEVELOPMENT",
    "false",
    YES_OR_NO,
    "Development may listen on an address others can reach",
    "允许开发模式监听外部可达的地址",
  ),
  words(
    "METRICS_TOKEN",
    "–",
    "a text",
    "Bearer token for /metrics; without it only loopback may read them",
    "/metrics 的访问令牌；不设则仅限本机",
  ),
  words(
    "LOG_FORMAT",
    "text",
    "text or json",
    "One line per event, for people or for machines",
    "日志格式：给人看或给机器读",
  ),
  words(
    "LOG_LEVEL",
    "info",
    "debug, info, warn or error",
    "The least important events that are logged",
    "日志级别",
  ),
];

/** A whole number between `min` and `max`, both included. */
export function integer(min: number, max: number): (text: string) => number | null {
  return (text) =>
    /^\d{1,15}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : null;
}

/** One of a few words. */
export function choice<const T extends string>(...values: readonly T[]): (text: string) => T | null {
  return (text) => values.find((value) => value === text) ?? null;
}

/** `true` or `false`. */
export function flag(text: string): boolean | null {
  return text === "true" ? true : text === "false" ? false : null;
}

/** Things separated by commas; one that cannot be read spoils the list. */
export function list<T>(parse: (text: string) => T | null): (text: string) => readonly T[] | null {
  return (text) => {
    const values = text.split(",").map((item) => item.trim()).filter((item) => item !== "").map(parse);
    return values.every((value) => value !== null) ? values : null;
  };
}

/** `off`, or `command=burst/perSecond` separated by commas. */
export function parseRateLimits(
  text: string,
): "off" | ReadonlyMap<string, { readonly burst: number; readonly perSecond: number }> | null {
  if (text === "off") return "off";
  const pairs = list((item) => {
    const match = /^([a-z_]+(?:\.[a-z_]+)?)=(\d{1,9})\/(\d{1,9}(?:\.\d{1,3})?)$/.exec(item);
    if (match === null || Number(match[2]) < 1) return null;
    return [match[1]!, { burst: Number(match[2]), perSecond: Number(match[3]) }] as const;
  })(text);
  return pairs === null ? null : new Map(pairs);
}
