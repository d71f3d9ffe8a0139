/**
 * A client in Node, bundled by its test: connects, sends a message to itself, and prints what it heard. Its one
 * argument is JSON: `url`, `userId`, `clientId`, `token`, and `socket`: whose WebSocket to use.
 */
import process from "node:process";
import WebSocketOfWs from "ws";
import { connect } from "../sdk/mod.ts";
import type { WebSocketClass } from "../sdk/mod.ts";

const { socket, ...options } = JSON.parse(process.argv[2]!) as {
  url: string;
  userId: string;
  clientId: string;
  token: string;
  socket: "ws" | "global";
};
const client = connect({
  ...options,
  ...socket === "ws" && { WebSocket: WebSocketOfWs as unknown as WebSocketClass },
});
const heard: string[] = [];
client.on(
  "entry",
  (entry) => "message" in entry && heard.push(entry.message.content.searchableContent ?? ""),
);
client.open();
const { seq } = await client.send({ type: 0, target: options.userId, line: 0 }, "from Node");
client.close();
console.log(JSON.stringify({ seq, heard }));
