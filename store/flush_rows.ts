import { plainArray, textArray } from "./array_literal.ts";
import { messageShard } from "./ids.ts";
import type { Send } from "./send.ts";
import type { Sql } from "./sql.ts";

/** A locked timeline while a flush numbers its messages. */
export interface TimelineHead {
  readonly formerHead: bigint;
  head: bigint;
  lastMessageId: bigint;
}

/** Columns of everything a flush writes: bodies, timeline rows, the "once" memory, heads. */
export class FlushRows {
  // Bodies, and what is remembered of each sender's clientMessageId.
  readonly #shard: number[] = [];
  readonly #messageId: bigint[] = [];
  readonly #sender: string[] = [];
  readonly #type: number[] = [];
  readonly #target: string[] = [];
  readonly #line: number[] = [];
  readonly #contentType: number[] = [];
  readonly #clientMessageId: string[] = [];
  readonly #content: string[] = [];
  readonly #recipients: (string | null)[] = [];
  readonly #expiresAtMs: number[] = [];
  readonly #senderSeq: bigint[] = [];

  // Timeline rows.
  readonly #uid: string[] = [];
  readonly #seq: bigint[] = [];
  readonly #rowMessageId: bigint[] = [];
  readonly #rowLine: number[] = [];
  readonly #rowShard: number[] = [];
  readonly #rowType: number[] = [];
  readonly #mention: number[] = [];
  readonly #counted: boolean[] = [];
  readonly #rowTarget: string[] = [];

  /** Adds a message with the numbers it was given. */
  add(send: Send, messageId: bigint, timestamp: number, seqs: readonly bigint[]): void {
    const shard = messageShard(messageId);
    this.#shard.push(shard);
    this.#messageId.push(messageId);
    this.#sender.push(send.from);
    this.#type.push(send.conversationType);
    this.#target.push(send.canonicalTarget);
    this.#line.push(send.line);
    this.#contentType.push(send.contentType);
    this.#clientMessageId.push(send.clientMessageId);
    this.#content.push(send.contentJson);
    // An array cannot hold arrays of different lengths: each list is a literal of its own, cast in the statement.
    this.#recipients.push(send.recipients === null ? null : textArray(send.recipients));
    this.#expiresAtMs.push(send.expireSeconds === 0 ? 0 : timestamp + send.expireSeconds * 1000);
    this.#senderSeq.push(seqs[0]!);
    for (let i = 0; i < send.receivers.length; i++) {
      const receiver = send.receivers[i]!;
      this.#uid.push(receiver.userId);
      this.#seq.push(seqs[i]!);
      this.#rowMessageId.push(messageId);
      this.#rowLine.push(send.line);
      this.#rowShard.push(shard);
      this.#rowType.push(send.conversationType);
      this.#mention.push(receiver.mention);
      this.#counted.push(receiver.counted);
      this.#rowTarget.push(receiver.target);
    }
  }

  /**
   * Writes everything, in one statement: it is stored whole or not at all, even if the driver should send it over
   * another connection than the one that holds the locks. There the unique keys refuse it unless nobody has moved
   * the heads since.
   */
  insert(sql: Sql, timelines: ReadonlyMap<string, TimelineHead>) {
    const shard = plainArray(this.#shard), messageId = plainArray(this.#messageId);
    const sender = textArray(this.#sender), type = plainArray(this.#type), target = textArray(this.#target);
    const line = plainArray(this.#line), contentType = plainArray(this.#contentType);
    const clientMessageId = textArray(this.#clientMessageId), content = textArray(this.#content);
    const recipients = textArray(this.#recipients), expiresAtMs = plainArray(this.#expiresAtMs);
    const senderSeq = plainArray(this.#senderSeq);

    const uid = textArray(this.#uid), seq = plainArray(this.#seq), rowId = plainArray(this.#rowMessageId);
    const rowLine = plainArray(this.#rowLine), rowShard = plainArray(this.#rowShard);
    const rowType = plainArray(this.#rowType), mention = plainArray(this.#mention);
    const counted = plainArray(this.#counted), rowTarget = textArray(this.#rowTarget);

    const changed = [...timelines].filter(([, timeline]) => timeline.head !== timeline.formerHead);
    const owner = textArray(changed.map(([userId]) => userId));
    const former = plainArray(changed.map(([, timeline]) => timeline.formerHead));
    const head = plainArray(changed.map(([, timeline]) => timeline.head));
    const last = plainArray(changed.map(([, timeline]) => timeline.lastMessageId));
    return sql`
      WITH bodies AS (
        INSERT INTO t_messages (shard, message_id, sender, type, target, line, content_type, client_message_id,
          content, recipients, expires_at_ms)
        SELECT shard, message_id, sender, type, target, line, content_type, client_message_id,
          content, recipients::text[], expires_at_ms
        FROM unnest(${shard}::smallint[], ${messageId}::bigint[], ${sender}::text[], ${type}::smallint[],
          ${target}::text[], ${line}::int[], ${contentType}::int[], ${clientMessageId}::text[],
          ${content}::text[], ${recipients}::text[], ${expiresAtMs}::bigint[])
          AS n (shard, message_id, sender, type, target, line, content_type, client_message_id,
            content, recipients, expires_at_ms)
      ), entries AS (
        INSERT INTO t_user_messages (uid, seq, message_id, line, shard, type, kind, mention, counted, target)
        SELECT uid, seq, message_id, line, shard, type, 0, mention, counted, target
        FROM unnest(${uid}::text[], ${seq}::bigint[], ${rowId}::bigint[], ${rowLine}::int[], ${rowShard}::smallint[],
          ${rowType}::smallint[], ${mention}::smallint[], ${counted}::boolean[], ${rowTarget}::text[])
          AS n (uid, seq, message_id, line, shard, type, mention, counted, target)
      ), once AS (
        INSERT INTO t_client_messages (sender, client_message_id, message_id, seq)
        SELECT * FROM unnest(${sender}::text[], ${clientMessageId}::text[], ${messageId}::bigint[],
          ${senderSeq}::bigint[])
      )
      UPDATE t_user_timeline t SET head = n.head, last_message_id = n.last_message_id
      FROM unnest(${owner}::text[], ${former}::bigint[], ${head}::bigint[], ${last}::bigint[])
        AS n (uid, former, head, last_message_id)
      WHERE t.uid = n.uid AND t.head = n.former`;
  }
}
