import type { Log } from "../log.ts";
import type { Store } from "../store/mod.ts";

/** What commands and logins are told of the configuration. */
export interface ImOptions {
  readonly store: Store;
  readonly log: Log;
  readonly mode: "development" | "production";
  readonly smsProvider: "log" | "webhook" | "none";
  readonly smsWebhookUrl: string | null;
  /** Signs what is sent to `smsWebhookUrl`. */
  readonly smsWebhookSecret: string | null;
  /** Whether a new login ends older ones of its platform group. */
  readonly samePlatform: "keep" | "kick";
  readonly loginLimits: LoginLimits;
  /** Milliseconds since 1970; the system's clock by default. */
  readonly nowMs?: () => number;
}

/** How many login codes are sent. */
export interface LoginLimits {
  readonly codesPerMobileDay: number;
  /** Between two codes to one mobile number. */
  readonly codePauseSeconds: number;
  readonly codesPerIpMinute: number;
  readonly codesPerHour: number;
}

/** Everything a command works with. */
export interface Im {
  readonly store: Store;
  readonly log: Log;
  readonly options: ImOptions;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** Puts together what commands work with; nothing runs by itself. */
export function createIm(options: ImOptions): Im {
  return { store: options.store, log: options.log, options, nowMs: options.nowMs ?? Date.now };
}
