import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Admission, Admissions, Peer } from "./admission.ts";

/** How often what is late is looked for, in milliseconds. */
const TICK_MS = 1_000;

interface Arrival {
  readonly admission: Admission;
  sinceMs: number;
}

/**
 * The sockets of a listener that have not got as far as MQTT: their TLS handshake or their upgrade is to come. Each
 * counts as a connection without a CONNECT, and has the time of one.
 */
export class Arrivals {
  readonly #admissions: Admissions;
  readonly #timeoutMs: number;
  readonly #sockets = new Map<Duplex, Arrival>();
  #ticker: ReturnType<typeof setInterval> | undefined;
  #tickedAtMs = 0;

  constructor(admissions: Admissions, timeoutMs: number) {
    this.#admissions = admissions;
    this.#timeoutMs = timeoutMs;
  }

  /** Counts a socket until it is released or closed; false when it is one too many: it is closed then. */
  take(socket: Socket, peer: Peer): boolean {
    // What goes wrong before MQTT concerns nobody; `close` follows.
    socket.on("error", () => {});
    if (this.#admissions.refuse(peer, Date.now()) !== null) {
      socket.destroy();
      return false;
    }
    const sinceMs = performance.now();
    this.#sockets.set(socket, { admission: this.#admissions.admit(peer, Date.now()), sinceMs });
    socket.once("close", () => this.release(socket));
    if (this.#ticker === undefined) {
      this.#tickedAtMs = sinceMs;
      this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    }
    return true;
  }

  /** The socket is counted elsewhere from now on; saying it again changes nothing. */
  release(socket: Duplex): void {
    const arrival = this.#sockets.get(socket);
    if (arrival === undefined) return;
    this.#sockets.delete(socket);
    this.#admissions.release(arrival.admission);
    if (this.#sockets.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  /** Closes all. */
  close(): void {
    for (const socket of [...this.#sockets.keys()]) {
      this.release(socket);
      socket.destroy();
    }
  }

  #tick(): void {
    const nowMs = performance.now();
    const lateMs = nowMs - this.#tickedAtMs - TICK_MS;
    this.#tickedAtMs = nowMs;
    for (const [socket, arrival] of this.#sockets) {
      // When this process stood still, what the peers sent meanwhile has not been read yet.
      if (lateMs > TICK_MS) arrival.sinceMs += lateMs;
      if (nowMs - arrival.sinceMs > this.#timeoutMs) socket.destroy();
    }
  }
}
