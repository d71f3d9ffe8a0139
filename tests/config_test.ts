import assert from "node:assert/strict";
import { ConfigError, type Env, helpText, languageOf, readConfig } from "../config.ts";
import { SETTINGS } from "../settings.ts";

const PRODUCTION: Env = { PUBLIC_URL: "https://chat.example.org" };

Deno.test("An empty environment is a development server on loopback with its own databases", () => {
  const config = readConfig({});
  assert.equal(config.mode, "development");
  assert.equal(config.hostname, "127.0.0.1");
  assert.equal(config.port, 8000);
  assert.equal(config.databaseUrl, null);
  assert.equal(config.kvPath, "./data/kv.sqlite3");
  assert.equal(config.smsProvider, "log");
  assert.equal(config.limits.maxPacketBytes, 262_144);
  assert.deepEqual([config.brokerAnonymous, config.openTopics], [false, []]);
  assert.deepEqual([config.mqttTcpPort, config.mqttTls, config.mqttWsPort], [null, null, null]);
});

Deno.test("A development server may let clients in without a login", () =>
  assert.equal(readConfig({ BROKER_ANONYMOUS: "true" }).brokerAnonymous, true));

Deno.test("OPEN_TOPICS takes the filters that the broker can open, and no other [MQTT-4.7.1-1] [MQTT-4.7.1-2]", () => {
  const good = ["#", "+", "+/x", "/", "a", "a/#", "a/+/b", "imx/y", "a/$x", "meter/+", "温度/#"];
  const bad = [
    "a#",
    "a/#/b",
    "a+/b",
    "##",
    "im",
    "im/#",
    "im/+",
    "me",
    "me/inbox",
    "$SYS/#",
    "$share/g/a",
    "a\0b",
  ];
  for (const filter of good) {
    assert.deepEqual(readConfig({ OPEN_TOPICS: filter }).openTopics, [filter], filter);
  }
  for (const filter of bad) {
    assert.throws(() => readConfig({ OPEN_TOPICS: filter }), ConfigError, filter);
  }
  assert.throws(() => readConfig({ OPEN_TOPICS: "x".repeat(65_536) }), ConfigError);
});

Deno.test("An https PUBLIC_URL makes a production server that listens everywhere", () => {
  const config = readConfig(PRODUCTION);
  assert.equal(config.mode, "production");
  assert.equal(config.hostname, "0.0.0.0");
  assert.equal(config.smsProvider, "none");
});

Deno.test("An empty value counts as unset", () =>
  assert.equal(readConfig({ PORT: "", HOST: " " }).port, 8000));

const REFUSED: readonly [Env, RegExp][] = [
  [{ PORT: "http" }, /^PORT=http cannot be used; it accepts a whole number from 0 to 65535\.$/],
  [{ PORT: "70000" }, /^PORT=70000 /],
  [{ PORT: "-1" }, /^PORT=-1 /],
  [{ PORT: "1e3" }, /^PORT=1e3 /],
  [{ HEARTH_ENV: "prod" }, /^HEARTH_ENV=prod .* development or production\.$/],
  [{ HEARTH_ENV: "production" }, /^PUBLIC_URL must be set in production/],
  [{ PUBLIC_URL: "chat.example.org" }, /^PUBLIC_URL=chat\.example\.org /],
  [{ PUBLIC_URL: "https://chat.example.org/chat" }, /^PUBLIC_URL=/],
  [{ HOST: "0.0.0.0" }, /^HOST=0\.0\.0\.0 would open a development server.*ALLOW_OPEN_DEVELOPMENT=true/],
  [{ HOST: "a b" }, /^HOST=a b is not an address/],
  [{ ALLOW_OPEN_DEVELOPMENT: "yes", HOST: "0.0.0.0" }, /^ALLOW_OPEN_DEVELOPMENT=yes .* true or false\.$/],
  [{ DATABASE_URL: "mysql://localhost/x" }, /^DATABASE_URL=mysql:\/\/localhost\/x /],
  [{ DATABASE_URL: "http://me:secret@localhost/x" }, /^DATABASE_URL=http:\/\/…@localhost\/x /],
  [{ KV_URL: "file:///x" }, /^KV_URL=/],
  [{ KV_URL: "https://kv.example.org", KV_PATH: "/x" }, /^KV_URL and KV_PATH exclude each other/],
  [{ MESSAGE_SHARDS: "0" }, /^MESSAGE_SHARDS=0 /],
  [{ SMS_PROVIDER: "pigeon" }, /^SMS_PROVIDER=pigeon .* log, webhook or none\.$/],
  [{ SMS_PROVIDER: "webhook" }, /needs SMS_WEBHOOK_URL/],
  [{ ...PRODUCTION, SMS_PROVIDER: "log" }, /^SMS_PROVIDER=log .*refuses/],
  [{ ...PRODUCTION, ADMIN_SECRET: "123456" }, /^ADMIN_SECRET is too short or well known/],
  [{ ...PRODUCTION, ADMIN_SECRET: "12345678901234567890" }, /^ADMIN_SECRET /],
  [{ ...PRODUCTION, ADMIN_SECRET: "adminadminadminadmin" }, /^ADMIN_SECRET /],
  [{ ...PRODUCTION, ADMIN_SECRET: "aaaaaaaaaaaaaaaaaaaa" }, /^ADMIN_SECRET /],
  [{ TRUSTED_PROXIES: "10.0.0.0/8,proxy" }, /^TRUSTED_PROXIES=/],
  [{ ALLOWED_ORIGINS: "*" }, /^ALLOWED_ORIGINS=\* /],
  [{ MQTT_TCP_PORT: "65536" }, /^MQTT_TCP_PORT=65536 /],
  [{ MQTT_WS_PORT: "ws" }, /^MQTT_WS_PORT=ws .* a port from 0 to 65535\.$/],
  [{ MQTT_TLS_PORT: "-1" }, /^MQTT_TLS_PORT=-1 /],
  [{ MQTT_TLS_PORT: "8883" }, /^MQTT over TLS needs .* not set: MQTT_TLS_CERT, MQTT_TLS_KEY\.$/],
  [{ MQTT_TLS_CERT: "/c.pem", MQTT_TLS_KEY: "/k.pem" }, /not set: MQTT_TLS_PORT\.$/],
  [{ MQTT_TLS_PORT: "8883", MQTT_TLS_CERT: "/c.pem" }, /not set: MQTT_TLS_KEY\.$/],
  [{ BROKER_ANONYMOUS: "yes" }, /^BROKER_ANONYMOUS=yes .* true or false\.$/],
  [{ ...PRODUCTION, BROKER_ANONYMOUS: "true" }, /^BROKER_ANONYMOUS=true lets anybody in .*refuses/],
  [
    { OPEN_TOPICS: "sensors/#,im/#" },
    /^OPEN_TOPICS=sensors\/#,im\/# cannot be used; it accepts topic filters/,
  ],
  [{ MAX_KEEP_ALIVE_SECONDS: "65536" }, /^MAX_KEEP_ALIVE_SECONDS=65536 /],
  [{ MAX_SESSION_EXPIRY_SECONDS: "4294967296" }, /^MAX_SESSION_EXPIRY_SECONDS=4294967296 /],
  [{ MAX_TOPIC_ALIASES: "65536" }, /^MAX_TOPIC_ALIASES=65536 /],
  [{ MAX_CLIENT_ID_BYTES: "22" }, /^MAX_CLIENT_ID_BYTES=22 .* from 23 to 65535\.$/],
  [{ RATE_LIMITS: "message.send=fast" }, /^RATE_LIMITS=message\.send=fast /],
  [{ SAME_PLATFORM: "both" }, /^SAME_PLATFORM=both .* keep or kick\.$/],
  [{ LOG_FORMAT: "xml" }, /^LOG_FORMAT=xml .* text or json\.$/],
  [{ LOG_LEVEL: "loud" }, /^LOG_LEVEL=loud /],
  [{ MAX_PACKET_BYTES: "12" }, /^MAX_PACKET_BYTES=12 /],
  [{ MAX_CONNECTIONS_PER_IP: "none" }, /^MAX_CONNECTIONS_PER_IP=none /],
];

