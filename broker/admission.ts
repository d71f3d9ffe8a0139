/**
 * Who may open a connection: limits per address and in all, for those that have not said who they are. Pure: the time
 * is given.
 */

import { addressKey, isLoopback } from "../im/mod.ts";
import type { BrokerLimits } from "./limits.ts";

/** Where a connection comes from. */
export interface Peer {
  /** The client's address, as text. */
  readonly address: string;
  /** A proxy of ours that did not name its client: it stands for many, so limits per address do not hold for it. */
  readonly isTrustedProxy: boolean;
}

/** Why a connection is not taken. */
export type AdmissionRefusal = "draining" | "too-many" | "too-many-of-address" | "too-many-failures";

/** A place that was given. */
export interface Admission {
  /** null for addresses that limits do not hold for. */
  readonly key: string | null;
  isAuthenticated: boolean;
  /** The connection is over; its socket may still be open. */
  isClosed: boolean;
  isReleased: boolean;
}

interface AddressState {
  /** Sockets that are open, closed on our side or not. */
  connections: number;
  /** Those of them that had no good CONNECT. */
  unauthenticated: number;
  /** Those of them that we have closed and their peer has not. */
  closing: number;
  failures: number;
  /** The minute the failures are counted in. */
  failuresSinceMs: number;
  refusedUntilMs: number;
}

const MINUTE_MS = 60_000;
/**
 * Sockets of one address that we have closed and their peers have not; over it, the address is refused. Roomy: behind
 * one address many people may lose their network, and a peer that vanished is given up by TCP after a quarter of an
 * hour only.
 */
const MAX_CLOSING_PER_ADDRESS = 1_024;

/**
 * Counts connections by address.
 *
 * A peer that does not answer the close of a WebSocket keeps the socket, and nothing ends it from here. It goes on
 * counting for its address, lest an address hold any number of them; in all it does not count, lest one address
 * keep everybody out.
 */
export class Admissions {
  readonly #limits: BrokerLimits;
  readonly #addresses = new Map<string, AddressState>();
  #unauthenticated = 0;
  #sweptAtMs = 0;
  isDraining = false;

  constructor(limits: BrokerLimits) {
    this.#limits = limits;
  }

  /** Connections without a good CONNECT. */
  get unauthenticated(): number {
    return this.#unauthenticated;
  }

  /** Why this peer would be refused now; null when it would not. */
  refuse(peer: Peer, nowMs: number): AdmissionRefusal | null {
    if (this.isDraining) return "draining";
    if (this.#unauthenticated >= this.#limits.maxUnauthenticated) return "too-many";
    const key = this.#keyOf(peer);
    const state = key === null ? undefined : this.#addresses.get(key);
    if (state === undefined) return null;
    if (nowMs < state.refusedUntilMs) return "too-many-failures";
    if (state.closing >= MAX_CLOSING_PER_ADDRESS) return "too-many-of-address";
    const { maxUnauthenticatedPerIp, maxConnectionsPerIp } = this.#limits;
    if (state.unauthenticated >= maxUnauthenticatedPerIp) return "too-many-of-address";
    if (maxConnectionsPerIp !== null && state.connections >= maxConnectionsPerIp) {
      return "too-many-of-address";
    }
    return null;
  }

  /** Counts a connection that is taken. */
  admit(peer: Peer, nowMs: number): Admission {
    if (nowMs - this.#sweptAtMs > MINUTE_MS) this.#sweep(nowMs);
    const key = this.#keyOf(peer);
    this.#unauthenticated++;
    if (key !== null) {
      const state = this.#stateOf(key);
      state.connections++;
      state.unauthenticated++;
    }
    return { key, isAuthenticated: false, isClosed: false, isReleased: false };
  }

  /** The connection sent a good CONNECT. */
  authenticate(admission: Admission): void {
    if (admission.isAuthenticated || admission.isClosed) return;
    admission.isAuthenticated = true;
    this.#unauthenticated--;
    if (admission.key !== null) this.#stateOf(admission.key).unauthenticated--;
  }

  /** The connection sent a CONNECT that failed for its own fault. */
  fail(admission: Admission, nowMs: number): void {
    if (admission.key === null) return;
    const state = this.#stateOf(admission.key);
    if (nowMs - state.failuresSinceMs >= MINUTE_MS) {
      state.failures = 0;
      state.failuresSinceMs = nowMs;
    }
    state.failures++;
    if (state.failures > this.#limits.maxFailedConnectsPerMinute) state.refusedUntilMs = nowMs + MINUTE_MS;
  }

  /** The connection is over: hand the place back with {@linkcode Admissions.release} when its socket is closed. */
  close(admission: Admission): void {
    if (admission.isClosed) return;
    admission.isClosed = true;
    if (!admission.isAuthenticated) this.#unauthenticated--;
    if (admission.key !== null) this.#stateOf(admission.key).closing++;
  }

  /** The socket is closed on both sides. */
  release(admission: Admission): void {
    if (admission.isReleased) return;
    this.close(admission);
    admission.isReleased = true;
    if (admission.key === null) return;
    const state = this.#stateOf(admission.key);
    state.closing--;
    state.connections--;
    if (!admission.isAuthenticated) state.unauthenticated--;
  }

  #keyOf(peer: Peer): string | null {
    const isExempt = peer.isTrustedProxy || isLoopback(peer.address);
    return isExempt && !this.#limits.limitLoopback ? null : addressKey(peer.address);
  }

  #stateOf(key: string): AddressState {
    let state = this.#addresses.get(key);
    if (state === undefined) {
      state = {
        connections: 0,
        unauthenticated: 0,
        closing: 0,
        failures: 0,
        failuresSinceMs: 0,
        refusedUntilMs: 0,
      };
      this.#addresses.set(key, state);
    }
    return state;
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [key, state] of this.#addresses) {
      const isOld = nowMs - state.failuresSinceMs >= MINUTE_MS && nowMs >= state.refusedUntilMs;
      if (state.connections === 0 && isOld) this.#addresses.delete(key);
    }
  }
}
