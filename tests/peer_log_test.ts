import assert from "node:assert/strict";
import { PeerLog } from "../broker/peer_log.ts";
import { createLog } from "../log.ts";

const peer = { address: "203.0.113.7", reason: "The QoS is 3." };

/** A log, and the lines it has written. */
function openLog(): { readonly peerLog: PeerLog; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line.slice(13));
  return { peerLog: new PeerLog(createLog({ format: "text", level: "info", write })), lines };
}

Deno.test("A peer that broke MQTT is one line with address, reason and user", () => {
  const { peerLog, lines } = openLog();
  peerLog.tell(peer, 0);
  peerLog.tell({ ...peer, userId: "alice" }, 0);
  assert.deepEqual(lines, [
    'peer broke MQTT address=203.0.113.7 reason="The QoS is 3."',
    'peer broke MQTT address=203.0.113.7 reason="The QoS is 3." userId=alice',
  ]);
});

Deno.test("A flood of them is a line a second, and none goes uncounted", () => {
  const { peerLog, lines } = openLog();
  for (let ms = 0; ms < 10_000; ms++) peerLog.tell(peer, ms);
  assert.equal(lines.length, 29);
  peerLog.tell(peer, 11_000);
  const untold = lines.map((line) => Number(/untold=(\d+)/.exec(line)?.[1] ?? 0)).reduce(
    (sum, n) => sum + n,
    0,
  );
  assert.equal(lines.length + untold, 10_001);
});
