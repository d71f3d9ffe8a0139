/** The SDK in Node, from version 20 on. Not run where there is no Node. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { startServer, type TestServer } from "./server.ts";

const NODE = await findNode();

async function findNode(): Promise<boolean> {
  try {
    return (await new Deno.Command("node", { args: ["--version"], stdout: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Bundles the client for Node and runs it. */
async function runClient(
  server: TestServer,
  socket: "ws" | "global",
  flags: readonly string[],
): Promise<unknown> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-node-" });
  try {
    const script = `${folder}/client.mjs`;
    const source = new URL("node_client.ts", import.meta.url).pathname;
    await run(Deno.execPath(), ["bundle", "--quiet", "--platform", "deno", "--output", script, source]);
    const clientId = `node-${socket}`;
    const options = {
      url: server.wsUrl,
      userId: "nora",
      clientId,
      token: await createLogin(server, "nora", clientId),
      socket,
    };
    return JSON.parse(await run("node", [...flags, script, JSON.stringify(options)]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const output = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.ok(output.success, `${program} ended with ${output.code}: ${decode(output.stderr)}`);
  return decode(output.stdout);
}

if (NODE) {
  Deno.test("In Node a WebSocket class of the ws package carries the SDK", async () => {
    await using server = await startServer();
    assert.deepEqual(await runClient(server, "ws", []), { seq: "1", heard: ["from Node"] });
  });

  Deno.test("In Node the global WebSocket carries the SDK", async () => {
    await using server = await startServer();
    // Behind a flag in versions 20 and 21, on by itself since 22.
    const answer = await runClient(server, "global", ["--experimental-websocket"]);
    assert.deepEqual(answer, { seq: "1", heard: ["from Node"] });
  });
} else if (Deno.env.get("CI") === "true") {
  Deno.test("Node is installed on a continuous-integration machine", () => assert.fail("no Node"));
} else {
  console.log("Node tests not run: no Node");
}
