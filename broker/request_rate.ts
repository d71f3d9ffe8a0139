import { persistFlagOf } from "../im/mod.ts";
import { PERSIST_FLAGS } from "../wire.ts";
import { TRANSPARENT_SENDS } from "./rate_limits.ts";

/** The name a request is counted under: its command, but transparent sends have a limit of their own. */
export function rateName(command: string, request: Record<string, unknown>): string {
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
