/** MQTT state in the key-value store: what comes back, in which order, and what is forgotten. */
import assert from "node:assert/strict";
import { type KvChange, KvCommits } from "../store/kv_commit.ts";
import { type MqttWrite, openKv, publicationBytes } from "../store/mod.ts";
import { quietLog } from "./database.ts";
import {
  ANNA,
  assertSame,
  bytes,
  enqueue,
  IDLE,
  OPTIONS,
  publication,
  queued,
  retain,
  session,
  withState,
} from "./mqtt_state_rig.ts";

Deno.test("MQTT state comes back whole after a restart, each session its own", () =>
  withState(async (rig) => {
    const anonymous = { userId: "", clientId: "ab" };
    const will = {
      publication: publication("last/word", bytes(9), { qos: 2, retain: true, properties: bytes(5, 2) }),
      expirySeconds: 60,
      delaySeconds: 5,
    };
    const shown = {
      qos: 2,
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 2,
      subscriptionId: 268_435_455,
    };
    const first = publication("a/b", bytes(3), { expiresAtMs: 1_900_000_000_000, properties: bytes(7, 3) });
    const second = queued(publication("温度/室", bytes(0), { qos: 2 }), {
      qos: 2,
      packetId: 65_535,
      retain: true,
      subscriptionIds: [1, 268_435_455],
    });
    const released = queued(null, { qos: 2, packetId: 7, isReleased: true });
    await rig.state.write([[
      session(ANNA, { expirySeconds: 4_294_967_295, disconnectedAtMs: null, will }),
      { kind: "subscription", owner: ANNA, topicFilter: "a/+/#", record: shown },
      { kind: "subscription", owner: ANNA, topicFilter: "gone", record: OPTIONS },
      enqueue(ANNA, 10, queued(first)),
      enqueue(ANNA, 9, second),
      enqueue(ANNA, 11, released),
      { kind: "received", owner: ANNA, packetId: 3, isKept: true },
      { kind: "received", owner: ANNA, packetId: 4, isKept: true },
    ], [
      session(anonymous),
      { kind: "subscription", owner: anonymous, topicFilter: "$share/g/x", record: OPTIONS },
      { kind: "subscription", owner: ANNA, topicFilter: "gone", record: null },
      { kind: "received", owner: ANNA, packetId: 4, isKept: false },
      retain("weather", publication("weather", bytes(30), { retain: true })),
      retain("past", publication("past", bytes(30))),
    ], [retain("past", null, 45)]]);
    await rig.reopen();

    const { sessions, retained } = await rig.state.load();
    assert.deepEqual(retained, [publication("weather", bytes(30), { retain: true })]);
    assert.deepEqual(sessions, [{
      owner: anonymous,
      record: IDLE,
      subscriptions: new Map([["$share/g/x", OPTIONS]]),
      queued: [],
      received: [],
    }, {
      owner: ANNA,
      record: { expirySeconds: 4_294_967_295, disconnectedAtMs: null, will },
      subscriptions: new Map([["a/+/#", shown]]),
      queued: [
        {
          seq: 9,
          qos: 2,
          packetId: 65_535,
          isReleased: false,
          retain: true,
          subscriptionIds: [1, 268_435_455],
          expiresAtMs: null,
          payloadBytes: publicationBytes(second.publication!),
        },
        {
          seq: 10,
          qos: 1,
          packetId: 0,
          isReleased: false,
          retain: false,
          subscriptionIds: [],
          expiresAtMs: 1_900_000_000_000,
          payloadBytes: publicationBytes(first),
        },
        {
          seq: 11,
          qos: 2,
          packetId: 7,
          isReleased: true,
          retain: false,
          subscriptionIds: [],
          expiresAtMs: null,
          payloadBytes: 0,
        },
      ],
      received: [3],
    }]);
    assert.deepEqual(await rig.state.listQueued(ANNA), [
      { seq: 9, record: second },
      { seq: 10, record: queued(first) },
      { seq: 11, record: released },
    ]);
    assert.deepEqual(await rig.state.listQueued(anonymous), []);
  }));

