import { APP_ERRORS, type AppErrorName } from "../wire.ts";

/** A refused login, QR login or another app-server path: a name that every edge maps by one table, and a sentence. */
export class AppError extends Error {
  override readonly name = "AppError";
  /** The name in {@linkcode APP_ERRORS}; envelope code and HTTP status follow from it. */
  readonly error: AppErrorName;
  /** Milliseconds after which the same request may succeed. */
  readonly retryAfterMs: number | undefined;

  constructor(error: AppErrorName, message: string, detail: { retryAfterMs?: number } = {}) {
    super(message);
    this.error = error;
    this.retryAfterMs = detail.retryAfterMs;
  }

  /** The number in the envelope's `code`. */
  get code(): number {
    return APP_ERRORS[this.error].code;
  }
}
