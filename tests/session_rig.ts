/** What tests of open topics share: messages, a log that keeps what it is told, and packets as words. */
import assert from "node:assert/strict";
import type { Packet as CodecPacket } from "mqtt-packet";
import { SharedPublication } from "../broker/encode_publication.ts";
import type { Delivery } from "../broker/kept_messages.ts";
import type { SessionLimits } from "../broker/limits.ts";
import type { ConnectPacket, ProtocolLevel } from "../broker/packet.ts";
import type { Publication, SubscriptionOptions } from "../broker/publication.ts";
import type { QueuedState, SessionLog } from "../broker/session_log.ts";
import { userProperty } from "./mqtt_bytes.ts";

export const VERSIONS = [[4, "3.1.1"], [5, "5.0"]] as const;

export const PUBACK = 0x40, PUBREC = 0x50, PUBREL = 0x62, PUBCOMP = 0x70;

/** Limits that a test gets over quickly. */
export const LIMITS: SessionLimits = {
  maxInflightOut: 3,
  maxInflightIn: 3,
  maxSubscriptions: 4,
  maxTopicLevels: 4,
  maxFilterBytes: 20,
  maxTopicAliases: 2,
  maxQueuedMessages: 4,
  maxQueuedBytes: 1_000,
  maxRetainedPerFilter: 5,
};

/** A CONNECT that asks for nothing in particular. */
export function connectOf(level: ProtocolLevel, parts: Partial<ConnectPacket> = {}): ConnectPacket {
  return {
    type: "connect",
    level,
    clientId: "client-1",
    userName: null,
    password: null,
    clean: false,
    keepAliveSeconds: 0,
    will: null,
    sessionExpirySeconds: 0,
    receiveMaximum: 65_535,
    maxPacketBytes: Infinity,
    topicAliasMaximum: 0,
    wantsResponseInformation: false,
    wantsProblemInformation: true,
    authenticationMethod: null,
    ...parts,
  };
}

/** What a message and its delivery may differ in. */
export interface MessageParts extends Partial<Omit<Publication, "payload">> {
  readonly isReplay?: boolean;
  /** Whether it is encoded for many receivers at once. */
  readonly isShared?: boolean;
  readonly subscriptionIds?: readonly number[];
}

/** A message with this text. */
export function messageOf(text: string, parts: Partial<Omit<Publication, "payload">> = {}): Publication {
  return {
    topic: "t",
    payload: new TextEncoder().encode(text),
    qos: 1,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: null,
    ...parts,
  };
}

/** A message on its way to one session, at the QoS it was published with. */
export function deliveryOf(text: string, parts: MessageParts = {}): Delivery {
  const { isReplay = false, isShared = true, subscriptionIds = [], ...own } = parts;
  const publication = messageOf(text, own);
  const { qos, retain } = publication;
  const shared = new SharedPublication(publication, isShared);
  return { shared, qos, retain, subscriptionIds, isReplay };
}

/** The options of a subscription. */
export function optionsOf(parts: Partial<SubscriptionOptions> = {}): SubscriptionOptions {
  return {
    ...{ qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionId: null },
    ...parts,
  };
}

/** Properties that go on to receivers. */
export const OWN_PROPERTIES = userProperty("k", "v");

/** Keeps what a session tells of itself, as a store would, and notes it in words. */
export class ChangeLog implements SessionLog {
  readonly #changes: string[] = [];
  readonly #sizes = new Map<number, number>();
  readonly subscriptions = new Map<string, SubscriptionOptions>();
  readonly messages = new Map<number, QueuedState>();
  readonly packetIds = new Set<number>();

  subscription(topicFilter: string, options: SubscriptionOptions | null): void {
    if (options === null) this.subscriptions.delete(topicFilter);
    else this.subscriptions.set(topicFilter, options);
    this.#changes.push(options === null ? `no ${topicFilter}` : `${topicFilter} qos ${options.qos}`);
  }

  queued(seq: number, state: QueuedState | null, replacedBytes: number): number {
    assert.ok(seq > 0);
    assert.equal(replacedBytes, this.#sizes.get(seq) ?? 0, "what stood there is told as it was given");
    // Not the size by which a session counts: it must give back what it was told.
    const bytes = state?.publication ? 1_000 + state.publication.payload.length : 0;
    if (state === null) {
      assert.ok(this.messages.delete(seq), "what goes was there");
      this.#sizes.delete(seq);
      this.#changes.push(`${seq} gone`);
      return 0;
    }
    assert.equal(
      state.publication === null,
      state.isReleased,
      "a body until the release, and none from then on",
    );
    this.messages.set(seq, state);
    this.#sizes.set(seq, bytes);
    const { qos, packetId, retain, publication } = state;
    const words = [
      `${seq}`,
      publication === null ? "released" : new TextDecoder().decode(publication.payload),
    ];
    words.push(`qos ${qos}`, ...(qos === 0 ? [] : [`id ${packetId}`]), ...(retain ? ["retain"] : []));
    this.#changes.push(words.join(" "));
    return bytes;
  }

  received(packetId: number, isKept: boolean): void {
    if (isKept) this.packetIds.add(packetId);
    else assert.ok(this.packetIds.delete(packetId), "what is released was received");
    this.#changes.push(`${isKept ? "received" : "released"} ${packetId}`);
  }

  /** Keeps what was told in an earlier life. */
  adopt(seq: number, state: QueuedState, bytes: number): void {
    this.messages.set(seq, state);
    this.#sizes.set(seq, bytes);
  }

  /** What has been told since, in words. */
  told(): string[] {
    return this.#changes.splice(0);
  }
}

/** A packet in words. */
export function wordsOf(read: CodecPacket): string {
  switch (read.cmd) {
    case "publish": {
      const { topic, payload, qos, messageId, dup, retain, properties = {} } = read;
      const { messageExpiryInterval, topicAlias, subscriptionIdentifier, userProperties } = properties;
      const words = [`publish ${topic === "" ? "-" : topic} ${payload} qos ${qos}`];
      if (qos > 0) words.push(`id ${messageId}`);
      if (dup) words.push("dup");
      if (retain) words.push("retain");
      if (messageExpiryInterval !== undefined) words.push(`expires ${messageExpiryInterval}`);
      if (topicAlias !== undefined) words.push(`alias ${topicAlias}`);
      if (subscriptionIdentifier !== undefined) words.push(`for ${subscriptionIdentifier}`);
      if (userProperties !== undefined) words.push(JSON.stringify(userProperties));
      return words.join(" ");
    }
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp": {
      const reason = "reasonCode" in read && read.reasonCode ? ` 0x${read.reasonCode.toString(16)}` : "";
      return `${read.cmd} ${read.messageId}${reason}`;
    }
    case "suback":
    case "unsuback": // 3.1.1 has no codes in it
      return `${read.cmd} ${read.messageId} ${read.granted ?? ""}`.trim();
    default:
      return read.cmd;
  }
}