Deno.test("MQTT state is part of the key-value store that the server opens", () =>
  withState(async (rig) => {
    await rig.state.write([[session(ANNA)]]);
    rig.kv.close();
    const kv = await openKv({ kvPath: rig.path, kvUrl: null, log: quietLog() });
    try {
      assert.deepEqual((await kv.mqtt.load()).sessions.map(({ owner }) => owner), [ANNA]);
    } finally {
      kv.close();
      rig.kv = await Deno.openKv(rig.path);
    }
  }));

Deno.test("Two thousand units of one call are all stored, in order", () =>
  withState(async (rig) => {
    const owners = Array.from({ length: 20 }, (_, i) => ({ userId: `user-${i}`, clientId: "phone" }));
    const units = Array.from({ length: 2_000 }, (_, i): MqttWrite[] => {
      const owner = owners[i % owners.length]!;
      const record = queued(publication(`t/${i}`, bytes(100 + i % 50, i)));
      return [session(owner), enqueue(owner, i, record), retain("last", publication("last", bytes(8, i)))];
    });
    await rig.state.write(units);
    const { sessions, retained } = await rig.state.load();
    assert.equal(sessions.length, 20);
    assertSame(retained, [publication("last", bytes(8, 1_999))]);
    for (const [i, owner] of owners.entries()) {
      const found = await rig.state.listQueued(owner);
      assert.deepEqual(found.map(({ seq }) => seq), Array.from({ length: 100 }, (_, k) => k * 20 + i));
      assertSame(found[7]!.record.publication!.payload, bytes(100 + (140 + i) % 50, 140 + i));
    }
  }));

Deno.test("A unit of three thousand writes is stored although no commit takes it", () =>
  withState(async (rig) => {
    const unit = Array.from(
      { length: 3_000 },
      (_, i) => enqueue(ANNA, i, queued(publication("t", bytes(4, i)))),
    );
    await rig.state.write([[session(ANNA)], [...unit, enqueue(ANNA, 0, null, 7)], [session(ANNA)]]);
    const found = await rig.state.listQueued(ANNA);
    assert.deepEqual(found.map(({ seq }) => seq), Array.from({ length: 2_999 }, (_, i) => i + 1));
  }));

Deno.test("Units that fit into one commit share a version, and no unit lies in two", () =>
  withState(async (rig) => {
    const units = Array.from({ length: 400 }, (_, i) => [
      session({ userId: "u", clientId: String(i) }),
      enqueue({ userId: "u", clientId: String(i) }, 1, queued(publication("t", bytes(3_000, i)))),
      enqueue({ userId: "u", clientId: String(i) }, 2, queued(publication("t", bytes(3_000, i)))),
    ]);
    await rig.state.write(units);
    const versions = new Map<string, Set<string>>();
    for await (const { key, versionstamp } of rig.kv.list({ prefix: [] })) {
      const clientId = String(key[2]);
      versions.set(clientId, (versions.get(clientId) ?? new Set()).add(versionstamp));
    }
    assert.equal(versions.size, 400);
    assert.ok([...versions.values()].every((seen) => seen.size === 1), "each unit has one version");
    const commits = new Set([...versions.values()].flatMap((seen) => [...seen]));
    assert.ok(commits.size >= 3 && commits.size <= 8, `2.4 MB took ${commits.size} commits`);
  }));

Deno.test("Commits that the store refuses as too large are cut between units first", () =>
  withState(async (rig) => {
    const half = (unit: number, i: number): KvChange => ({
      key: ["x", unit, i],
      // Far more than it says.
      set: { value: bytes(60_000), bytes: 1 },
    });
    const commits = new KvCommits(rig.kv);
    for (let unit = 0; unit < 5; unit++) {
      // The last unit alone is too large.
      const changes = Array.from({ length: unit === 4 ? 20 : 6 }, (_, i) => half(unit, i));
      await commits.add(changes);
    }
    await commits.flush();
    const versions = new Map<number, Set<string>>();
    let count = 0;
    for await (const { key, versionstamp } of rig.kv.list({ prefix: ["x"] })) {
      const unit = Number(key[1]);
      versions.set(unit, (versions.get(unit) ?? new Set()).add(versionstamp));
      count++;
    }
    assert.equal(count, 44);
    assert.deepEqual([0, 1, 2, 3].map((unit) => versions.get(unit)!.size), [1, 1, 1, 1]);
    assert.equal(versions.get(4)!.size, 2);
  }));

