import type { Log } from "../log.ts";
import type { Peer } from "./admission.ts";
import type { OpenStreams } from "./open_streams.ts";
import { TcpStream } from "./tcp_stream.ts";

/** How long accepting rests after a failure, such as having run out of file descriptors. */
const ACCEPT_PAUSE_MS = 100;

/** What a listener needs of the broker. */
export interface TcpListenerHost {
  readonly log: Log;
  readonly streams: OpenStreams;
  /** Whether a connection from this peer is not taken now. */
  isRefused(peer: Peer): boolean;
  accept(stream: TcpStream): void;
}

/** Takes MQTT connections over plain TCP. */
export class TcpListener {
  readonly port: number;
  readonly #host: TcpListenerHost;
  readonly #listener: Deno.TcpListener;
  #isClosed = false;

  /** Listens at once; port 0 takes any free one. */
  constructor(host: TcpListenerHost, options: { readonly hostname: string; readonly port: number }) {
    this.#host = host;
    this.#listener = Deno.listen({ ...options, transport: "tcp" });
    this.port = this.#listener.addr.port;
    this.#accept().catch((cause) => host.log.error("TCP listener failed", cause));
  }

  async #accept(): Promise<void> {
    while (!this.#isClosed) {
      let conn: Deno.TcpConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#isClosed) return;
        // Out of file descriptors, or a peer that left while it was being accepted: the next one may do better.
        this.#host.log.warn("TCP connection not accepted", { error: String(error) });
        await new Promise((resume) => setTimeout(resume, ACCEPT_PAUSE_MS));
        continue;
      }
      this.#take(conn);
    }
  }

  #take(conn: Deno.TcpConn): void {
    const peer = { address: conn.remoteAddr.hostname, isTrustedProxy: false };
    if (this.#host.isRefused(peer)) return conn.close();
    try {
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // It is gone already; reading will tell.
    }
    const { log, streams } = this.#host;
    this.#host.accept(new TcpStream(conn, peer, { log, streams }));
  }

  /** Takes no more connections; those it has stay. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
  }
}
