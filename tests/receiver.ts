/** The receiving end of a session: what is sent to it, as its client reads it. */
import assert from "node:assert/strict";
import { SharedPublication } from "../broker/encode_publication.ts";
import type { Delivery } from "../broker/kept_messages.ts";
import type { SessionLimits } from "../broker/limits.ts";
import { type Delivered, Outbound } from "../broker/outbound.ts";
import { inboxEvent } from "../broker/outgoing.ts";
import type { AcknowledgementPacket, ConnectPacket, ProtocolLevel } from "../broker/packet.ts";
import { PacketWriter } from "../broker/packet_writer.ts";
import { readAsClient } from "./mqtt_bytes.ts";
import { ChangeLog, connectOf, deliveryOf, LIMITS, type MessageParts, wordsOf } from "./session_rig.ts";

/** How a receiver begins. */
export interface ReceiverOptions {
  readonly level?: ProtocolLevel;
  readonly limits?: Partial<SessionLimits>;
  /** Whether its session outlives its connections. */
  readonly isLasting?: boolean;
  readonly connect?: Partial<ConnectPacket>;
}

/** One client, at the end of a socket that takes everything unless the test says otherwise. */
export class Receiver {
  readonly level: ProtocolLevel;
  readonly outbound: Outbound;
  readonly log = new ChangeLog();
  readonly counts = { dropped: 0 };
  readonly #connect: Partial<ConnectPacket>;
  readonly #writer = new PacketWriter(16);
  nowMs = 1_000_000;

  constructor({ level = 5, limits = {}, isLasting = false, connect = {} }: ReceiverOptions = {}) {
    this.level = level;
    this.#connect = connect;
    this.outbound = new Outbound({ ...LIMITS, ...limits }, this.counts);
    if (isLasting) this.outbound.kept.log = this.log;
    this.outbound.attach(connectOf(level, connect));
  }

  publish(text: string, parts: MessageParts = {}, hasRoom = true): Delivered {
    return this.send(deliveryOf(text, parts), hasRoom);
  }

  send(delivery: Delivery, hasRoom = true): Delivered {
    return this.outbound.publish(delivery, hasRoom, this.nowMs, this.#writer);
  }

  /** An event of `me/inbox`. */
  deliver(text: string, qos: number): Delivered {
    const event = inboxEvent(text, new Uint8Array(0), null);
    return this.outbound.deliver(event, qos, true, true, this.#writer);
  }

  acknowledge(type: AcknowledgementPacket["type"], packetId: number, reason = 0): boolean {
    return this.outbound.acknowledge({ type, packetId, reason }, this.#writer);
  }

  release(maxWriterBytes = 100_000): void {
    this.outbound.release(maxWriterBytes, this.nowMs, this.#writer);
  }

  /** The bytes that have been written since. */
  bytes(): Uint8Array {
    const bytes = this.#writer.written().slice();
    this.#writer.length = 0;
    return bytes;
  }

  /** The same, as words. */
  heard(): string[] {
    return readAsClient(this.bytes(), this.level).map(wordsOf);
  }

  /** Its connection ends. */
  leave(): void {
    this.outbound.detach();
    this.#writer.length = 0;
  }

  /** A message that comes while it is away. */
  miss(text: string, parts: MessageParts = {}): void {
    this.outbound.enqueue(deliveryOf(text, parts), false);
  }

  /** Bodies are read back from what the log keeps. */
  readBack(): void {
    const { kept } = this.outbound;
    for (const [seq, { qos, packetId, publication }] of this.log.messages) {
      if (publication !== null) kept.setBody(seq, qos, packetId, new SharedPublication(publication));
    }
    assert.equal(kept.lacksBodies, false);
  }

  /** A connection begins and everything goes on. */
  resume(connect: Partial<ConnectPacket> = this.#connect): string[] {
    this.outbound.attach(connectOf(this.level, connect));
    this.outbound.resume(this.#writer);
    this.release();
    return this.heard();
  }

  /** It comes again. */
  comeBack(connect: Partial<ConnectPacket> = this.#connect): string[] {
    this.readBack();
    return this.resume(connect);
  }
}