Deno.test("A change that no commit takes is refused, what came before it is stored, and the next call works", () =>
  withState(async (rig) => {
    const tooMuch = { ...OPTIONS, text: "x".repeat(70_000) };
    await assert.rejects(
      rig.state.write([
        [session(ANNA)],
        [{ kind: "subscription", owner: ANNA, topicFilter: "t", record: tooMuch }],
      ]),
      /^TypeError: Value too large/,
    );
    await rig.state.write([[retain("t", publication("t", bytes(1)))]]);
    const { sessions, retained } = await rig.state.load();
    assert.equal(sessions[0]!.subscriptions.size, 0);
    assert.equal(retained.length, 1);
  }));

Deno.test("A forgotten session is gone with all its parts, and its neighbours are untouched", () =>
  withState(async (rig) => {
    const neighbours = [{ userId: "anna", clientId: "ab" }, { userId: "", clientId: "a" }];
    for (const owner of [ANNA, ...neighbours]) {
      await rig.state.write([[
        session(owner, {
          ...IDLE,
          will: { publication: publication("w", bytes(65_535)), expirySeconds: null, delaySeconds: 0 },
        }),
        { kind: "subscription", owner, topicFilter: "t", record: OPTIONS },
        { kind: "received", owner, packetId: 1, isKept: true },
        enqueue(owner, 1, queued(publication("t", bytes(200_000)))),
      ], Array.from({ length: 1_500 }, (_, i) => enqueue(owner, i + 2, queued(publication("t", bytes(2)))))]);
    }
    const before = (await rig.listKeys()).length;
    await rig.state.write([[{ kind: "forget", owner: ANNA }]]);
    assert.equal((await rig.listKeys()).length, before / 3 * 2);
    const { sessions } = await rig.state.load();
    assert.deepEqual(sessions.map(({ owner }) => owner), neighbours.toReversed());
    assert.ok(sessions.every((found) => found.queued.length === 1_501 && found.received.length === 1));
    await rig.state.write([[{ kind: "forget", owner: { userId: "nobody", clientId: "x" } }]]);
  }));

Deno.test("What is written before a session is forgotten goes, what is written after it stays", () =>
  withState(async (rig) => {
    const body = (seed: number, size = 5) => queued(publication("t", bytes(size, seed)));
    const filter = (topicFilter: string): MqttWrite => ({
      kind: "subscription",
      owner: ANNA,
      topicFilter,
      record: OPTIONS,
    });
    await rig.state.write([[session(ANNA), filter("oldest"), enqueue(ANNA, 1, body(1, 100_000))]]);
    await rig.state.write([
      [filter("old"), enqueue(ANNA, 2, body(2))],
      [
        filter("also old"),
        retain("kept", publication("kept", bytes(1))),
        { kind: "forget", owner: ANNA },
        session(ANNA, { ...IDLE, expirySeconds: 1 }),
        filter("new"),
      ],
      [enqueue(ANNA, 1, body(3, 50_000))],
    ]);
    const { sessions, retained } = await rig.state.load();
    assert.equal(retained.length, 1);
    assert.equal(sessions[0]!.record.expirySeconds, 1);
    assert.deepEqual([...sessions[0]!.subscriptions.keys()], ["new"]);
    assertSame(await rig.state.listQueued(ANNA), [{ seq: 1, record: body(3, 50_000) }]);
    assert.equal((await rig.listKeys("mqtt_queue")).length, 2);
    await rig.state.write([[{ kind: "forget", owner: ANNA }, session(ANNA), {
      kind: "forget",
      owner: ANNA,
    }]]);
    assert.deepEqual(await rig.listKeys(), ['["retained","kept"]']);
  }));

Deno.test("Calls take effect in the order they are made, without waiting for each other's end", () =>
  withState(async (rig) => {
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 50; i++) {
      const size = i % 3 === 0 ? 100_000 : 5;
      const before = (i + 2) % 3 === 0 ? 100_000 : 5;
      const replacedBytes = i === 0 ? 0 : publicationBytes(publication("t", bytes(before)));
      calls.push(rig.state.write([[retain("t", publication("t", bytes(size, i)), replacedBytes)]]));
      if (i === 24) {
        calls.push(
          rig.state.load().then(({ retained }) => assertSame(retained[0]!.payload, bytes(100_000, i))),
        );
      }
    }
    await Promise.all(calls);
    assertSame((await rig.state.load()).retained[0]!.payload, bytes(5, 49));
    assert.equal((await rig.listKeys()).length, 1);
  }));

