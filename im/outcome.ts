import type { Notice } from "./notice.ts";

/** What a command came to: the JSON text of its result, and who must hear of it. */
export interface Outcome {
  readonly resultJson: string;
  readonly notices: readonly Notice[];
}

/** A command under way. */
export interface Execution {
  /**
   * Resolves when the command has its place in the commit queue; null when it has it already. A connection must not
   * start its next request before.
   */
  readonly entered: Promise<void> | null;
  /** Rejects with {@linkcode ImError} for a refusal; anything else it rejects with is a bug. */
  readonly outcome: Promise<Outcome>;
}
