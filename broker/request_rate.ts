import { COMMANDS, persistFlagOf } from "../im/mod.ts";
import { PERSIST_FLAGS } from "../wire.ts";
import { MOBILE_SEARCHES, TRANSPARENT_SENDS } from "./rate_limits.ts";

/** Commands nobody knows share one count: a client must not fill memory with names of its own making. */
const UNKNOWN_COMMAND = "command/unknown";

/**
 * The name a request is counted under: its command, but transparent sends and searches by mobile number have limits of
 * their own. `request` is null when it could not be read.
 */
export function rateName(command: string, request: Record<string, unknown> | null): string {
  if (!Object.hasOwn(COMMANDS, command)) return UNKNOWN_COMMAND;
  if (request === null) return command;
  if (command === "user.search") return looksLikeMobile(request.keyword) ? MOBILE_SEARCHES : command;
  if (command !== "message.send") return command;
  const { content } = request;
  // The shape is checked later; what is no content is no send either.
  if (typeof content !== "object" || content === null) return command;
  const { type, persistFlag } = content as { type?: unknown; persistFlag?: unknown };
  if (typeof type !== "number" || (persistFlag !== undefined && typeof persistFlag !== "number")) {
    return command;
  }
  const flag = persistFlagOf({ type, ...(persistFlag === undefined ? {} : { persistFlag }) });
  return flag === PERSIST_FLAGS.transparent ? TRANSPARENT_SENDS : command;
}

/** Whatever the kind of search: a number is looked for as a mobile number too. */
function looksLikeMobile(keyword: unknown): boolean {
  return typeof keyword === "string" && /^\s*\+?\d{5,15}\s*$/.test(keyword);
}
