/** Eclipse Mosquitto, the broker in C, over WebSocket where the program was built with it. */
import { freePort } from "../../../tests/process.ts";
import { makeDataFolder } from "../bench_cluster.ts";
import type { Cleanup } from "../cleanup.ts";
import { type Peer, startProgram } from "./broker.ts";

/** Debian puts it where only root's PATH leads. */
const PROGRAMS = ["mosquitto", "/usr/sbin/mosquitto"] as const;

/** Starts it; `null`, and a line that says why, where it cannot be had. */
export async function startMosquitto(cleanup: Cleanup): Promise<Peer | null> {
  const peer = await start("WebSocket", cleanup) ?? await start("TCP", cleanup);
  if (peer === null) console.log("mosquitto is left out: it is not installed or does not start.");
  return peer;
}

async function start(carrier: "WebSocket" | "TCP", cleanup: Cleanup): Promise<Peer | null> {
  await using opened = new AsyncDisposableStack();
  const { path } = opened.use(await makeDataFolder(cleanup));
  const [tcpPort, wsPort] = [freePort(), freePort()];
  const lines = [
    "allow_anonymous true",
    "persistence false",
    "set_tcp_nodelay true",
    "log_dest stdout",
    "log_type error",
    `listener ${tcpPort} 127.0.0.1`,
    // 2.0.11 does not start with a WebSocket listener alone.
    ...carrier === "TCP" ? [] : [`listener ${wsPort} 127.0.0.1`, "protocol websockets"],
  ];
  const file = `${path}/mosquitto.conf`;
  await Deno.writeTextFile(file, lines.join("\n") + "\n");
  const port = carrier === "TCP" ? tcpPort : wsPort;
  for (const name of PROGRAMS) {
    const program = startProgram(name, ["-c", file], cleanup);
    if (program === null) continue;
    opened.use(program);
    if (!await program.listensOn(port)) return null;
    const parts = opened.move();
    return {
      name: "mosquitto",
      about: `mosquitto ${await versionOf(name)}, ${carrier}`,
      url: carrier === "TCP" ? `tcp://127.0.0.1:${port}` : `ws://127.0.0.1:${port}/mqtt`,
      pid: program.pid,
      [Symbol.asyncDispose]: () => parts.disposeAsync(),
    };
  }
  return null;
}

/** `-h` prints it, and ends with 3. */
async function versionOf(program: string): Promise<string> {
  const { stdout } = await new Deno.Command(program, { args: ["-h"], stderr: "null" }).output();
  return /version (\S+)/.exec(new TextDecoder().decode(stdout))?.[1] ?? "of unknown version";
}
