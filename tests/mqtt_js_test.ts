/** MQTT.js, unmodified, through both doors and in both versions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IClientOptions } from "mqtt";
import { createLogin } from "./admin.ts";
import { DOORS, within } from "./mqtt_client.ts";
import { JsClient } from "./mqtt_js_client.ts";
import { tagsOf } from "./mqtt_statement.ts";
import { startServer } from "./server.ts";

const VERSIONS = [[4, "3.1.1"], [5, "5.0"]] as const;

function hello(clientMessageId: string, target = "bob") {
  return {
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target, line: 0 },
    content: { type: 1, searchableContent: `hello ${clientMessageId}` },
  };
}

for (const door of DOORS) {
  for (const [level, version] of VERSIONS) {
    Deno.test(`MQTT.js sends at every QoS and hears reply and event, over ${door} in ${version}`, async () => {
      await using server = await startServer();
      for (const qos of [0, 1, 2] as const) {
        await using bob = await JsClient.login(server, door, level, "bob", qos);
        await using alice = await JsClient.login(server, door, level, "alice", qos);
        await alice.mqtt.publishAsync("im/message.send", JSON.stringify(hello(`m${qos}`)), { qos });
        const reply = await alice.next();
        assert.equal(reply.topic, "me/reply");
        assert.equal(reply.packet.qos, qos);
        assert.deepEqual([reply.body.requestId, reply.body.command, reply.body.code], [
          `m${qos}`,
          "message.send",
          0,
        ]);
        assert.equal(reply.body.result.seq, String(qos + 1));
        const event = await bob.next();
        assert.equal(event.topic, "me/inbox");
        assert.equal(event.packet.qos, qos);
        assert.deepEqual([event.body.type, event.body.seq, event.body.kind], [
          "message",
          String(qos + 1),
          "new",
        ]);
        assert.equal(event.body.message.messageId, reply.body.result.messageId);
        assert.equal(event.body.message.content.searchableContent, `hello m${qos}`);
        assert.deepEqual(event.body.message.conversation, { type: 0, target: "alice", line: 0 });
      }
    });

    Deno.test(`MQTT.js is refused with the right code, over ${door} in ${version}`, async () => {
      await using server = await startServer();
      const password = await createLogin(server, "alice");
      const rows: readonly [name: string, options: IClientOptions, old: number, reason: number][] = [
        ["a wrong token", { password: "nothing" }, 4, 0x86],
        ["another's name", { username: "bob" }, 4, 0x86],
        ["another client", { clientId: "client-2" }, 4, 0x86],
        ["a will", { will: { topic: "im/x", payload: Buffer.from("x"), qos: 0, retain: false } }, 5, 0x87],
      ];
      for (const [name, options, old, reason] of rows) {
        const connecting = JsClient.connect(server, door, {
          protocolVersion: level,
          clientId: "client-alice",
          username: "alice",
          password,
          ...options,
        });
        await assert.rejects(connecting, { code: level === 4 ? old : reason }, name);
      }
    });

    Deno.test(`MQTT.js is taken over by the same client, over ${door} in ${version}${tagsOf(level, "[MQTT-3.1.4-3] 3.1.1 [MQTT-3.1.4-2]")}`, async () => {
      await using server = await startServer();
      const options: IClientOptions = {
        protocolVersion: level,
        clientId: "client-alice",
        username: "alice",
        password: await createLogin(server, "alice"),
      };
      await using older = await JsClient.connect(server, door, options);
      const told = Promise.withResolvers<number | undefined>();
      older.mqtt.on("disconnect", ({ reasonCode }) => told.resolve(reasonCode));
      const closed = new Promise<void>((resolve) => older.mqtt.once("close", () => resolve()));
      await using newer = await JsClient.connect(server, door, options);
      if (level === 5) assert.equal(await within("the DISCONNECT", told.promise), 0x8e);
      await within("the close", closed);
      assert.equal(newer.mqtt.connected, true);
    });
  }

  Deno.test(`MQTT.js uses request and response of 5.0, over ${door}`, async () => {
    await using server = await startServer();
    await using alice = await JsClient.login(server, door, 5, "alice");
    const correlationData = Buffer.from([0, 1, 0xfe, 0xff]);
    const ask = (responseTopic: string) =>
      alice.mqtt.publishAsync("im/sync", "{}", { qos: 1, properties: { responseTopic, correlationData } });
    for (
      const [responseTopic, answered] of [["me/reply/tab-7", "me/reply/tab-7"], ["elsewhere", "me/reply"]]
    ) {
      await ask(responseTopic!);
      const { topic, body, packet } = await alice.next();
      assert.equal(topic, answered);
      assert.equal(body.code, 0);
      assert.deepEqual(packet.properties?.correlationData, correlationData);
    }
  });

  Deno.test(`MQTT.js of 5.0 learns why a request is refused from its PUBACK and PUBREC, over ${door}`, async () => {
    await using server = await startServer();
    await using alice = await JsClient.login(server, door, 5, "alice");
    for (const qos of [1, 2] as const) {
      const sending = alice.mqtt.publishAsync("im/message.send", JSON.stringify(hello(`m${qos}`, "nobody")), {
        qos,
      });
      await assert.rejects(sending, { code: 0x83 });
      const { body } = await alice.next();
      assert.deepEqual([body.code, body.error], [253, "user/not-found"]);
    }
    await assert.rejects(alice.mqtt.publishAsync("me/inbox", "{}", { qos: 1 }), { code: 0x87 });
  });

  Deno.test(`MQTT.js comes back by itself after its connection is lost, over ${door}`, async () => {
    await using server = await startServer();
    const password = await createLogin(server, "alice");
    await using alice = await JsClient.connect(server, door, {
      protocolVersion: 5,
      clientId: "client-alice",
      username: "alice",
      password,
      reconnectPeriod: 10,
    });
    await alice.mqtt.subscribeAsync("me/#", { qos: 1 });
    const again = new Promise<void>((resolve) => alice.mqtt.once("connect", () => resolve()));
    alice.mqtt.stream.destroy();
    await within("the second CONNACK", again);
    await alice.mqtt.publishAsync("im/sync", "{}", { qos: 1 });
    assert.equal((await alice.next()).body.code, 0, "its subscription was made again");
  });
}
