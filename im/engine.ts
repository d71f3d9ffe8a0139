/**
 * Runs commands: one table, one way in for every door.
 */

import type { Caller } from "./caller.ts";
import { type Command, COMMANDS } from "./commands.ts";
import { ImError } from "./error.ts";
import type { Im } from "./im.ts";
import { clientRequest } from "./once.ts";
import type { Execution } from "./outcome.ts";
import { requireShape } from "./shapes.ts";

/** Whether neighbouring requests of this command may be started without waiting for each other's outcome. */
export function isPipelined(command: string): boolean {
  return findCommand(command)?.pipelined === true;
}

/**
 * Starts a command. Never throws: every refusal comes through `outcome`.
 *
 * A command that creates or notifies and comes with a `requestId` happens once: a repeat by the same user and client
 * within 24 hours gives the first result, and nobody is told again.
 *
 * Refusals: `command/unknown`, `request/invalid`, and those of the command.
 */
export function execute(
  im: Im,
  caller: Caller,
  command: string,
  request: Record<string, unknown>,
): Execution {
  try {
    const found = findCommand(command);
    if (found === undefined) throw new ImError("command/unknown", "There is no such command.");
    const checked = requireShape(found.request, request);
    return found.start(im, caller, checked, found.once ? clientRequest(caller, command, request) : null);
  } catch (refusal) {
    return { entered: null, outcome: Promise.reject(refusal) };
  }
}

function findCommand(command: string): Command | undefined {
  return Object.hasOwn(COMMANDS, command) ? COMMANDS[command as keyof typeof COMMANDS] : undefined;
}
