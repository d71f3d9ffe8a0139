import { convertIPv4ToBinary, convertIPv6ToBinary, distinctRemoteAddr } from "hono/utils/ipaddr";

interface Range {
  readonly family: "IPv4" | "IPv6";
  /** The bits of the network, those of hosts cut off. */
  readonly network: bigint;
  readonly hostBits: bigint;
}

/** Addresses and CIDR ranges, as in `10.0.0.0/8,::1`. */
export class AddressRanges {
  readonly #ranges: readonly Range[];

  /** A range that cannot be read holds nothing. */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.flatMap((range) => parseRange(range) ?? []);
  }

  /** Whether an address lies in one of them. */
  has(address: string): boolean {
    const given = toBits(address);
    return given !== null &&
      this.#ranges.some(({ family, network, hostBits }) =>
        given.family === family && given.bits >> hostBits === network
      );
  }
}

/** An address without brackets, port and zone, an IPv4 one in its plain form; null when it is none. */
export function plainAddress(text: string): string | null {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  const address = bare.split("%")[0]!;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  return toBits(mapped) === null ? null : mapped;
}

function parseRange(text: string): Range | null {
  const [address = "", prefix] = text.split("/");
  const given = toBits(address);
  if (given === null) return null;
  const width = given.family === "IPv4" ? 32 : 128;
  const length = prefix === undefined ? width : Number(prefix);
  if (length > width) return null;
  const hostBits = BigInt(width - length);
  return { family: given.family, network: given.bits >> hostBits, hostBits };
}

function toBits(address: string): { readonly family: Range["family"]; readonly bits: bigint } | null {
  const family = distinctRemoteAddr(address);
  if (family !== "IPv4" && family !== "IPv6") return null;
  try {
    const bits = family === "IPv4" ? convertIPv4ToBinary(address) : convertIPv6ToBinary(address);
    return { family, bits };
  } catch {
    // It looked like an address and was none.
    return null;
  }
}
