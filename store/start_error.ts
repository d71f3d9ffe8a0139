/**
 * A start that cannot go on for a reason the operator can change: wrong account, wrong version, folder in use.
 *
 * The message is a whole sentence that says what to do; it is shown without a stack.
 */
export class StartError extends Error {
  override readonly name = "StartError";
}
