/** Who has to do with whom. */

import type { Store } from "./store.ts";

/** Somebody who wants to write, and to whom. */
export interface Approach {
  readonly target: string;
  /** The target under which the messages of the two stand. */
  readonly canonicalTarget: string;
}

/** How two people stand to each other. */
export interface Acquaintance {
  /** Whether there is somebody to write to. */
  readonly targetExists: boolean;
  /** Whether one of them has written to the other. */
  readonly isAcquainted: boolean;
}

/**
 * How each pair stands to each other, in the order asked; one query, whatever the number. What makes two people
 * acquainted is decided here and nowhere else.
 */
export async function listAcquaintances(
  store: Store,
  approaches: readonly Approach[],
): Promise<readonly Acquaintance[]> {
  const targets = approaches.map(({ target }) => target);
  const pairs = approaches.map(({ canonicalTarget }) => canonicalTarget);
  // Messages are the truth: the conversation list is folded only when somebody looks at it. The limits keep the planner
  // to looks into an index, pair by pair: 30 µs for a pair with all months.
  const rows = await store.sql<{ target_exists: boolean; is_acquainted: boolean }[]>`
    SELECT t.found IS NOT NULL AS target_exists, m.found IS NOT NULL AS is_acquainted
    FROM unnest(${targets}::text[], ${pairs}::text[]) WITH ORDINALITY AS p (target, pair, place)
    LEFT JOIN LATERAL (
      SELECT true AS found FROM t_user_timeline o WHERE o.uid = p.target LIMIT 1
    ) t ON true
    LEFT JOIN LATERAL (
      SELECT true AS found FROM t_messages b WHERE b.target = p.pair AND b.type = 0 LIMIT 1
    ) m ON true
    ORDER BY p.place`;
  return rows.map((row) => ({ targetExists: row.target_exists, isAcquainted: row.is_acquainted }));
}
