/** Changed packets against a server of its own, for a minute; `deno task fuzz` goes on for longer. */
import assert from "node:assert/strict";
import { readConfig } from "../config.ts";
import { runCampaign, toMb } from "./fuzz/campaign.ts";
import { planConnection } from "./fuzz/plan.ts";
import { DOORS } from "./mqtt_client.ts";

/** Set it to the seed that was printed to send the same again. */
const SEED = Number(Deno.env.get("HEARTH_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));
const SECONDS = 60;
const { limits } = readConfig({});

Deno.test("The same seed gives the same bytes in the same pieces, another one gives others", () => {
  const login = { userId: "user-1", clientId: "client-1", token: "secret" };
  const plans = (seed: number) =>
    Array.from(
      { length: 50 },
      (_, number) => planConnection({ seed, doors: DOORS, logins: [login], limits }, number),
    );
  assert.deepEqual(plans(7), plans(7));
  assert.notDeepEqual(plans(7), plans(8));
});

Deno.test(`Changed packets in any framing for ${SECONDS} s: the server lives, fails nowhere, keeps nothing, and nobody beside them notices`, async () => {
  console.log(`HEARTH_FUZZ_SEED=${SEED}`);
  const report = await runCampaign({
    ...{ seed: SEED, doors: DOORS, packets: null, seconds: SECONDS, only: null },
    tell: (line) => console.log(line),
  });
  const { mutated, packets, connections, trips, warmBytes, endBytes, figures } = report;
  console.log(`${mutated} changed packets among ${packets} on ${connections} connections`);
  console.log(`${trips} messages went through beside them`);
  console.log(`memory ${toMb(warmBytes)} MB warm, ${toMb(endBytes)} MB at the end`);
  // They get everywhere; otherwise this would prove nothing.
  for (const [name, count] of figures) assert.ok(count > 0, `${name} ${count}`);
  assert.ok(mutated > 0 && trips > 0);
});
