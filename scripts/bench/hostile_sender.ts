/**
 * A thread that sends WebSocket frames much larger than any packet: it is asked for them once, and answers with how
 * many bytes of each left when all its connections are closed.
 */
import { upgrade } from "./load_socket.ts";

/** What is sent, by so many connections at once. */
export interface HostileFrames {
  /** ws: */
  readonly url: string;
  readonly connections: number;
  readonly frameBytes: number;
}

/** What a thread knows of the one that started it. */
declare const self: Worker;

/** All connections send out of one piece: nothing is held of the frames. */
const PIECE = new Uint8Array(65_536);
/** Who has not got rid of his frame by then is closed. */
const LIMIT_MS = 15_000;
/** How a connection ends whose peer has closed it. */
const ENDS = [Deno.errors.ConnectionReset, Deno.errors.BrokenPipe, Deno.errors.ConnectionAborted] as const;

/** Sends one frame as far as the server takes it; resolves with how many bytes of its content left. */
async function sendFrame(url: string, frameBytes: number): Promise<number> {
  const { hostname, port } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  let isOpen = true;
  const close = () => {
    if (isOpen) connection.close();
    isOpen = false;
  };
  const limit = setTimeout(close, LIMIT_MS);
  let left = 0;
  try {
    await upgrade(connection, new URL(url));
    await connection.write(frameHead(frameBytes));
    while (left < frameBytes) left += await connection.write(PIECE);
    // The close frame, then the end.
    for (const heard = new Uint8Array(256); await connection.read(heard) !== null;);
  } catch (error) {
    if (isOpen && !ENDS.some((end) => error instanceof end)) throw error;
  } finally {
    clearTimeout(limit);
    close();
  }
  return left;
}

/** The head of a masked binary frame with eight bytes of length; its masking key is 0. */
function frameHead(bytes: number): Uint8Array {
  const head = new Uint8Array(14);
  head.set([0x82, 0xff]);
  new DataView(head.buffer).setBigUint64(2, BigInt(bytes));
  return head;
}

self.onmessage = async ({ data }: MessageEvent<HostileFrames>) => {
  const { url, connections, frameBytes } = data;
  self.postMessage(
    await Promise.all(Array.from({ length: connections }, () => sendFrame(url, frameBytes))),
  );
};
