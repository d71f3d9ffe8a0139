/** A broker that plain MQTT is measured against, ours or another's. */
import type { Cleanup } from "../cleanup.ts";
import { stopProcess } from "../server_process.ts";

/** A running broker. */
export interface Broker {
  readonly name: string;
  /** What it is and how it is reached, for the record. */
  readonly about: string;
  /** ws: or tcp:. */
  readonly url: string;
  readonly pid: number;
}

/** A broker of another make. */
export interface Peer extends Broker, AsyncDisposable {}

const START_LIMIT_MS = 10_000;

/** A program of a peer; it is stopped when this is disposed of. */
export interface PeerProcess extends AsyncDisposable {
  readonly pid: number;
  /** The first line it prints; `null` when it ends before that. */
  firstLine(): Promise<string | null>;
  /** Waits until it listens on a port of this machine; false when it ends before that, or takes too long. */
  listensOn(port: number): Promise<boolean>;
}

/** Starts the program of a peer; `null` when it is not installed. */
export function startProgram(program: string, args: readonly string[], cleanup: Cleanup): PeerProcess | null {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
      // Ctrl-C is for the benchmark, which stops the peers itself.
      detached: true,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  let hasEnded = false;
  child.status.then(() => hasEnded = true);
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const stopped = cleanup.add(async () => {
    await lines.cancel();
    await stopProcess(child);
  });
  return {
    pid: child.pid,
    async firstLine() {
      for (let text = "";;) {
        const { done, value } = await lines.read();
        if (done) return null;
        text += value;
        if (text.includes("\n")) return text.split("\n")[0]!;
      }
    },
    async listensOn(port) {
      for (const limit = performance.now() + START_LIMIT_MS; !hasEnded && performance.now() < limit;) {
        try {
          (await Deno.connect({ hostname: "127.0.0.1", port })).close();
          return true;
        } catch (error) {
          if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
        }
        await new Promise((resume) => setTimeout(resume, 10));
      }
      return false;
    },
    [Symbol.asyncDispose]: () => stopped[Symbol.asyncDispose](),
  };
}

/** What a program prints; `null` when it is not installed or fails. */
export async function outputOf(program: string, args: readonly string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout) : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
