/**
 * The Hearth SDK: log in, connect, send and receive, in Deno, Node ≥ 20 and browsers.
 *
 * It speaks plain MQTT 5.0 with JSON payloads over a WebSocket; nothing in it is needed to talk to Hearth, an
 * ordinary MQTT library does as well.
 *
 * ```ts
 * const http = new HttpClient({ origin: "http://127.0.0.1:8000" });
 * const clientId = randomId();
 * const login = await http.loginByCode({ mobile: "13800000000", code: "123456", clientId, platform: 0 });
 * const client = connect({
 *   url: "ws://127.0.0.1:8000/mqtt", userId: login.userId, clientId, token: login.token,
 * });
 * client.on("entry", (entry) => console.log(entry));
 * client.open();
 * await client.send({ type: 0, target: "bob", line: 0 }, "hello");
 * ```
 *
 * @module
 */
export { connect, HearthClient } from "./client.ts";
export type { ClientOptions } from "./client.ts";
export { Connection } from "./connection.ts";
export type { ConnectionEnd, ConnectionObserver, ConnectionOptions, WebSocketClass } from "./connection.ts";
export type { ClientEvents, ClientState } from "./events.ts";
export { HttpClient, LoginError } from "./http.ts";
export type { HttpOptions, LoginResult, Me, PcSession, PollResult, ScannedSession } from "./http.ts";
export { backOffMs, SocketLink } from "./link.ts";
export type { EndReason, Link, LinkObserver, LinkState, SocketLinkOptions } from "./link.ts";
export { randomId } from "./random_id.ts";
export { RequestError } from "./requests.ts";
export { canShareTabs, TabLink } from "./tabs.ts";
export { startAfterSync, Timeline } from "./timeline.ts";
export type { Position, PulledPage, Start, Verdict } from "./timeline.ts";
export type {
  CommandName,
  Commands,
  Conversation,
  ConversationState,
  Device,
  Entry,
  ErrorName,
  Event,
  Message,
  MessageContent,
  Refusal,
  Unread,
  UserInfo,
} from "../wire.ts";