for (const [env, sentence] of REFUSED) {
  const shown = Object.entries(env).map(([name, value]) => `${name}=${value}`).join(" ");
  Deno.test(`A bad setting stops the start with a sentence that names it: ${shown}`, () => {
    assert.throws(
      () => readConfig(env),
      (error) => error instanceof ConfigError && sentence.test(error.message),
    );
  });
}

Deno.test("Good values are taken as they are", () => {
  const config = readConfig({
    ...PRODUCTION,
    ADMIN_SECRET: "kQ9-long-enough-and-random",
    TRUSTED_PROXIES: "10.0.0.0/8, ::1",
    ALLOWED_ORIGINS: "https://app.example.org/",
    RATE_LIMITS: "message.send=10/2.5,sync=1/1",
    SMS_WEBHOOK_URL: "https://sms.example.org/send",
    MQTT_TCP_PORT: "0",
    MQTT_TLS_PORT: "8883",
    MQTT_TLS_CERT: "/tls/cert.pem",
    MQTT_TLS_KEY: "/tls/key.pem",
    MQTT_WS_PORT: "9001",
    OPEN_TOPICS: "sensors/#, calls/+/signal",
    MAX_KEEP_ALIVE_SECONDS: "0",
    MAX_SESSION_EXPIRY_SECONDS: "4294967295",
  });
  assert.deepEqual(config.trustedProxies, ["10.0.0.0/8", "::1"]);
  assert.deepEqual(config.allowedOrigins, ["https://app.example.org"]);
  assert.deepEqual(config.rateLimits !== "off" && config.rateLimits.get("message.send"), {
    burst: 10,
    perSecond: 2.5,
  });
  assert.equal(config.smsProvider, "webhook");
  assert.equal(config.mqttTcpPort, 0);
  assert.deepEqual(config.mqttTls, { port: 8883, cert: "/tls/cert.pem", key: "/tls/key.pem" });
  assert.equal(config.mqttWsPort, 9001);
  assert.deepEqual(config.openTopics, ["sensors/#", "calls/+/signal"]);
  assert.equal(config.limits.maxKeepAliveSeconds, 0);
  assert.equal(config.limits.maxSessionExpirySeconds, 4_294_967_295);
});

Deno.test("Rate limits can be switched off", () =>
  assert.equal(readConfig({ RATE_LIMITS: "off" }).rateLimits, "off"));

Deno.test("The help lists every setting once, in both languages", () => {
  assert.equal(new Set(SETTINGS.map((setting) => setting.name)).size, SETTINGS.length);
  for (const language of ["en", "zh"] as const) {
    const lines = helpText(language).split("\n");
    for (const setting of SETTINGS) {
      assert.equal(lines.filter((line) => line.startsWith(`  ${setting.name} `)).length, 1, setting.name);
    }
  }
  assert.equal(languageOf({ LANG: "zh_CN.UTF-8" }), "zh");
  assert.equal(languageOf({ LANG: "zh_CN.UTF-8" }, "en"), "en");
  assert.equal(languageOf({}), "en");
});
