/**
 * MQTT over TLS, on the sockets of `node:tls`: one of `Deno.listenTls` that is closed before its handshake is done stays
 * open for as long as its peer likes.
 */

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import type { Log } from "../log.ts";
import type { Admissions, Peer } from "./admission.ts";
import { Arrivals } from "./arrivals.ts";
import type { BrokerLimits } from "./limits.ts";
import type { OpenStreams } from "./open_streams.ts";
import { TlsStream } from "./tls_stream.ts";

/** Certificate and private key are no such thing, or not of each other. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/** What a listener needs of the broker. */
export interface TlsListenerHost {
  readonly log: Log;
  readonly streams: OpenStreams;
  readonly limits: BrokerLimits;
  readonly admissions: Admissions;
  accept(stream: TlsStream): void;
}

/** Where to listen, and as whom. */
export interface TlsListenerOptions {
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** The certificate and its chain as PEM text. */
  readonly cert: string;
  /** The private key as PEM text. */
  readonly key: string;
}

/** Takes MQTT connections over TLS. */
export class TlsListener {
  readonly #host: TlsListenerHost;
  readonly #secureContext: SecureContext;
  readonly #server: Server;
  readonly #arrivals: Arrivals;

  private constructor(host: TlsListenerHost, certificate: TlsListenerOptions) {
    requirePair(certificate);
    this.#host = host;
    this.#secureContext = createSecureContext({ cert: certificate.cert, key: certificate.key });
    this.#arrivals = new Arrivals(host.admissions, host.limits.connectTimeoutSeconds * 1_000);
    this.#server = createServer((socket) => this.#take(socket));
  }

  /**
   * Listens; rejects when it cannot.
   *
   * @throws {CertificateError}
   */
  static async open(host: TlsListenerHost, options: TlsListenerOptions): Promise<TlsListener> {
    const listener = new TlsListener(host, options);
    const server = listener.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port, options.hostname, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => host.log.warn("TLS connection not accepted", { error: String(error) }));
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #take(socket: Socket): void {
    const peer: Peer = { address: socket.remoteAddress ?? "", isTrustedProxy: false };
    if (!this.#arrivals.take(socket, peer)) return;
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    const secure = new TLSSocket(socket, { isServer: true, secureContext: this.#secureContext });
    // A handshake that fails, a peer that is gone: `close` follows.
    secure.on("error", () => {});
    secure.once("secure", () => {
      // From here on it is counted with its connection.
      this.#arrivals.release(socket);
      this.#host.accept(new TlsStream(secure, peer, this.#host.streams));
    });
  }

  /** Takes no more connections; those it has stay. Safe to call twice. */
  close(): void {
    this.#server.close();
    this.#arrivals.close();
  }
}

/** A context is looked into by the first handshake only; a listener of the runtime does it at once. */
function requirePair({ cert, key }: TlsListenerOptions): void {
  try {
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
  } catch (cause) {
    throw new CertificateError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
