/** The command line clients of Eclipse Mosquitto, in C, as programs of their own. */
import { type Door, DOORS, within } from "./mqtt_client.ts";
import type { TestServer } from "./server.ts";

/** What `mosquitto_pub --help` says; null when the programs are not installed. */
function readHelp(): string | null {
  try {
    const { stdout } = new Deno.Command("mosquitto_pub", { args: ["--help"], stderr: "null" }).outputSync();
    return new TextDecoder().decode(stdout);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

const help = readHelp();
if (help === null) console.log("mosquitto tests not run: mosquitto_pub is not installed");
/** Whether their tests are run: a machine that is there to test has the programs. */
export const isRun = help !== null || Deno.env.get("CI") === "true";
/** Releases 2.0 speak TCP alone. */
const webSocketFlag = /--(?:ws|websockets)\b/.exec(help ?? "")?.[0] ?? null;
/** The doors they can use. */
export const doors: readonly Door[] = webSocketFlag === null ? ["TCP"] : DOORS;

/** Where a server is. */
export function addressArgs(server: TestServer, door: Door): string[] {
  const port = door === "TCP" ? server.tcpPort : server.hearth.port;
  return [...(door === "TCP" ? [] : [webSocketFlag!]), "-h", "127.0.0.1", "-p", String(port)];
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const child = new Deno.Command(program, { args: [...args], stdout: "piped", stderr: "piped" }).spawn();
  try {
    const { code, stdout, stderr } = await within(`the end of ${program}`, child.output());
    const text = new TextDecoder();
    return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
  } catch (error) {
    child.kill("SIGKILL");
    await child.status;
    throw error;
  }
}

/** A `mosquitto_sub` that has subscribed, and what it prints. */
export class Subscriber implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  /** `format` is that of its `-F`. */
  constructor(args: readonly string[], format = "heard %t %q %p") {
    // Into a pipe it would print a page at a time.
    this.#child = new Deno.Command("stdbuf", {
      args: ["-oL", "mosquitto_sub", "-d", "-F", format, ...args],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The first line from here on that matches; null at the end of the program. */
  async line(pattern: RegExp): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        if (pattern.test(line)) return line;
        continue;
      }
      const { done, value } = await within(`a line like ${pattern}`, this.#lines.read());
      if (done) return null;
      this.#rest += value;
    }
  }

  /** Ends it without a word. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended already.
    }
    await this.#lines.cancel();
    await this.#child.status;
  }
}
