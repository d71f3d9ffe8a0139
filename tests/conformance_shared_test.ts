/** Shared subscriptions. 3.1.1 does not know them; what this server adds there works the same. */
import assert from "node:assert/strict";
import { Conformance, type Stage } from "./conformance.ts";
import { type ConformanceClient, PINGREQ, text } from "./conformance_client.ts";
import { acknowledgement, counted, join, packet, uint16, variable } from "./mqtt_bytes.ts";

const cases = new Conformance();

/** A filter of a group. */
function shared(stage: Stage, rest: string, group = "group"): string {
  return `$share/${group}/${stage.topic(rest)}`;
}

/** Clients that share a filter, and that hear what is said to all. */
async function members(stage: Stage, count: number, rest: string, qos = 2): Promise<ConformanceClient[]> {
  const clients: ConformanceClient[] = [];
  while (clients.length < count) {
    const client = await stage.connect();
    await client.subscribe([[shared(stage, rest), qos], [stage.topic("all"), qos]]);
    clients.push(client);
  }
  return clients;
}

/** What each has heard before a last word to all. */
async function heardBy(stage: Stage, clients: readonly ConformanceClient[], qos = 2): Promise<string[][]> {
  const publisher = await stage.connect();
  await publisher.publish(stage.topic("all"), "end", { qos });
  const heard: string[][] = [];
  for (const client of clients) heard.push((await client.messagesBefore("end")).map(text));
  return heard;
}

cases.both(
  "Each message goes to one member of a group, and to all who share nothing",
  async (stage) => {
    const clients = await members(stage, 3, "a");
    const alone = await stage.connect();
    await alone.subscribe([[stage.topic("a"), 2], [stage.topic("all"), 2]]);
    const publisher = await stage.connect();
    const sent = Array.from({ length: 30 }, (_, i) => String(i));
    for (const payload of sent) {
      await publisher.publish(stage.topic("a"), payload, { qos: Number(payload) % 3 });
    }
    const heard = await heardBy(stage, [...clients, alone]);
    const byNumber = (a: string, b: string) => Number(a) - Number(b);
    assert.deepEqual(heard.pop()!.toSorted(byNumber), sent);
    assert.deepEqual(heard.flat().toSorted(byNumber), sent);
    for (const share of heard) assert.ok(share.length > 0, "every member has its share");
  },
);

cases.both("A publisher may be a member itself", async (stage) => {
  const clients = await members(stage, 2, "a");
  for (const payload of ["1", "2", "3", "4"]) {
    await clients[1]!.publish(stage.topic("a"), payload, { qos: 1 });
  }
  assert.deepEqual((await heardBy(stage, clients)).flat().toSorted(), ["1", "2", "3", "4"]);
});

cases.both("Groups are apart, by their names and by their filters [MQTT-4.8.2-2]", async (stage) => {
  const filters = [
    shared(stage, "a", "one"),
    shared(stage, "a", "other"),
    shared(stage, "+", "one"),
    shared(stage, "b", "one"),
  ];
  const clients: ConformanceClient[] = [];
  for (const filter of filters) {
    const client = await stage.connect();
    await client.subscribe([[filter, 2], [`${stage.name}all`, 2]]);
    clients.push(client);
  }
  const publisher = await stage.connect();
  await publisher.publish(stage.topic("a"), "to a", { qos: 1 });
  await publisher.publish(stage.topic("b"), "to b", { qos: 1 });
  await publisher.publish(`${stage.name}all`, "end", { qos: 1 });
  const heard = [];
  for (const client of clients) heard.push((await client.messagesBefore("end")).map(text));
  assert.deepEqual(heard, [["to a"], ["to a"], ["to a", "to b"], ["to b"]]);
});

cases.both("A member is sent at the QoS it was granted [MQTT-4.8.2-3]", async (stage) => {
  const clients = [
    ...await members(stage, 1, "a", 0),
    ...await members(stage, 1, "a", 1),
    ...await members(stage, 1, "a", 2),
  ];
  const publisher = await stage.connect();
  for (let i = 0; i < 12; i++) await publisher.publish(stage.topic("a"), "hello", { qos: 2 });
  await publisher.publish(stage.topic("all"), "end", { qos: 2 });
  let count = 0;
  for (const [granted, client] of clients.entries()) {
    for (const { qos } of await client.messagesBefore("end")) {
      assert.equal(qos, granted);
      count++;
    }
  }
  assert.equal(count, 12);
});

cases.both(
  "A member that has left its group hears nothing of it [MQTT-3.10.4-1] [MQTT-3.10.4-2]",
  async (stage) => {
    const clients = await members(stage, 2, "a");
    const codes = await clients[0]!.unsubscribe(stage.topic("a"), shared(stage, "a"));
    assert.deepEqual(codes, stage.level === 5 ? [0x11, 0] : []);
    const publisher = await stage.connect();
    for (const payload of ["1", "2", "3"]) await publisher.publish(stage.topic("a"), payload, { qos: 1 });
    assert.deepEqual(await heardBy(stage, clients), [[], ["1", "2", "3"]]);
  },
);

