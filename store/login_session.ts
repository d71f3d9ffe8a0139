/** A login on one installation; only hashes of its two secrets are kept. */
export interface LoginSession {
  readonly id: string;
  readonly userId: string;
  /** Whether the account was deleted. */
  readonly userDeleted: boolean;
  readonly clientId: string;
  readonly platform: number;
  readonly deviceName: string;
  /** SHA-256. */
  readonly imTokenHash: Uint8Array;
  /** SHA-256. */
  readonly appTokenHash: Uint8Array;
  readonly lastActiveAtMs: number;
}
