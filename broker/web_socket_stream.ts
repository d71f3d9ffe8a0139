import type { Peer } from "./admission.ts";
import type { ByteReceiver, ByteStream } from "./byte_stream.ts";
import type { OpenStreams } from "./open_streams.ts";

/** MQTT over a WebSocket on the server's side. */
export class WebSocketStream implements ByteStream {
  readonly peer: Peer;
  readonly #socket: WebSocket;
  readonly #streams: OpenStreams;
  #receiver: ByteReceiver | null = null;
  /** The code it was closed with before it opened. */
  #earlyCode: number | null = null;

  /** The socket as it comes from the upgrade, before it opens. */
  constructor(socket: WebSocket, peer: Peer, streams: OpenStreams) {
    this.peer = peer;
    this.#socket = socket;
    this.#streams = streams;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  open(receiver: ByteReceiver): void {
    this.#receiver = receiver;
    this.#streams.add(this);
    this.#socket.binaryType = "arraybuffer";
    // The stream is its own listener: no closure per connection and event.
    this.#socket.addEventListener("open", this);
    this.#socket.addEventListener("message", this);
    this.#socket.addEventListener("close", this);
    this.#socket.addEventListener("error", this);
  }

  /** Socket events. An abnormal end comes as `error` and then `close`, an idle one closes twice. */
  handleEvent(event: Event): void {
    const receiver = this.#receiver;
    if (event.type === "message") {
      if (receiver === null) return;
      const { data } = event as MessageEvent<unknown>;
      if (data instanceof ArrayBuffer) receiver.receive(new Uint8Array(data));
      else receiver.receiveText();
    } else if (event.type === "open") {
      if (this.#earlyCode === null) return;
      this.#streams.add(this);
      this.#socket.close(this.#earlyCode);
    } else if (event.type === "error") {
      // Without this the runtime would report an uncaught error; `close` follows.
      event.preventDefault();
    } else {
      this.#receiver = null;
      this.#streams.delete(this);
      receiver?.ended();
    }
  }

  send(bytes: Uint8Array): void {
    // In any other state the bytes could reach nobody, and `send` would throw while the socket is connecting.
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
    }
  }

  close(code: number): void {
    // A socket that cannot close yet must not hold on to the connection.
    this.#receiver = null;
    this.#socket.removeEventListener("message", this);
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      // When the peer left during the upgrade it never opens, and no event says so; otherwise it opens all the same.
      this.#earlyCode = code;
      this.#streams.delete(this);
    } else if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.close(code);
    }
  }
}
