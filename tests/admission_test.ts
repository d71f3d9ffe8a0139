import assert from "node:assert/strict";
import { Admissions } from "../broker/admission.ts";
import type { BrokerLimits } from "../broker/limits.ts";
import { readConfig } from "../config.ts";

const START_MS = 1_000_000;

function admissions(differing: Partial<BrokerLimits> = {}): Admissions {
  return new Admissions({ ...readConfig({}).limits, ...differing });
}

const at = (address: string, isTrustedProxy = false) => ({ address, isTrustedProxy });
const stranger = at("203.0.113.7");

Deno.test("Connections without a good CONNECT are few per address", () => {
  const door = admissions({ maxUnauthenticatedPerIp: 2 });
  const first = door.admit(stranger, START_MS);
  door.admit(stranger, START_MS);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address");
  assert.equal(door.refuse(at("203.0.113.8"), START_MS), null);
  door.authenticate(first);
  assert.equal(door.refuse(stranger, START_MS), null, "a good CONNECT makes room");
});

Deno.test("Connections without a good CONNECT are few in all, loopback too", () => {
  const door = admissions({ maxUnauthenticated: 2 });
  const first = door.admit(at("127.0.0.1"), START_MS);
  door.admit(stranger, START_MS);
  assert.equal(door.refuse(at("127.0.0.1"), START_MS), "too-many");
  door.release(first);
  door.release(first);
  assert.equal(door.unauthenticated, 1, "a place is handed back once");
  assert.equal(door.refuse(at("127.0.0.1"), START_MS), null);
});

Deno.test("Connections of one address are limited where that is set, and only there", () => {
  const free = admissions();
  for (let i = 0; i < 500; i++) free.authenticate(free.admit(stranger, START_MS));
  assert.equal(free.refuse(stranger, START_MS), null);
  const door = admissions({ maxConnectionsPerIp: 1 });
  const only = door.admit(stranger, START_MS);
  door.authenticate(only);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address");
  door.release(only);
  assert.equal(door.refuse(stranger, START_MS), null);
});

Deno.test("A closed connection counts for its address until its socket is closed, and in all no more", () => {
  const door = admissions({ maxUnauthenticatedPerIp: 2, maxUnauthenticated: 2 });
  const given = [door.admit(stranger, START_MS), door.admit(stranger, START_MS)];
  for (const admission of given) door.close(admission);
  assert.equal(door.unauthenticated, 0);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address");
  assert.equal(door.refuse(at("203.0.113.8"), START_MS), null);
  door.close(given[0]!);
  door.authenticate(given[0]!);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address", "nothing of it counts twice");
  door.release(given[0]!);
  door.release(given[0]!);
  assert.equal(door.unauthenticated, 0);
  assert.equal(door.refuse(stranger, START_MS), null);
  door.admit(stranger, START_MS);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address", "a place is handed back once");
});

Deno.test("Closing sockets of an address are bounded, whoever they were", () => {
  const door = admissions();
  const given = Array.from({ length: 1_024 }, () => {
    const admission = door.admit(stranger, START_MS);
    door.authenticate(admission);
    return admission;
  });
  for (const admission of given) door.close(admission);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address");
  // A look over the addresses must not lose what is still counted.
  door.admit(at("203.0.113.8"), START_MS + 120_000);
  assert.equal(door.refuse(stranger, START_MS + 120_000), "too-many-of-address");
  door.release(given[0]!);
  assert.equal(door.refuse(stranger, START_MS), null);
});

Deno.test("An address with too many failed CONNECTs is refused for a minute", () => {
  const door = admissions({ maxFailedConnectsPerMinute: 3 });
  const fail = (nowMs: number) => {
    const admission = door.admit(stranger, nowMs);
    door.fail(admission, nowMs);
    door.release(admission);
  };
  for (let i = 0; i < 3; i++) fail(START_MS);
  assert.equal(door.refuse(stranger, START_MS), null);
  fail(START_MS + 10_000);
  assert.equal(door.refuse(stranger, START_MS + 10_000), "too-many-failures");
  assert.equal(door.refuse(stranger, START_MS + 69_999), "too-many-failures");
  assert.equal(door.refuse(stranger, START_MS + 70_000), null);
  // Failures of an earlier minute are over.
  for (let i = 0; i < 3; i++) fail(START_MS + 70_000);
  assert.equal(door.refuse(stranger, START_MS + 70_000), null);
});

Deno.test("Loopback and proxies that name no client are exempt unless LIMIT_LOOPBACK is set", () => {
  const exempt = [at("127.0.0.1"), at("127.9.9.9"), at("::1"), at("::ffff:127.0.0.1"), at("10.0.0.9", true)];
  for (const limitLoopback of [false, true]) {
    for (const peer of exempt) {
      const door = admissions({ limitLoopback, maxUnauthenticatedPerIp: 1, maxFailedConnectsPerMinute: 1 });
      const admission = door.admit(peer, START_MS);
      for (let i = 0; i < 5; i++) door.fail(admission, START_MS);
      assert.equal(door.refuse(peer, START_MS), limitLoopback ? "too-many-failures" : null, peer.address);
    }
  }
});

Deno.test("IPv6 counts by the /64, however the address is written", () => {
  const same = [
    "2001:db8:1:2::1",
    "2001:db8:1:2:ffff:ffff:ffff:ffff",
    "2001:0db8:0001:0002::9",
    "2001:db8:1:2:3::%eth0",
  ];
  const door = admissions({ maxUnauthenticatedPerIp: same.length });
  for (const address of same) {
    assert.equal(door.refuse(at(address), START_MS), null);
    door.admit(at(address), START_MS);
  }
  assert.equal(door.refuse(at("2001:db8:1:2:8000::"), START_MS), "too-many-of-address");
  assert.equal(door.refuse(at("2001:db8:1:3::1"), START_MS), null);
  assert.equal(door.refuse(at("2001:db8:1::2:1"), START_MS), null);
});

Deno.test("An IPv4 address counts the same when it comes in the form of an IPv6 one", () => {
  const door = admissions({ maxUnauthenticatedPerIp: 1 });
  door.admit(at("::ffff:203.0.113.7"), START_MS);
  assert.equal(door.refuse(stranger, START_MS), "too-many-of-address");
});

Deno.test("While draining nobody is taken", () => {
  const door = admissions();
  door.isDraining = true;
  assert.equal(door.refuse(at("127.0.0.1"), START_MS), "draining");
});
