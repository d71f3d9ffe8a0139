import { type ErrorName, ERRORS, type Refusal } from "../wire.ts";

/** A refused request: what went wrong, in a name every edge maps by one table and a sentence for people. */
export class ImError extends Error {
  override readonly name = "ImError";
  /** The name in {@linkcode ERRORS}; code, HTTP status and MQTT reason code follow from it. */
  readonly error: ErrorName;
  /** The request field that was wrong, as a dotted path. */
  readonly field: string | undefined;
  /** Milliseconds after which the same request may succeed. */
  readonly retryAfterMs: number | undefined;

  constructor(error: ErrorName, message: string, detail: { field?: string; retryAfterMs?: number } = {}) {
    super(message);
    this.error = error;
    this.field = detail.field;
    this.retryAfterMs = detail.retryAfterMs;
  }

  /** The number in `code`. */
  get code(): number {
    return ERRORS[this.error].code;
  }

  /** The refusal as it stands in a reply. */
  toRefusal(): Refusal {
    return {
      code: this.code,
      error: this.error,
      message: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: this.retryAfterMs }),
    };
  }
}
