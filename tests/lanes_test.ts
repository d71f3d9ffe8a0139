import assert from "node:assert/strict";
import { type LaneItem, Lanes } from "../store/lanes.ts";

interface Item extends LaneItem {
  readonly name: string;
}

const LIMITS = {
  maxRowsPerTake: 100,
  maxRowsPerLane: 40,
  maxItemsPerLane: 200,
  maxItems: 1_000,
  maxBytes: 10_000,
};

function item(lane: string, name: string, rows = 1, bytes = 1): Item {
  return { lane, name, rows, bytes };
}

Deno.test("A take is in order of arrival, whatever the lanes", () => {
  const lanes = new Lanes<Item>(LIMITS);
  for (const [lane, name] of [["a", "1"], ["b", "2"], ["a", "3"], ["c", "4"], ["b", "5"]] as const) {
    lanes.push(item(lane, name));
  }
  assert.deepEqual(lanes.take().map((taken) => taken.name), ["1", "2", "3", "4", "5"]);
  assert.equal(lanes.size, 0);
});

Deno.test("A busy lane leaves room for the others, and gets the rest when they are done", () => {
  const lanes = new Lanes<Item>(LIMITS);
  for (let i = 0; i < 150; i++) lanes.push(item("busy", `b${i}`));
  for (let i = 0; i < 70; i++) lanes.push(item(`pair${i}`, `p${i}`));
  const first = lanes.take();
  assert.equal(first.filter((taken) => taken.lane === "busy").length, 40);
  assert.equal(first.length, 100);
  const second = lanes.take();
  // The pairs left over come first now; the busy lane may fill what they leave.
  assert.equal(second.filter((taken) => taken.lane !== "busy").length, 10);
  assert.equal(lanes.take().length + first.length + second.length, 220);
});

Deno.test("A lane's order is kept across takes", () => {
  const lanes = new Lanes<Item>(LIMITS);
  for (let i = 0; i < 190; i++) lanes.push(item("a", String(i)));
  const order: string[] = [];
  while (lanes.size > 0) order.push(...lanes.take().map((taken) => taken.name));
  assert.deepEqual(order, Array.from({ length: 190 }, (_, i) => String(i)));
});

Deno.test("An item larger than a whole take goes alone", () => {
  const lanes = new Lanes<Item>(LIMITS);
  lanes.push(item("group", "big", 500));
  lanes.push(item("pair", "small", 2));
  assert.deepEqual(lanes.take().map((taken) => taken.name), ["big"]);
  assert.deepEqual(lanes.take().map((taken) => taken.name), ["small"]);
});

Deno.test("Room ends at the limits of a lane, of items and of bytes, and comes back after a take", () => {
  const lanes = new Lanes<Item>(LIMITS);
  for (let i = 0; i < 200; i++) lanes.push(item("full", String(i)));
  assert.equal(lanes.hasRoom("full"), false);
  assert.equal(lanes.hasRoom("other"), true);
  lanes.take();
  assert.equal(lanes.hasRoom("full"), true);
  lanes.push(item("large", "x", 1, 10_000));
  assert.equal(lanes.hasRoom("other"), false);
});

Deno.test("Counts of items and bytes return to zero", () => {
  const lanes = new Lanes<Item>(LIMITS);
  for (let i = 0; i < 300; i++) lanes.push(item(`l${i % 7}`, String(i), 1 + (i % 3), 5));
  const seen = new Set<string>();
  lanes.forEach((waiting) => seen.add(waiting.name));
  assert.equal(seen.size, 300);
  while (lanes.size > 0) lanes.take();
  assert.equal(lanes.bytes, 0);
  assert.equal(lanes.hasRoom("l0"), true);
});
