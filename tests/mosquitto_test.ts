/** The command line clients of Eclipse Mosquitto, in C, as programs of their own. */
import assert from "node:assert/strict";
import { createLogin } from "./admin.ts";
import { addressArgs, doors, isRun, run, Subscriber } from "./mosquitto.ts";
import type { Door } from "./mqtt_client.ts";
import { startServer, type TestServer } from "./server.ts";

const VERSIONS = [["mqttv311", "3.1.1"], ["mqttv5", "5.0"]] as const;

interface Options {
  readonly server: TestServer;
  readonly door: Door;
  readonly version: string;
  readonly userId: string;
  readonly password: string;
}

function argsOf({ server, door, version, userId, password }: Options): string[] {
  return [
    ...addressArgs(server, door),
    ...["-V", version, "-i", `client-${userId}`, "-u", userId, "-P", password],
  ];
}

function hello(clientMessageId: string, target = "bob"): string {
  return JSON.stringify({
    requestId: clientMessageId,
    clientMessageId,
    conversation: { type: 0, target, line: 0 },
    content: { type: 1, searchableContent: "hello" },
  });
}

for (const door of doors) {
  for (const [version, name] of VERSIONS) {
    Deno.test({
      name: `mosquitto_pub and mosquitto_sub send and hear at every QoS, over ${door} in ${name}`,
      ignore: !isRun,
      async fn() {
        await using server = await startServer();
        const alice = {
          server,
          door,
          version,
          userId: "alice",
          password: await createLogin(server, "alice"),
        };
        const bob = { server, door, version, userId: "bob", password: await createLogin(server, "bob") };
        for (const qos of ["0", "1", "2"]) {
          await using subscriber = new Subscriber([...argsOf(bob), "-t", "me/#", "-q", qos]);
          assert.match(await subscriber.line(/Subscribed/) ?? "ended", new RegExp(`: ${qos}`));
          const sent = await run("mosquitto_pub", [
            ...argsOf(alice),
            ...["-t", "im/message.send", "-q", qos, "-m", hello(`m${qos}`)],
          ]);
          assert.equal(sent.code, 0, sent.stderr);
          const line = await subscriber.line(/^heard/) ?? "";
          assert.ok(line.startsWith(`heard me/inbox ${qos} {"type":"message"`), line);
          const event = JSON.parse(line.slice(line.indexOf("{")));
          assert.equal(event.message.clientMessageId, `m${qos}`);
          assert.equal(event.message.from, "alice");
        }
      },
    });

    Deno.test({
      name: `mosquitto_pub is told why it is refused, over ${door} in ${name}`,
      ignore: !isRun,
      async fn() {
        await using server = await startServer();
        const password = await createLogin(server, "alice");
        const alice = { server, door, version, userId: "alice", password };
        const publish = ["-t", "im/sync", "-m", "{}", "-q", "1"];
        const wrong = await run("mosquitto_pub", [...argsOf({ ...alice, password: "nothing" }), ...publish]);
        assert.equal(wrong.code, name === "5.0" ? 0x86 : 4, wrong.stderr);
        const will = ["--will-topic", "im/x", "--will-payload", "gone"];
        const willed = await run("mosquitto_pub", [...argsOf(alice), ...publish, ...will]);
        assert.equal(willed.code, name === "5.0" ? 0x87 : 5, willed.stderr);
        const lasting = await run("mosquitto_pub", [...argsOf(alice), ...publish, "-c"]);
        assert.equal(lasting.code, 0, `a session that was to last is no reason: ${lasting.stderr}`);
      },
    });

    Deno.test({
      name: `mosquitto_sub is taken over by the same client, over ${door} in ${name} 3.1.1 [MQTT-3.1.4-2]`,
      ignore: !isRun,
      async fn() {
        await using server = await startServer();
        const password = await createLogin(server, "alice");
        const args = [...argsOf({ server, door, version, userId: "alice", password }), "-t", "me/#"];
        await using older = new Subscriber(args);
        assert.ok(await older.line(/Subscribed/));
        await using newer = new Subscriber(args);
        assert.ok(await newer.line(/Subscribed/));
        if (name === "5.0") {
          assert.match(await older.line(/DISCONNECT/) ?? "ended", /Received DISCONNECT \(142\)/);
          assert.equal(await older.line(/Subscribed/), null, "it knows that it has been replaced");
        } else {
          // Nobody told it: it comes back, and takes over in its turn.
          assert.ok(await older.line(/Subscribed/));
        }
      },
    });
  }

  Deno.test({
    name: `mosquitto_rr makes a request and gets its answer, over ${door}`,
    ignore: !isRun,
    async fn() {
      await using server = await startServer();
      const password = await createLogin(server, "alice");
      const args = argsOf({ server, door, version: "mqttv5", userId: "alice", password });
      const asked = ["-t", "im/sync", "-e", "me/reply", "-m", '{"requestId":"r1"}', "-q", "1", "-W", "10"];
      const { code, stdout, stderr } = await run("mosquitto_rr", [...args, ...asked]);
      assert.equal(code, 0, stderr);
      const reply = JSON.parse(stdout);
      assert.deepEqual([reply.requestId, reply.command, reply.code], ["r1", "sync", 0]);
    },
  });
}
