import assert from "node:assert/strict";
import { AddressRanges, plainAddress } from "../routes/address_ranges.ts";
import { type Client, Clients, limitKey } from "../routes/client.ts";
import type { RouteConfig } from "../routes/route_config.ts";

const config: RouteConfig = {
  mode: "development",
  publicUrl: null,
  trustedProxies: ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"],
  allowedOrigins: [],
  smsProvider: "log",
  metricsToken: null,
  limits: { maxPacketBytes: 1_000, idleTimeoutSeconds: 60 },
};

function describe(
  peer: string,
  headers: Record<string, string>,
  differing: Partial<RouteConfig> = {},
): Client {
  const request = new Request("http://localhost/", { headers });
  return new Clients({ ...config, ...differing }).describe(request, peer);
}

Deno.test("AddressRanges hold single addresses and whole networks of both families", () => {
  const ranges = new AddressRanges(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/33"]);
  const inside = ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::1", "2001:DB8::1", "::1"];
  for (const address of inside) assert.equal(ranges.has(address), true, address);
  const outside = ["11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db9::1", "::2", "", "x", "10.0.0", "1:2"];
  for (const address of outside) assert.equal(ranges.has(address), false, address);
  assert.equal(new AddressRanges(["0.0.0.0/0"]).has("203.0.113.9"), true);
  assert.equal(new AddressRanges(["0.0.0.0/0"]).has("2001:db8::1"), false);
  assert.equal(new AddressRanges(["::/0"]).has("2001:db8::1"), true);
});

Deno.test("An address is read in the forms that proxies and the runtime write it in", () => {
  const forms: Record<string, string | null> = {
    "203.0.113.1": "203.0.113.1",
    "203.0.113.1:4711": "203.0.113.1",
    "::ffff:203.0.113.1": "203.0.113.1",
    "[2001:db8::1]:4711": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    "fe80::1%eth0": "fe80::1",
    "unknown": null,
    "_hidden": null,
    "": null,
    "203.0.113.999": null,
  };
  for (const [text, address] of Object.entries(forms)) assert.equal(plainAddress(text), address, text);
});

Deno.test("A trusted proxy names the client: the nearest hop that is no proxy of ours", () => {
  const cases: readonly (readonly [string, string | null, string, boolean])[] = [
    // peer, X-Forwarded-For, address, whether it stands for many
    ["10.0.0.1", "203.0.113.1", "203.0.113.1", false],
    ["10.0.0.1", "198.51.100.1, 203.0.113.1", "203.0.113.1", false],
    ["10.0.0.1", "198.51.100.1, 203.0.113.1, 10.0.0.2", "203.0.113.1", false],
    ["10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", false],
    ["10.0.0.1", "203.0.113.1, unknown", "10.0.0.1", true],
    ["10.0.0.1", null, "10.0.0.1", true],
    ["10.0.0.1", "", "10.0.0.1", true],
    ["2001:db8:1::5", "2001:db8:2::9", "2001:db8:2::9", false],
    ["::ffff:10.0.0.1", "203.0.113.1", "203.0.113.1", false],
    // Strangers may say what they like.
    ["203.0.113.1", "127.0.0.1", "203.0.113.1", false],
    ["2001:db8:2::9", "127.0.0.1", "2001:db8:2::9", false],
  ];
  for (const [peer, forwarded, address, isTrustedProxy] of cases) {
    const client = describe(peer, forwarded === null ? {} : { "x-forwarded-for": forwarded });
    assert.deepEqual(client.peer, { address, isTrustedProxy }, `${peer} ${forwarded}`);
    assert.equal(client.address, address);
  }
});

Deno.test("The origin is PUBLIC_URL, else what the request was addressed to; forwarded headers count from trusted proxies alone", () => {
  const forwarded = { "x-forwarded-host": "chat.example.org", "x-forwarded-proto": "https" };
  assert.equal(describe("10.0.0.1", { host: "inner:8000", ...forwarded }).origin, "https://chat.example.org");
  assert.equal(describe("203.0.113.1", { host: "inner:8000", ...forwarded }).origin, "http://inner:8000");
  assert.equal(describe("203.0.113.1", { host: "Chat.Example.org:80" }).origin, "http://chat.example.org");
  assert.equal(describe("::1", { host: "[::1]:8000" }).origin, "http://[::1]:8000");
  const known = describe("203.0.113.1", { host: "inner" }, { publicUrl: "https://chat.example.org" });
  assert.equal(known.origin, "https://chat.example.org");
  assert.deepEqual(known.ownOrigins, ["https://chat.example.org", "http://inner"]);
  const strict = { publicUrl: "https://chat.example.org", mode: "production" } as const;
  assert.deepEqual(describe("203.0.113.1", { host: "inner" }, strict).ownOrigins, [
    "https://chat.example.org",
  ]);
});

Deno.test("A host that is none makes no origin a page could have", () => {
  for (const host of ["", "a b", "user@host", "host/path", "a:99999", "host?x"]) {
    const { origin } = describe("127.0.0.1", { host });
    assert.equal(origin, "about:invalid", host);
  }
});

Deno.test("A request is local when peer and host are this machine and nothing forwarded it", () => {
  const local = (peer: string, headers: Record<string, string>) => describe(peer, headers).isLocal;
  for (const host of ["localhost", "localhost:8000", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000"]) {
    assert.equal(local("127.0.0.1", { host }), true, host);
  }
  assert.equal(local("::1", { host: "localhost" }), true);
  assert.equal(local("::ffff:127.0.0.1", { host: "localhost" }), true);
  for (
    const host of ["", "chat.example.org", "localhost.example.org", "127.0.0.1.example.org", "0x7f000001"]
  ) {
    assert.equal(local("127.0.0.1", { host }), false, host);
  }
  assert.equal(local("203.0.113.1", { host: "localhost" }), false);
  assert.equal(local("127.0.0.1", { host: "localhost", "x-forwarded-for": "127.0.0.1" }), false);
  assert.equal(local("127.0.0.1", { host: "localhost", forwarded: "for=127.0.0.1" }), false);
});

Deno.test("Limits count an IPv6 network as one, and spare this machine in development alone", () => {
  const keyOf = (address: string, mode: "development" | "production") =>
    limitKey({ ...config, mode }, describe(address, {}, { trustedProxies: [] }));
  assert.equal(keyOf("2001:db8:0:1::1", "production"), keyOf("2001:db8:0:1:ffff::2", "production"));
  assert.notEqual(keyOf("2001:db8:0:1::1", "production"), keyOf("2001:db8:0:2::1", "production"));
  assert.equal(keyOf("127.0.0.1", "development"), null);
  assert.equal(keyOf("127.0.0.1", "production"), "127.0.0.1");
});
