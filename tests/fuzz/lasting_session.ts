/** A session that outlives its connections, what it told its log, and the session a restart makes of that. */
import { SharedPublication } from "../../broker/encode_publication.ts";
import type { Delivery } from "../../broker/kept_messages.ts";
import type { ConnectPacket } from "../../broker/packet.ts";
import { PacketWriter } from "../../broker/packet_writer.ts";
import type { Publication, SubscriptionOptions } from "../../broker/publication.ts";
import { Session, type SessionRules } from "../../broker/session.ts";
import type { QueuedState, SessionLog } from "../../broker/session_log.ts";
import { publicationBytes } from "../../store/mod.ts";
import { acknowledgement, readPackets } from "../mqtt_bytes.ts";

/** What a store holds of a session, kept in memory. */
export class RecordedState implements SessionLog {
  readonly subscriptions = new Map<string, SubscriptionOptions>();
  readonly queuedBySeq = new Map<number, QueuedState>();
  readonly packetIds = new Set<number>();

  subscription(topicFilter: string, options: SubscriptionOptions | null): void {
    if (options === null) this.subscriptions.delete(topicFilter);
    else this.subscriptions.set(topicFilter, options);
  }

  queued(seq: number, state: QueuedState | null): number {
    if (state === null) this.queuedBySeq.delete(seq);
    else this.queuedBySeq.set(seq, state);
    return state?.publication ? publicationBytes(state.publication) : 0;
  }

  received(packetId: number, isKept: boolean): void {
    if (isKept) this.packetIds.add(packetId);
    else this.packetIds.delete(packetId);
  }

  copy(): RecordedState {
    const copy = new RecordedState();
    for (const [key, value] of this.subscriptions) copy.subscriptions.set(key, value);
    for (const [key, value] of this.queuedBySeq) copy.queuedBySeq.set(key, value);
    for (const packetId of this.packetIds) copy.packetIds.add(packetId);
    return copy;
  }

  /** Gives a session the bodies back that only the store has. */
  giveBodies(session: Session): void {
    for (const [seq, { qos, packetId, publication }] of this.queuedBySeq) {
      if (publication === null) continue;
      session.outbound.kept.setBody(seq, qos, packetId, new SharedPublication(publication));
    }
  }
}

/** The session that a process makes of what the store holds, before its client comes. */
export function restoreSession(rules: SessionRules, state: RecordedState): Session {
  const session = new Session(rules);
  const queued = [...state.queuedBySeq].sort(([a], [b]) => a - b).map(([seq, message]) => {
    const { publication, ...fields } = message;
    return {
      ...{ seq, ...fields },
      expiresAtMs: publication?.expiresAtMs ?? null,
      payloadBytes: publication === null ? 0 : publicationBytes(publication),
    };
  });
  const { subscriptions, packetIds } = state;
  session.restore(state, { subscriptions, queued, received: [...packetIds] });
  return session;
}

/**
 * Everything a session says to its client that has come again, with the packet identifiers of QoS 2 it knows. DUP is
 * left out: a restart does not know what was sent.
 */
export function sayAgain(session: Session, state: RecordedState, connect: ConnectPacket): Uint8Array {
  state.giveBodies(session);
  session.attach(connect, state);
  const writer = new PacketWriter(1_024);
  session.outbound.resume(writer);
  session.outbound.release(Infinity, 0, writer);
  const said = writer.written().slice();
  clearDup(said);
  writer.length = 0;
  for (let packetId = 1; packetId <= 6; packetId++) {
    const [release] = readPackets(acknowledgement(0x62, packetId), session.level);
    session.receive(release!, 0, writer);
  }
  const answers = writer.written();
  const both = new Uint8Array(said.length + answers.length);
  both.set(said);
  both.set(answers, said.length);
  return both;
}

function clearDup(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    if (bytes[at]! >> 4 === 3) bytes[at]! &= ~0x08;
    let length = 0;
    let shift = 0;
    for (at++;; shift += 7) {
      const byte = bytes[at++]!;
      length += (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    at += length;
  }
}

/** A message as the router hands it to a session. */
export function deliveryOf(
  publication: Publication,
  qos: number,
  subscriptionIds: readonly number[],
): Delivery {
  return {
    // When it expires is another matter: sent and unsent are not told apart after a restart.
    shared: new SharedPublication({ ...publication, expiresAtMs: null }),
    qos: Math.min(qos, publication.qos),
    retain: publication.retain,
    subscriptionIds,
    isReplay: false,
  };
}
