/** Bodies of MQTT state that are too large for one value, and what is left of them. */
import assert from "node:assert/strict";
import { KvCommits } from "../store/kv_commit.ts";
import { changesOf, type SingleWrite, StandingChunks } from "../store/mqtt_changes.ts";
import { Leftovers } from "../store/mqtt_listing.ts";
import { type Bearer, chunksOf } from "../store/mqtt_values.ts";
import {
  type MqttSessionRecord,
  type MqttWrite,
  publicationBytes,
  type PublicationRecord,
} from "../store/mod.ts";
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

Deno.test("Bodies of every size around the limits of a value and a commit come back as they were", () =>
  withState(async (rig) => {
    const sizes = [0, 1, 32_000, 32_767, 32_768, 61_440, 65_536, 200 << 10, 800 << 10, 3 << 20];
    const made = sizes.map((size, i) =>
      publication(`size/${i}`, bytes(size, i + 1), { properties: bytes(i * 11_000, i + 50), qos: i % 3 })
    );
    const long = publication("\u{FEFF}" + "長".repeat(21_000), bytes(40, 9));
    const all = [...made, long];
    await rig.state.write([
      [session(ANNA, { ...IDLE, will: { publication: made[7]!, expirySeconds: null, delaySeconds: 0 } })],
      ...all.map((record, seq) => [enqueue(ANNA, seq, queued(record)), retain(record.topic, record)]),
    ]);
    await rig.reopen();
    const { sessions, retained } = await rig.state.load();
    assertSame(sessions[0]!.record.will!.publication, made[7]);
    const byTopic = new Map(retained.map((record) => [record.topic, record]));
    assert.equal(byTopic.size, all.length);
    for (const record of all) assertSame(byTopic.get(record.topic), record);
    const found = await rig.state.listQueued(ANNA);
    assertSame(found.map(({ record }) => record.publication), all);
    assertSame(sessions[0]!.queued.map(({ payloadBytes }) => payloadBytes), all.map(publicationBytes));

    // With these sizes everything can be taken away again without a trace.
    await rig.state.write(sessions[0]!.queued.map(({ seq, payloadBytes }) => [
      enqueue(ANNA, seq, null, payloadBytes),
      retain(all[seq]!.topic, null, payloadBytes),
    ]));
    await rig.state.write([[session(ANNA)]]);
    assert.equal((await rig.listKeys()).length, 1);
  }));

Deno.test("A body that is a view is stored without the buffer under it", () =>
  withState(async (rig) => {
    const buffer = bytes(1 << 20);
    const record = publication("view", buffer.subarray(1_000, 1_010), { properties: buffer.subarray(5, 7) });
    await rig.state.write([[retain("view", record)]]);
    assert.equal((await rig.listKeys()).length, 1);
    const { retained } = await rig.state.load();
    assertSame(retained[0]!.payload, buffer.slice(1_000, 1_010));
    assert.equal(retained[0]!.payload.buffer.byteLength, 10);
  }));

Deno.test("A body that replaces a larger one leaves none of its chunks, in one call or in several", () =>
  withState(async (rig) => {
    const large = publication("t", bytes(3 << 20, 1), { properties: bytes(100_000, 2) });
    const middle = publication("t", bytes(200 << 10, 3));
    const small = publication("t", bytes(10, 4));
    const steps: [PublicationRecord | null, number][] = [
      [large, Math.ceil((large.payload.length + 100_001) / 61_440)],
      [middle, 4],
      [large, Math.ceil((large.payload.length + 100_001) / 61_440)],
      [small, 0],
      [middle, 4],
      [null, -1],
    ];
    const writes: MqttWrite[] = [];
    let before: PublicationRecord | null = null;
    for (const [record] of steps) {
      const replacedBytes: number = before === null ? 0 : publicationBytes(before);
      writes.push(retain("t", record, replacedBytes));
      before = record;
    }
    for (const [i, write] of writes.entries()) {
      await rig.state.write([[write]]);
      assert.equal((await rig.listKeys()).length, 1 + steps[i]![1], `after step ${i}`);
    }
    // All steps together; then all in one unit; the last one is left out so that something stands.
    for (const units of [writes.slice(0, -1).map((write) => [write]), [writes.slice(0, -1)]]) {
      await rig.state.write([...units]);
      assert.equal((await rig.listKeys()).length, 5);
      assertSame((await rig.state.load()).retained, [middle]);
      await rig.state.write([[writes.at(-1)!]]);
      assert.deepEqual(await rig.listKeys(), []);
    }
    const released = queued(null, { qos: 2, packetId: 1, isReleased: true });
    await rig.state.write([[session(ANNA), enqueue(ANNA, 1, queued(large))]]);
    await rig.state.write([[enqueue(ANNA, 1, released, publicationBytes(large))]]);
    assert.equal((await rig.listKeys()).length, 2);
    assert.deepEqual(await rig.state.listQueued(ANNA), [{ seq: 1, record: released }]);
  }));

