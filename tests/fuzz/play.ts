/** Plays one planned connection against a server. */
import { within } from "../mqtt_client.ts";
import { Answers } from "./answers.ts";
import { CLOSE_FRAME, FrameReader, PONG_FRAME, upgradeRequest } from "./frames.ts";
import type { Plan } from "./plan.ts";

/** Where the server listens. */
export interface Ports {
  readonly tcp: number;
  readonly webSocket: number;
}

/** Longer than any answer takes. */
const PATIENCE_MS = 30_000;

/** Plays a plan to its end; what the server may not do is thrown. */
export async function play(plan: Plan, ports: Ports): Promise<void> {
  const connection = await Wire.open(plan, ports);
  try {
    await within("the end of what was begun", follow(plan, connection), PATIENCE_MS);
    const { fault } = connection.answers;
    if (fault !== null) throw new Error(fault);
  } finally {
    connection.close();
    await connection.ended;
  }
}

async function follow({ pieces, end, outlook, pings, isDeaf, packets }: Plan, wire: Wire): Promise<void> {
  if (!isDeaf) wire.listen();
  for (const piece of pieces) {
    if (!await wire.write(piece)) break;
  }
  wire.listen();
  if (end === "drop") return;
  if (end === "finish" && packets.length > 1) {
    await wire.finish();
    return await wire.ended;
  }
  // In the middle of a packet the server waits, and so would we.
  if (outlook === "partial") return;
  await wire.until(outlook === "whole" ? pings : Infinity);
}

/** The client's side of a connection. */
class Wire {
  readonly answers = new Answers();
  readonly #conn: Deno.TcpConn;
  readonly #frames: FrameReader | null;
  #ended = Promise.resolve();
  #isListening = false;
  #isClosed = false;
  /** Called when something was heard. */
  #wake: (() => void) | null = null;

  private constructor(conn: Deno.TcpConn, frames: boolean) {
    this.#conn = conn;
    this.#frames = frames ? new FrameReader((content) => this.answers.push(content)) : null;
  }

  static async open({ door }: Plan, ports: Ports): Promise<Wire> {
    const port = door === "TCP" ? ports.tcp : ports.webSocket;
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    if (door === "TCP") {
      conn.setNoDelay(true);
      return new Wire(conn, false);
    }
    try {
      await conn.write(upgradeRequest(port));
      const head = await within("the upgrade", readHead(conn), PATIENCE_MS);
      if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`the upgrade was answered with ${head}`);
    } catch (error) {
      conn.close();
      throw error;
    }
    return new Wire(conn, true);
  }

  /** Resolves when nothing more comes. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#ended = this.#read();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(16_384);
    try {
      for (let count = await this.#conn.read(buffer); count !== null; count = await this.#conn.read(buffer)) {
        // The framing keeps what it needs.
        const bytes = buffer.subarray(0, count);
        if (this.#frames === null) this.answers.push(bytes);
        else this.#frames.push(bytes);
        this.#wake?.();
        // Without an answer the server would end what hangs, and hide it.
        for (; (this.#frames?.pings ?? 0) > 0; this.#frames!.pings--) await this.write(PONG_FRAME);
        if (this.#frames?.isClosed) {
          await this.write(CLOSE_FRAME);
          break;
        }
      }
    } catch {
      // Reset by the server, or closed by us.
    }
    this.close();
    this.#wake?.();
  }

  /** Whether it could be written. */
  async write(bytes: Uint8Array): Promise<boolean> {
    try {
      for (let sent = 0; sent < bytes.length;) sent += await this.#conn.write(bytes.subarray(sent));
      return true;
    } catch {
      return false;
    }
  }

  /** Resolves when so many PINGREQs are answered, or the server has closed. */
  async until(pings: number): Promise<void> {
    while (!this.#isClosed && this.answers.pings < pings) {
      await new Promise<void>((wake) => this.#wake = wake);
    }
  }

  /** Says that nothing more comes from us. */
  async finish(): Promise<void> {
    if (this.#frames !== null) await this.write(CLOSE_FRAME);
    else await this.#conn.closeWrite().catch(() => {});
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn.close();
  }
}

async function readHead(conn: Deno.TcpConn): Promise<string> {
  const buffer = new Uint8Array(1_024);
  let head = "";
  // Nothing follows it unasked.
  while (!head.endsWith("\r\n\r\n")) {
    const count = await conn.read(buffer);
    if (count === null) break;
    head += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return head;
}
