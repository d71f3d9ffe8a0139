import assert from "node:assert/strict";
import { Histogram } from "../scripts/bench/histogram.ts";

Deno.test("An empty histogram says 0 for everything", () => {
  assert.deepEqual(new Histogram().percentiles(), { count: 0, p50: 0, p99: 0, max: 0 });
});

Deno.test("A histogram gives short durations back exactly", () => {
  for (const ms of [0, 0.001, 0.064, 0.127]) {
    const histogram = new Histogram();
    histogram.record(ms);
    assert.equal(histogram.quantile(1), ms);
  }
});

Deno.test("A histogram gives a duration back at most one part in 128 too high, and never too low", () => {
  for (let us = 1; us < 4_000_000_000; us = Math.ceil(us * 1.37)) {
    const histogram = new Histogram();
    histogram.record(us / 1_000);
    histogram.record(4_294_967); // the largest there is, so that no bound hides the bucket's own
    const read = histogram.quantile(0.5) * 1_000;
    assert.ok(read >= us - 0.001 && read <= us * (1 + 1 / 128) + 0.001, `${us} µs came back as ${read}`);
  }
});

Deno.test("Quantiles are those of the sorted durations", () => {
  const histogram = new Histogram();
  const durations: number[] = [];
  let random = 1;
  for (let i = 0; i < 20_000; i++) {
    random = random * 48_271 % 2_147_483_647; // Lehmer's generator: the same durations in every run
    const ms = (random / 2_147_483_647) ** 4 * 5_000;
    durations.push(ms);
    histogram.record(ms);
  }
  durations.sort((a, b) => a - b);
  for (const share of [0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = durations[Math.ceil(share * durations.length) - 1]!;
    const read = histogram.quantile(share);
    assert.ok(Math.abs(read - exact) <= exact / 128 + 0.001, `${share}: ${read} instead of ${exact}`);
  }
  const { count, max } = histogram.percentiles();
  assert.equal(count, durations.length);
  assert.ok(Math.abs(max - durations.at(-1)!) < 0.001);
});

Deno.test("Durations outside the range count at its ends", () => {
  const histogram = new Histogram();
  histogram.record(-5);
  histogram.record(1e12);
  assert.equal(histogram.quantile(0.5), 0);
  assert.equal(histogram.quantile(1), (2 ** 32 - 1) / 1_000);
});

Deno.test("Two histograms added are the histogram of both", () => {
  const [first, second, both] = [new Histogram(), new Histogram(), new Histogram()];
  for (let i = 1; i <= 1_000; i++) {
    (i % 3 === 0 ? first : second).record(i);
    both.record(i);
  }
  first.add(second);
  for (const share of [0.1, 0.5, 0.99, 1]) assert.equal(first.quantile(share), both.quantile(share));
  assert.deepEqual(first.percentiles(), both.percentiles());
});
