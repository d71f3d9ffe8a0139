import type { Peer } from "./admission.ts";

/** A two-way stream of bytes under an MQTT connection: a WebSocket or a TCP socket. */
export interface ByteStream {
  readonly peer: Peer;
  /** Bytes handed over and not yet taken by the network. */
  readonly bufferedAmount: number;
  /** Starts handing received bytes to the receiver. */
  open(receiver: ByteReceiver): void;
  /** Hands bytes over; they are copied before this returns. Never throws: a broken stream ends. */
  send(bytes: Uint8Array): void;
  /**
   * Ends the stream; what was handed over still goes out. The receiver hears no more, and is not referenced any more.
   *
   * @param code a WebSocket close code; other streams have none
   */
  close(code: number): void;
}

/** Who hears what arrives. */
export interface ByteReceiver {
  /** Bytes arrived; they are valid until this returns. */
  receive(bytes: Uint8Array): void;
  /** Something that is no byte stream arrived: a text frame. */
  receiveText(): void;
  /** The stream ended from outside; heard at most once. */
  ended(): void;
}