cases.both("An absent member is passed over while another is there", async (stage) => {
  const hello = { clientId: `${stage.name}away`, clean: false, expirySeconds: 1000 };
  const away = await stage.connect(hello);
  await away.subscribe([[shared(stage, "a"), 1], [stage.topic("all"), 1]]);
  const [present] = await members(stage, 1, "a");
  await away.disconnect();
  const publisher = await stage.connect();
  for (const payload of ["1", "2", "3"]) await publisher.publish(stage.topic("a"), payload, { qos: 1 });
  assert.deepEqual(await heardBy(stage, [present!]), [["1", "2", "3"]]);
  const again = await stage.connect(hello);
  assert.deepEqual((await again.messagesBefore("end")).map(text), []);
});

cases.both("A new member is not sent what is retained", async (stage) => {
  const publisher = await stage.connect();
  await publisher.publish(stage.topic("a"), "retained", { qos: 1, isRetain: true });
  const clients = await members(stage, 2, "a");
  assert.deepEqual(await heardBy(stage, clients), [[], []]);
});

cases.both("A session may share a filter and have it for itself [MQTT-3.8.4-3]", async (stage) => {
  const client = await stage.connect();
  await client.subscribe([[shared(stage, "a"), 1], [stage.topic("a"), 1], [stage.topic("all"), 1]]);
  const publisher = await stage.connect();
  await publisher.publish(stage.topic("a"), "hello", { qos: 1 });
  const [heard] = await heardBy(stage, [client]);
  assert.ok(heard!.length === 1 || heard!.length === 2, `${heard!.length} copies`);
  await client.unsubscribe(stage.topic("a"));
  await publisher.publish(stage.topic("a"), "still shared", { qos: 1 });
  assert.deepEqual(await heardBy(stage, [client]), [["still shared"]]);
});

cases.v5("No Local is not for shared subscriptions [MQTT-3.8.3-4]", async (stage) => {
  const client = await stage.connect();
  await client.raw.send(packet(0x82, uint16(1), 0, counted(shared(stage, "a")), 0x04));
  assert.equal(await client.closedWith(), 0x82);
});

cases.v5(
  "A shared filter without a name or a filter is refused [MQTT-4.8.2-1] [MQTT-4.8.2-2]",
  async (stage) => {
    for (const filter of ["$share/", "$share/g", "$share//a", "$share/g/", "$share/g+/a", "$share/#/a"]) {
      const client = await stage.connect();
      await client.raw.send(
        packet(0x82, uint16(1), 0, counted(filter), 1),
        PINGREQ,
      );
      const answer = await client.raw.next();
      if (answer.cmd === "suback") assert.ok(answer.granted[0] as number >= 0x80, filter);
      else assert.ok(answer.cmd === "disconnect" && answer.reasonCode! >= 0x80, filter);
    }
  },
);

cases.v5("A message for a group names the subscription of the member [MQTT-3.3.4-3]", async (stage) => {
  const client = await stage.connect();
  await client.subscribe([[shared(stage, "a"), 1]], join(0x0b, variable(300)));
  await client.publish(stage.topic("a"), "hello", { qos: 1 });
  assert.equal((await client.message()).properties?.subscriptionIdentifier, 300);
});

cases.v5(
  "A QoS 2 delivery that was cut off is completed with the same member [MQTT-4.8.2-4]",
  async (stage) => {
    const hello = { clientId: `${stage.name}first`, clean: false, expirySeconds: 1000 };
    const first = await stage.connect(hello);
    await first.subscribe([[shared(stage, "a"), 2], [stage.topic("all"), 2]]);
    const publisher = await stage.connect();
    await publisher.publish(stage.topic("a"), "cut off", { qos: 2 });
    const { messageId } = await first.take("publish");
    const [second] = await members(stage, 1, "a");
    await first.drop();
    const again = await stage.connect(hello);
    const message = await again.message();
    assert.deepEqual([message.messageId, text(message), message.dup], [messageId, "cut off", true]);
    assert.deepEqual(await heardBy(stage, [again, second!]), [[], []]);
  },
);

cases.v5(
  "Where the session of that member ends, nobody else gets the message [MQTT-4.8.2-5]",
  async (stage) => {
    const hello = { clientId: `${stage.name}first`, clean: false, expirySeconds: 1000 };
    const first = await stage.connect(hello);
    await first.subscribe([[shared(stage, "a"), 2]]);
    const publisher = await stage.connect();
    await publisher.publish(stage.topic("a"), "cut off", { qos: 2 });
    const { messageId } = await first.take("publish");
    // With PUBREC the member has taken the message over.
    await first.raw.send(acknowledgement(0x50, messageId!));
    await first.take("pubrel");
    const [second] = await members(stage, 1, "a");
    await first.drop();
    const fresh = await stage.connect({ clientId: hello.clientId });
    assert.equal(fresh.connack.sessionPresent, false);
    assert.deepEqual(await heardBy(stage, [second!]), [[]]);
  },
);

cases.v5("What a member refuses goes to nobody else [MQTT-4.8.2-6]", async (stage) => {
  const first = await stage.connect();
  await first.subscribe([[shared(stage, "a"), 2]]);
  const publisher = await stage.connect();
  for (const qos of [1, 2]) {
    await publisher.publish(stage.topic("a"), `QoS ${qos}`, { qos });
    const { messageId } = await first.take("publish");
    const [second] = await members(stage, 1, "a");
    await first.raw.send(packet(qos === 1 ? 0x40 : 0x50, uint16(messageId!), 0x83));
    await first.expectSilence();
    assert.deepEqual(await heardBy(stage, [second!]), [[]]);
    await second!.disconnect();
  }
});

cases.test("Subscriptions are shared as the specification says");
