/** What an address tells: whether it is ours, and whom to count it as. */

/** Whether an address is this machine's own. */
export function isLoopback(address: string): boolean {
  const plain = withoutMapping(address);
  return plain === "::1" || plain.startsWith("127.");
}

/** Whether an address lies in a private network (RFC 1918, RFC 4193, link-local). */
export function isPrivate(address: string): boolean {
  const plain = withoutMapping(address).toLowerCase();
  if (plain.includes(":")) return /^(?:f[cd]|fe[89ab])/.test(plain);
  return /^(?:10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.)/.test(plain);
}

/** What limits per address count by: an IPv4 address, or the /64 an IPv6 address is in. */
export function addressKey(address: string): string {
  if (!address.includes(":")) return address;
  if (address.includes(".")) return address.slice(address.lastIndexOf(":") + 1);
  const [high = "", low] = (address.split("%")[0]!).split("::");
  const groups = high === "" ? [] : high.split(":");
  if (low !== undefined) {
    const lowGroups = low === "" ? [] : low.split(":");
    while (groups.length + lowGroups.length < 8) groups.push("0");
    groups.push(...lowGroups);
  }
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":");
}

/** An IPv4 address that came in the form of an IPv6 one. */
function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
}
