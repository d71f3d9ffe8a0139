/** aedes, the broker in JavaScript: on Node, over WebSocket, in memory. */
import { makeDataFolder } from "../bench_cluster.ts";
import type { Cleanup } from "../cleanup.ts";
import { outputOf, type Peer, startProgram } from "./broker.ts";

const AEDES = "1.2.0";
const WS = "8.23.0";
const PROGRAM = new URL("./aedes_server.mjs", import.meta.url).pathname;

/** Installs and starts it; `null`, and a line that says why, where it cannot be had. */
export async function startAedes(cleanup: Cleanup): Promise<Peer | null> {
  await using opened = new AsyncDisposableStack();
  const { path } = opened.use(await makeDataFolder(cleanup));
  // Where there is no Node, Deno puts itself in its place.
  const node = /^v(\d\S+)/.exec(await outputOf("node", ["--version"]) ?? "")?.[1];
  if (node === undefined) return leaveOut("there is no Node");
  const quiet = [
    "--no-save",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--fetch-retries=0",
    "--fetch-timeout=20000",
  ];
  const packages = [`aedes@${AEDES}`, `ws@${WS}`];
  const installed = await outputOf("npm", ["install", "--prefix", path, ...quiet, ...packages]);
  if (installed === null) return leaveOut("npm could not install it");
  const program = startProgram("node", [PROGRAM, path], cleanup);
  if (program === null) return leaveOut("there is no Node");
  opened.use(program);
  const port = await program.firstLine();
  if (port === null) return leaveOut("it ended at its start");
  const parts = opened.move();
  return {
    name: "aedes",
    about: `aedes ${AEDES} with ws ${WS} on Node ${node}, WebSocket`,
    url: `ws://127.0.0.1:${port}/mqtt`,
    pid: program.pid,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function leaveOut(reason: string): null {
  console.log(`aedes is left out: ${reason}.`);
  return null;
}
