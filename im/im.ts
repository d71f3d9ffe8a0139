import type { Log } from "../log.ts";
import type { Store } from "../store/mod.ts";
import { LoginActivity } from "./login_activity.ts";
import { NewConversations } from "./new_conversations.ts";
import { QrPolls } from "./qr_polls.ts";

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
  /** `off`: opening conversations is not limited either. */
  readonly rateLimits: "off" | ReadonlyMap<string, unknown>;
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
  readonly newConversations: NewConversations;
  readonly activity: LoginActivity;
  readonly qrPolls: QrPolls;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** Puts together what commands work with; nothing runs by itself. */
export function createIm(options: ImOptions): Im {
  const { store, log } = options;
  const newConversations = new NewConversations(store, { isLimited: options.rateLimits !== "off" });
  return {
    store,
    log,
    options,
    newConversations,
    activity: new LoginActivity(store),
    qrPolls: new QrPolls(),
    nowMs: options.nowMs ?? Date.now,
  };
}
