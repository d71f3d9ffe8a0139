import { Framing } from "../../broker/framing.ts";

const CONNACK = 2;
const PINGRESP = 13;
const DISCONNECT = 14;
/** What a server sends, by the upper four bits of the first byte. */
const SERVER_TYPES: ReadonlySet<number> = new Set([CONNACK, 3, 4, 5, 6, 7, 9, 11, PINGRESP, DISCONNECT]);
/** Reason code of a DISCONNECT for a fault of the server. */
const UNSPECIFIED = 0x80;

/** Reads what a server answers: whole packets of a server's kinds, CONNACK first and alone, nothing behind DISCONNECT. */
export class Answers {
  readonly #framing = new Framing(268_435_455);
  /** Packets heard. */
  count = 0;
  /** PINGRESPs among them. */
  pings = 0;
  /** What no server may do; null: nothing of the kind. */
  fault: string | null = null;
  #isOver = false;

  /** Takes received bytes. */
  push(bytes: Uint8Array): void {
    if (this.fault !== null) return;
    try {
      this.#framing.push(bytes);
      while (this.#framing.next()) this.#read();
    } catch (error) {
      this.fault = `the answer is no MQTT: ${error}`;
    }
  }

  #read(): void {
    const { bytes, packetStart, bodyStart, packetEnd } = this.#framing;
    const type = bytes[packetStart]! >> 4;
    if (!SERVER_TYPES.has(type)) this.fault = `a server sent packet type ${type}`;
    else if ((type === CONNACK) !== (this.count === 0)) {
      this.fault = `packet ${this.count} is of type ${type}`;
    } else if (this.#isOver) this.fault = `packet type ${type} came behind DISCONNECT`;
    else if (type === DISCONNECT) {
      this.#isOver = true;
      if (bodyStart < packetEnd && bytes[bodyStart] === UNSPECIFIED) {
        this.fault = "the server failed: DISCONNECT 0x80";
      }
    }
    if (type === PINGRESP) this.pings++;
    this.count++;
  }
}
