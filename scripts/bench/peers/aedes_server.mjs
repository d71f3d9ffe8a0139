/**
 * aedes on Node over WebSocket, as its own documentation has it. The one argument is the folder of its packages; the
 * first line printed is the port.
 */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Aedes } = await load("aedes");
const { WebSocketServer, createWebSocketStream } = (await load("ws")).default;

const aedes = await Aedes.createBroker();
const server = createServer();
const webSockets = new WebSocketServer({ server });
webSockets.on("connection", (webSocket, request) => {
  aedes.handle(createWebSocketStream(webSocket), request);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
