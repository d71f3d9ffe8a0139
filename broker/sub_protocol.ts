/** The sub-protocols of MQTT over WebSocket, the usual name first. [MQTT-6.0.0-3] */
export const SUB_PROTOCOLS = ["mqtt", "mqttv3.1"] as const;

/** The sub-protocol to answer an offer with; null when it holds none of ours. [MQTT-6.0.0-4] */
export function chooseSubProtocol(offered: Iterable<string>): string | null {
  const names = new Set(offered);
  return SUB_PROTOCOLS.find((name) => names.has(name)) ?? null;
}
