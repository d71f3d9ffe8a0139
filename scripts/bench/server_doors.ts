/** A server with both of its WebSocket doors open. */
import { freePort } from "../../tests/process.ts";
import type { Bench } from "./bench.ts";
import type { ServerProcess } from "./server_process.ts";

/** The runtime's own WebSockets on the server's port, or `ws` on `MQTT_WS_PORT`. */
export type Door = "native" | "ws";

/** What a door is called in figures. */
export const DOOR_NAMES: Readonly<Record<Door, string>> = {
  native: "native WebSocket",
  ws: "MQTT_WS_PORT",
};

/** A running server and the addresses of its doors. */
export interface ServerDoors extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly urls: Readonly<Record<Door, string>>;
}

/** Starts a server on a database of its own. */
export async function openDoors(
  bench: Bench,
  env: Readonly<Record<string, string>> = {},
): Promise<ServerDoors> {
  const port = freePort();
  const server = await bench.startServer(undefined, { MQTT_WS_PORT: String(port), ...env });
  return {
    server,
    urls: { native: server.wsUrl, ws: `ws://127.0.0.1:${port}/mqtt` },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