Deno.test("Names that are too long for a key are kept whole and apart", () =>
  withState(async (rig) => {
    const long = { userId: "u".repeat(64), clientId: "c".repeat(3_000) };
    const longer = { ...long, clientId: long.clientId + "c" };
    const topic = "é".repeat(2_000);
    for (const [i, owner] of [long, longer].entries()) {
      await rig.state.write([[
        session(owner),
        { kind: "subscription", owner, topicFilter: `${topic}/${i}`, record: OPTIONS },
        enqueue(owner, 1, queued(publication(`${topic}/${i}`, bytes(100_000, i)))),
        retain(`${topic}/${i}`, publication(`${topic}/${i}`, bytes(2, i))),
      ]]);
    }
    const { sessions, retained } = await rig.state.load();
    assert.equal(retained.length, 2);
    const found = sessions.map(({ owner, subscriptions, queued }) => ({
      clientId: owner.clientId.length,
      filters: [...subscriptions.keys()],
      queued: queued.length,
    })).sort((a, b) => a.clientId - b.clientId);
    assert.deepEqual(found, [
      { clientId: 3_000, filters: [`${topic}/0`], queued: 1 },
      { clientId: 3_001, filters: [`${topic}/1`], queued: 1 },
    ]);
    await rig.state.write([[{ kind: "forget", owner: long }]]);
    const left = (await rig.state.load()).sessions;
    assert.deepEqual(left.map(({ owner }) => owner), [longer]);
    assert.equal((await rig.state.listQueued(longer)).length, 1);
  }));

Deno.test("What was written is there after kill -9", async () => {
  const folder = await Deno.makeTempDir({ prefix: "hearth-mqtt-state-" });
  const path = `${folder}/kv.sqlite3`;
  const program = `
    import { openKv } from ${JSON.stringify(new URL("../store/kv.ts", import.meta.url).href)};
    import { createLog } from ${JSON.stringify(new URL("../log.ts", import.meta.url).href)};
    const log = createLog({ level: "error", format: "text" });
    const kv = await openKv({ kvPath: Deno.args[0], kvUrl: null, log });
    const owner = { userId: "anna", clientId: "a" };
    const record = { expirySeconds: 60, disconnectedAtMs: null, will: null };
    await kv.mqtt.write([[{ kind: "session", owner, record }]]);
    for (let seq = 1;; seq++) {
      const publication = { topic: "t", payload: new Uint8Array(seq % 5 === 0 ? 100_000 : 20).fill(seq), qos: 2,
        retain: false, properties: new Uint8Array(), expiresAtMs: null };
      await kv.mqtt.write([[{ kind: "queued", owner, seq, replacedBytes: 0, record: { qos: 2, packetId: seq,
        isReleased: false, retain: false, subscriptionIds: [], publication } }]]);
      Deno.stdout.writeSync(new TextEncoder().encode(seq + "\\n"));
    }`;
  await Deno.writeTextFile(`${folder}/program.ts`, program);
  try {
    for (const enough of [3, 40]) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", "--unstable-kv", `${folder}/program.ts`, path],
        stdout: "piped",
      }).spawn();
      let said = "";
      let isKilled = false;
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        said += text;
        if (isKilled || said.split("\n").length <= enough) continue;
        // It writes on meanwhile: it dies in the middle of whatever it does.
        child.kill("SIGKILL");
        isKilled = true;
      }
      assert.equal((await child.status).signal, "SIGKILL");
      const last = Number(said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1));
      assert.ok(last >= enough);
      const kv = await openKv({ kvPath: path, kvUrl: null, log: quietLog() });
      try {
        assert.equal((await kv.mqtt.load()).sessions.length, 1);
        const found = await kv.mqtt.listQueued(ANNA);
        assert.ok(found.length === last || found.length === last + 1, `${found.length} of ${last}`);
        for (const [i, { seq, record }] of found.entries()) {
          assert.equal(seq, i + 1);
          const size = seq % 5 === 0 ? 100_000 : 20;
          assertSame(record.publication!.payload, new Uint8Array(size).fill(seq));
        }
        await kv.mqtt.write([[{ kind: "forget", owner: ANNA }]]);
      } finally {
        kv.close();
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
