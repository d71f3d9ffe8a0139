/** Where a request comes from. */
export interface Origin {
  /** The client's address, as text. */
  readonly address: string;
  /** The header of that name, or "". */
  readonly userAgent: string;
}
