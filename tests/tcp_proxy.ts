/** A TCP proxy that a test can cut: what a lost network looks like to both ends. */

/** Stands between clients and a server until its test ends. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** How many connections have come through so far. */
  readonly accepted: number;
  /** Cuts every connection that is open now; new ones come through. */
  cut(): void;
  /** Cuts everything and lets nothing through until {@linkcode mend}. */
  breakDown(): void;
  mend(): void;
}

/** Starts a proxy on a free port of this machine. */
export function startProxy(targetPort: number): TcpProxy {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.TcpConn>();
  const pipes = new Set<Promise<unknown>>();
  let broken = false;
  let accepted = 0;

  const close = (socket: Deno.TcpConn) => {
    if (!open.delete(socket)) return;
    socket.close();
  };
  const cut = () => open.forEach(close);
  const carry = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
      }
    } catch {
      // Cut, here or at one of the ends: both halves go.
    }
    close(from);
    close(to);
  };
  const track = (work: Promise<unknown>) => {
    pipes.add(work);
    void work.finally(() => pipes.delete(work));
  };
  const join = async (client: Deno.TcpConn) => {
    open.add(client);
    const server = await Deno.connect({ hostname: "127.0.0.1", port: targetPort }).catch(() => null);
    if (server === null) return close(client);
    open.add(server);
    if (!open.has(client)) return close(server);
    await Promise.all([carry(client, server), carry(server, client)]);
  };
  const accepting = (async () => {
    for await (const client of listener) {
      if (broken) {
        client.close();
        continue;
      }
      accepted++;
      track(join(client));
    }
  })();
  return {
    port: listener.addr.port,
    get accepted() {
      return accepted;
    },
    cut,
    breakDown() {
      broken = true;
      cut();
    },
    mend() {
      broken = false;
    },
    async [Symbol.asyncDispose]() {
      broken = true;
      listener.close();
      cut();
      await accepting;
      await Promise.all(pipes);
    },
  };
}
