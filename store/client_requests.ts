/**
 * The "once" promise for requests: what a `requestId` came to is written in the transaction of its change, and a
 * repeat is answered from there.
 */

import type { Sql } from "./sql.ts";
import type { Store } from "./store.ts";

/** A request that is carried out once: its client repeats it under the same three ids. */
export interface ClientRequest {
  readonly userId: string;
  readonly clientId: string;
  /** 1–64 printable ASCII characters. */
  readonly requestId: string;
  readonly command: string;
}

/** The `requestId` stands for an earlier request of the same client with another command. */
export class RequestIdTakenError extends Error {
  override readonly name = "RequestIdTakenError";
  /** The earlier command. */
  readonly command: string;

  constructor(command: string) {
    super(`the request id was used for ${command}`);
    this.command = command;
  }
}

/** What a work came to: done, or refused and without a trace. */
export type Attempt<T, R> = { readonly done: T } | { readonly refused: R };

/** What a request came to; `repeated` when it was done before, and this is what it came to then. */
export type OnceAttempt<T, R> = { readonly done: T; readonly repeated: boolean } | { readonly refused: R };

/** Takes the transaction back. */
class Undo<R> extends Error {
  readonly refused: R;

  constructor(refused: R) {
    super("refused");
    this.refused = refused;
  }
}

/**
 * Does a work once per request. The request is claimed first: a repeat that comes meanwhile waits for that row, and
 * is answered with the result, or does the work itself when the first was refused or failed.
 *
 * @param request null: the work is done as it stands, on no transaction of ours
 * @param work uses the connection it is given and no other; what it gives as `done` survives JSON
 * @throws RequestIdTakenError
 */
export async function once<T, R>(
  store: Pick<Store, "sql">,
  request: ClientRequest | null,
  nowMs: number,
  work: (sql: Sql) => Promise<Attempt<T, R>>,
): Promise<OnceAttempt<T, R>> {
  if (request === null) {
    const attempt = await work(store.sql);
    return "done" in attempt ? { done: attempt.done, repeated: false } : attempt;
  }
  const { userId, clientId, requestId, command } = request;
  try {
    return await store.sql.begin(async (transaction) => {
      const sql = transaction as unknown as Sql;
      const claimed = await sql`
        INSERT INTO t_client_requests (uid, client_id, request_id, command, created_at_ms)
        VALUES (${userId}, ${clientId}, ${requestId}, ${command}, ${nowMs}) ON CONFLICT DO NOTHING`;
      if (claimed.count === 0) return { done: await requireEarlier<T>(sql, request), repeated: true };
      const attempt = await work(sql);
      if ("refused" in attempt) throw new Undo(attempt.refused);
      await sql`
        UPDATE t_client_requests SET result = ${JSON.stringify(attempt.done)}
        WHERE uid = ${userId} AND client_id = ${clientId} AND request_id = ${requestId}`;
      return { done: attempt.done, repeated: false };
    });
  } catch (cause) {
    if (cause instanceof Undo) return { refused: cause.refused };
    throw cause;
  }
}

async function requireEarlier<T>(sql: Sql, request: ClientRequest): Promise<T> {
  const { userId, clientId, requestId, command } = request;
  const [row] = await sql<{ command: string; result: string }[]>`
    SELECT command, result FROM t_client_requests
    WHERE uid = ${userId} AND client_id = ${clientId} AND request_id = ${requestId}`;
  // Only a row of a day ago can go between the two statements.
  if (row === undefined) throw new Error("a request was forgotten while it was repeated");
  if (row.command !== command) throw new RequestIdTakenError(row.command);
  return JSON.parse(row.result) as T;
}
