/**
 * The bytes on their way to one socket. What is written within a turn leaves in one frame behind it; to a socket that
 * takes no more, nothing is handed over, since what it holds cannot be taken back.
 */

import type { ByteStream } from "./byte_stream.ts";
import type { Flushable, Flusher } from "./flusher.ts";
import { giveWriter, type PacketWriter, takeWriter } from "./packet_writer.ts";

/** From here on a socket counts as full. */
const FULL_BYTES = 256 * 1024;

/** What an outbox needs of its connection. */
export interface OutboxOwner {
  /** Whether something waits that room in the outbox would let go on. */
  readonly hasWaiting: boolean;
  /** There may be room: lets what waits go on. Must not throw. */
  proceed(): void;
  /** The socket takes no more for now: {@linkcode Outbox.retry} must be called. */
  paused(): void;
  /** More is due than a peer that does not read may keep us holding. */
  overflowed(): void;
}

/** Bytes from `at` on may leave when this batch of the journal is stored. */
interface Mark {
  at: number;
  readonly batch: number;
}

/** What leaves one connection. */
export class Outbox implements Flushable {
  readonly #stream: ByteStream;
  readonly #flusher: Flusher;
  readonly #owner: OutboxOwner;
  readonly #maxBytes: number;
  #writer: PacketWriter | null = null;
  /** Bytes the socket held when it was last looked at. */
  #backlog = 0;
  /** In the order of their batches; null for most connections. */
  #marks: Mark[] | null = null;
  #hasSent = false;
  #isPaused = false;
  #isClosed = false;
  isDirty = false;
  flushedAtMs = 0;
  eagerFlushes = 0;
  /** When the peer last took something, or nothing was waiting for it. */
  progressAtMs: number;

  constructor(
    stream: ByteStream,
    options: {
      readonly flusher: Flusher;
      readonly owner: OutboxOwner;
      /** Acknowledgements gather while a peer only asks and never reads; so many bytes of them are too many. */
      readonly maxBytes: number;
      readonly nowMs: number;
    },
  ) {
    this.#stream = stream;
    this.#flusher = options.flusher;
    this.#owner = options.owner;
    this.#maxBytes = options.maxBytes;
    this.progressAtMs = options.nowMs;
  }

  /** Whether the socket takes no more for now. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  get dueBytes(): number {
    return this.#writer?.length ?? 0;
  }

  /** Whether more may be written without making the socket hold too much. */
  get hasRoom(): boolean {
    return this.room > 0;
  }

  /** Bytes that may be written. */
  get room(): number {
    return this.#isPaused ? 0 : FULL_BYTES - this.#backlog - (this.#writer?.length ?? 0);
  }

  /** Where to write; it is flushed behind this turn. */
  writer(): PacketWriter {
    this.#flusher.mark(this);
    return this.#writer ??= takeWriter();
  }

  /** What is written from now on leaves when this batch of the journal is stored. */
  hold(batch: number): void {
    const last = this.#marks?.at(-1);
    if (last === undefined) this.#marks = [{ at: this.#writer?.length ?? 0, batch }];
    else if (last.batch < batch) this.#marks!.push({ at: this.#writer?.length ?? 0, batch });
  }

  /** A batch is stored, and so are those before it. */
  stored(batch: number, nowMs: number): void {
    if (this.#marks === null || this.#isClosed) return;
    this.progressAtMs = nowMs;
    const open = this.#marks.filter((mark) => mark.batch > batch);
    this.#marks = open.length === 0 ? null : open;
    this.#flusher.mark(this);
  }

  /** Whether bytes wait for the journal. */
  get isHeld(): boolean {
    return this.#marks !== null;
  }

  flush(nowMs: number): void {
    if (this.#isClosed) return;
    this.#look(nowMs);
    if (this.#backlog >= FULL_BYTES) return this.#pause(nowMs);
    this.#isPaused = false;
    this.#send();
    if ((this.#writer?.length ?? 0) > this.#maxBytes) return this.#owner.overflowed();
    if (!this.#owner.hasWaiting) return;
    // What was sent may have filled the socket, and then nothing else would come back for what still waits.
    if (this.hasRoom) this.#owner.proceed();
    else if (!this.isHeld) this.#pause(nowMs);
  }

  /** Looks again after a socket that was full; whether it still is. */
  retry(nowMs: number): boolean {
    this.flush(nowMs);
    return this.#isPaused && !this.#isClosed;
  }

  #look(nowMs: number): void {
    const backlog = this.#stream.bufferedAmount;
    if (backlog < this.#backlog) this.progressAtMs = nowMs;
    this.#backlog = backlog;
  }

  #send(): void {
    const writer = this.#writer;
    if (writer === null) return;
    const free = this.#marks?.[0]?.at ?? writer.length;
    if (free < writer.length) return this.#sendFirst(writer, free);
    this.#writer = null;
    if (this.#marks !== null) { for (const mark of this.#marks) mark.at = 0; }
    if (writer.length > 0) {
      this.#hasSent = true;
      this.#stream.send(writer.written());
      this.#backlog += writer.length;
    }
    giveWriter(writer);
  }

  /** What is held stays, and moves to the front. */
  #sendFirst(writer: PacketWriter, count: number): void {
    if (count === 0) return;
    this.#hasSent = true;
    this.#stream.send(writer.bytes.subarray(0, count));
    this.#backlog += count;
    writer.bytes.copyWithin(0, count, writer.length);
    writer.length -= count;
    for (const mark of this.#marks!) mark.at -= count;
  }

  #pause(nowMs: number): void {
    if (!this.#isPaused) {
      this.#isPaused = true;
      this.progressAtMs = nowMs;
    }
    if ((this.#writer?.length ?? 0) > this.#maxBytes) this.#owner.overflowed();
    else this.#owner.paused();
  }

  /**
   * Sends what has been written, unless the socket is full: there it would only be kept. What is held never leaves: its
   * client asks again.
   *
   * @param farewell a last packet, written by it; left out when nothing has been sent before
   */
  close(farewell: ((writer: PacketWriter) => void) | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.isDirty = false;
    const writer = this.#writer ??= takeWriter();
    writer.length = Math.min(writer.length, this.#marks?.[0]?.at ?? writer.length);
    this.#marks = null;
    if (farewell !== null && (this.#hasSent || writer.length > 0)) farewell(writer);
    if (this.#stream.bufferedAmount < FULL_BYTES) this.#send();
    this.discard();
  }

  /** Lets go of what has been written: the stream has ended. */
  discard(): void {
    this.#isClosed = true;
    this.isDirty = false;
    if (this.#writer !== null) giveWriter(this.#writer);
    this.#writer = null;
  }
}
