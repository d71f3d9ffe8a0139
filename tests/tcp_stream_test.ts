import assert from "node:assert/strict";
import type { ByteReceiver } from "../broker/byte_stream.ts";
import { OpenStreams } from "../broker/open_streams.ts";
import { TcpStream } from "../broker/tcp_stream.ts";
import { quietLog } from "./database.ts";
import { within } from "./mqtt_client.ts";

/** Keeps what arrives. */
class Receiver implements ByteReceiver {
  received = "";
  ends = 0;
  readonly #end = Promise.withResolvers<void>();

  receive(bytes: Uint8Array): void {
    this.received += new TextDecoder().decode(bytes);
  }

  receiveText(): void {
    throw new Error("TCP has no text frames");
  }

  ended(): void {
    this.ends++;
    this.#end.resolve();
  }

  get end(): Promise<void> {
    return within("the end", this.#end.promise);
  }
}

/** A stream and the other end of it. */
async function connectPair() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [accepted, peer] = await Promise.all([listener.accept(), Deno.connect({ port: listener.addr.port })]);
  listener.close();
  const streams = new OpenStreams();
  const receiver = new Receiver();
  const stream = new TcpStream(accepted, { address: "127.0.0.1", isTrustedProxy: false }, {
    log: quietLog(),
    streams,
  });
  stream.open(receiver);
  return { stream, receiver, streams, peer };
}

/** Reads to the end, and sends a byte for every piece that comes when `isTalking`. */
async function readAll(peer: Deno.TcpConn, isTalking: boolean): Promise<number> {
  let total = 0;
  const buffer = new Uint8Array(65_536);
  for (let count = await peer.read(buffer); count !== null; count = await peer.read(buffer)) {
    total += count;
    if (isTalking) await peer.write(Uint8Array.of(0));
  }
  return total;
}

Deno.test("TcpStream hands over what arrives and ends once when its peer closes", async () => {
  const { receiver, streams, peer } = await connectPair();
  await peer.write(new TextEncoder().encode("hello"));
  await peer.closeWrite();
  await receiver.end;
  assert.equal(receiver.received, "hello");
  assert.equal(receiver.ends, 1);
  await streams.settled(10_000);
  peer.close();
});

Deno.test("TcpStream counts what its peer has not taken", async () => {
  const { stream, streams, peer } = await connectPair();
  const bytes = 20_000_000;
  stream.send(new Uint8Array(bytes));
  assert.equal(stream.bufferedAmount, bytes);
  stream.close(1000);
  assert.equal(await within("everything", readAll(peer, false)), bytes);
  assert.equal(stream.bufferedAmount, 0);
  peer.close();
  await streams.settled(10_000);
});

Deno.test("What was sent before the close arrives whole though the peer goes on sending", async () => {
  const { stream, receiver, streams, peer } = await connectPair();
  // More than socket buffers hold. A socket closed with bytes unread, or written to after it, would be reset.
  const bytes = 20_000_000;
  stream.send(new Uint8Array(bytes));
  stream.close(1000);
  stream.send(new Uint8Array(1));
  assert.equal(await within("everything", readAll(peer, true)), bytes);
  assert.equal(receiver.received, "", "nothing is heard after the close");
  assert.equal(receiver.ends, 0);
  peer.close();
  await streams.settled(10_000);
});

Deno.test("A peer that never closes its side does not hold a closed stream up", async () => {
  const { stream, streams, peer } = await connectPair();
  stream.close(1000);
  const startedAt = performance.now();
  await streams.settled(10_000);
  assert.ok(performance.now() - startedAt < 5_000);
  peer.close();
});

Deno.test("OpenStreams waits no longer than it is told", async () => {
  const { receiver, streams, peer } = await connectPair();
  await streams.settled(10);
  assert.equal(receiver.ends, 0, "the stream is still open");
  peer.close();
  await receiver.end;
  await streams.settled(10_000);
});
