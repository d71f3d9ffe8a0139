import type { Connection } from "./connection.ts";
import { REASONS } from "./protocol_error.ts";

/** How often some are closed. */
const STEP_MS = 50;
/** Open requests of a connection may take so long, beyond the seconds of the drain. */
const PATIENCE_MS = 10_000;

/**
 * Closes connections one after the other over so many seconds, so that their clients do not all come back at once;
 * those with open requests when these are answered. Waits until nothing is busy any more, but not for ever.
 */
export async function closeBySteps(
  connections: ReadonlySet<Connection>,
  seconds: number,
  isBusy: () => boolean,
): Promise<void> {
  const startedAtMs = performance.now();
  const all = connections.size;
  const spanMs = seconds * 1_000;
  while (isBusy()) {
    const passedMs = performance.now() - startedAtMs;
    const isImpatient = passedMs > spanMs + PATIENCE_MS;
    const share = spanMs === 0 ? 1 : Math.min(1, passedMs / spanMs);
    let due = connections.size - Math.floor(all * (1 - share));
    for (const connection of [...connections]) {
      if (due <= 0) break;
      if (connection.isBusy && !isImpatient) continue;
      connection.close(REASONS.serverShuttingDown);
      due--;
    }
    if (isImpatient) return;
    if (isBusy()) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}