Deno.test("A will that is replaced leaves none of its chunks", () =>
  withState(async (rig) => {
    const withWill = (payload: Uint8Array): MqttSessionRecord => ({
      ...IDLE,
      will: { publication: publication("w", payload), expirySeconds: 1, delaySeconds: 0 },
    });
    for (const [payload, keys] of [[bytes(65_535), 3], [bytes(300_000), 6], [bytes(5), 1]] as const) {
      await rig.state.write([[session(ANNA, withWill(payload))]]);
      assert.equal((await rig.listKeys()).length, keys);
    }
    await rig.state.write([[session(ANNA, withWill(bytes(65_535)))], [session(ANNA)]]);
    assert.equal((await rig.listKeys()).length, 1);
  }));

Deno.test("What a killed process left half done is removed at the next load, and nothing else", () =>
  withState(async (rig) => {
    const gone = { userId: "anna", clientId: "gone" };
    const will = { publication: publication("w", bytes(65_535)), expirySeconds: null, delaySeconds: 0 };
    for (const owner of [ANNA, gone]) {
      await rig.state.write([[
        session(owner, { ...IDLE, will }),
        { kind: "subscription", owner, topicFilter: "t", record: OPTIONS },
        { kind: "received", owner, packetId: 1, isKept: true },
        enqueue(owner, 1, queued(publication("t", bytes(200_000)))),
        enqueue(owner, 2, queued(publication("t", bytes(20)))),
      ], Array.from({ length: 100 }, (_, i) => enqueue(owner, i + 3, queued(publication("t", bytes(2)))))]);
    }
    const record = publication("t", bytes(100_000));
    await rig.state.write([[retain("t", record)], [retain("u", record)], [retain("v", record)]]);
    const whole = await rig.listKeys();
    const own = whole.filter((key) =>
      !key.includes('"gone"') && !key.includes('"u"') && !key.includes('"v"')
    );
    // A session being forgotten; chunks whose record never came, that came before, and after; one chunk missing.
    await rig.kv.delete(["mqtt_sessions", "anna", "gone"]);
    for (const key of [["retained", "never", 1], ["retained", "t", 1], ["retained", "t", 2 ** 53 - 1]]) {
      await rig.kv.set(key, bytes(100));
    }
    await rig.kv.set(["mqtt_queue", "anna", "a", 2, 5], bytes(100));
    await rig.kv.set(["mqtt_sessions", "anna", "a", 5], bytes(100));
    await rig.kv.delete(["retained", "u"]);
    const missing = JSON.parse(whole.filter((key) => key.startsWith('["retained","v",')).at(-1)!);
    await rig.kv.delete(missing);

    const { sessions, retained } = await rig.state.load();
    assert.deepEqual(sessions.map(({ owner }) => owner), [ANNA]);
    assert.equal(sessions[0]!.queued.length, 102);
    assertSame(sessions[0]!.record.will, will);
    assertSame(retained, [record]);
    assert.deepEqual(await rig.listKeys(), own);
  }));

Deno.test("Leftovers stay when another node has written what they belong to since they were seen", () =>
  withState(async (rig) => {
    const part = ["mqtt_received", "anna", "a", 1];
    const note = () => {
      const leftovers = new Leftovers();
      leftovers.note({ key: ["mqtt_sessions", "anna", "a"], versionstamp: null }, [part]);
      return leftovers;
    };
    const seen = note();
    await rig.state.write([[session(ANNA), { kind: "received", owner: ANNA, packetId: 1, isKept: true }]]);
    await seen.remove(rig.kv);
    assert.equal((await rig.listKeys()).length, 2);
    await rig.kv.delete(["mqtt_sessions", "anna", "a"]);
    await note().remove(rig.kv);
    assert.deepEqual(await rig.listKeys(), []);
  }));

Deno.test("A large body that replaces another is the old or the new one wherever a process dies, never a mixture", () =>
  withState(async (rig) => {
    const before = publication("t", bytes(200_000, 1));
    const after = publication("t", bytes(250_000, 2));
    const write: SingleWrite = {
      kind: "retained",
      topic: "t",
      record: after,
      replacedBytes: publicationBytes(before),
    };
    const seen: string[] = [];
    // Five new chunks, the record, four old chunks.
    for (let died = 1; died <= 5 + 1 + 4; died++) {
      await rig.state.write([
        [retain("t", null, publicationBytes(after))],
        [retain("t", before)],
      ]);
      const standing = new StandingChunks();
      const { key, value } = await rig.kv.get<Bearer>(["retained", "t"]);
      standing.set(key, chunksOf(value!));
      // Each change in a commit of its own, up to the one after which the process died.
      for (const change of changesOf(write, standing).slice(0, died)) {
        const commits = new KvCommits(rig.kv);
        await commits.add([change]);
        await commits.flush();
      }
      const { retained } = await rig.state.load();
      assert.equal(retained.length, 1);
      const isNew = retained[0]!.payload.length === after.payload.length;
      assertSame(retained[0], isNew ? after : before);
      seen.push(isNew ? "new" : "old");
      assert.equal((await rig.listKeys()).length, isNew ? 6 : 5, "load leaves nothing of the other");
    }
    assert.deepEqual(seen, [...Array(5).fill("old"), ...Array(5).fill("new")]);
  }));
