/**
 * Who is connected, and MQTT: sockets, sessions, requests and delivery.
 *
 * @module
 */

export type { AdmissionRefusal, Peer } from "./admission.ts";
export { Broker, type BrokerOptions } from "./broker.ts";
export type { BrokerStats } from "./broker_stats.ts";
export type { BrokerLimits } from "./limits.ts";
export type { RateLimit } from "./rate_limits.ts";
export type { Reply } from "./reply.ts";
export { chooseSubProtocol, SUB_PROTOCOLS } from "./sub_protocol.ts";
export { CertificateError } from "./tls_listener.ts";
export type { UpgradeRefusal, UpgradeRequest, UpgradeScreen } from "./ws_listener.ts";
