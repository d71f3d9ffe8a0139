/** Where a request comes from and whom it was addressed to. */

import type { Peer } from "../broker/mod.ts";
import { addressKey, isLoopback } from "../im/mod.ts";
import { AddressRanges, plainAddress } from "./address_ranges.ts";
import type { RouteConfig } from "./route_config.ts";

/** Who makes a request, and what he calls this server. */
export interface Client {
  /** The client's address, not that of a proxy of ours that names its client. */
  readonly address: string;
  /** The same for limits per address. */
  readonly peer: Peer;
  /** The host and port the client asked for; "" when it named none. */
  readonly host: string;
  /** What people call this server, as in `https://chat.example.org`: links and cookies are made for it. */
  readonly origin: string;
  /** The web origins whose pages are ours. */
  readonly ownOrigins: readonly string[];
  /** Made on this machine and addressed to it, with no proxy in between. */
  readonly isLocal: boolean;
}

/** What a proxy adds: a request with one of these was not made where it comes from. */
const FORWARDED_HEADERS = [
  "forwarded",
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-forwarded-server",
  "x-real-ip",
];

/** Tells who makes a request; forwarded headers count from trusted proxies alone. */
export class Clients {
  readonly #config: RouteConfig;
  readonly #proxies: AddressRanges;

  constructor(config: RouteConfig) {
    this.#config = config;
    this.#proxies = new AddressRanges(config.trustedProxies);
  }

  /** @param peerAddress the other end of the TCP connection */
  describe({ headers }: Pick<Request, "headers">, peerAddress: string): Client {
    const { mode, publicUrl } = this.#config;
    const peer = plainAddress(peerAddress) ?? peerAddress;
    const isProxy = this.#proxies.has(peer);
    const forwarded = (name: string) => isProxy ? lastOf(headers.get(name)) : null;
    const named = isProxy ? this.#firstStranger(headers.get("x-forwarded-for")) : null;
    const host = (forwarded("x-forwarded-host") ?? headers.get("host") ?? "").toLowerCase();
    const scheme = forwarded("x-forwarded-proto") === "https" ? "https" : "http";
    const asked = originOf(scheme, host);
    return {
      address: named ?? peer,
      peer: { address: named ?? peer, isTrustedProxy: isProxy && named === null },
      host,
      origin: publicUrl ?? asked,
      // In development the page is ours under any name this machine is reached by.
      ownOrigins: publicUrl === null ? [asked] : mode === "production" ? [publicUrl] : [publicUrl, asked],
      isLocal: isLoopback(peer) && isLoopbackName(host) &&
        FORWARDED_HEADERS.every((name) => !headers.has(name)),
    };
  }

  /** From the nearest hop outwards, the first that is no proxy of ours; null when the proxy names nobody. */
  #firstStranger(hops: string | null): string | null {
    let furthest: string | null = null;
    for (const hop of (hops ?? "").split(",").toReversed()) {
      const address = plainAddress(hop.trim());
      if (address === null) break;
      furthest = address;
      if (!this.#proxies.has(address)) break;
    }
    return furthest;
  }
}

/** What limits per address count a client by; null for this machine's own in development. */
export function limitKey(config: RouteConfig, client: Client): string | null {
  return config.mode === "development" && isLoopback(client.address) ? null : addressKey(client.address);
}

/** What the nearest proxy said: each adds its own at the end. */
function lastOf(list: string | null): string | null {
  return list?.split(",").at(-1)?.trim() || null;
}

/** A name of 253 characters and a port. */
const MAX_HOST = 259;

/** A browser leaves out the port that the scheme implies; what no page's `Origin` can be stands for no host. */
export function originOf(scheme: string, host: string): string {
  const isHost = host.length <= MAX_HOST && /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/.test(host);
  const url = `${scheme}://${host}`;
  return isHost && URL.canParse(url) ? new URL(url).origin : "about:invalid";
}

/** Whether a host, with or without a port, can only mean this machine. */
function isLoopbackName(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(name);
}
