import assert from "node:assert/strict";
import { lockDataDir } from "../store/data_dir.ts";
import { openSecret, openSecrets } from "../store/secrets.ts";
import { StartError } from "../store/start_error.ts";

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "hearth-secrets-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("First start makes secrets only their owner can read, and the next start finds them", async () => {
  await withFolder(async (folder) => {
    const made = await openSecrets(folder);
    assert.match(made.adminSecret, /^[\w-]{43}$/);
    assert.notEqual(made.adminSecret, made.urlSecret);
    for (const name of ["admin_secret", "url_secret"]) {
      assert.equal((await Deno.stat(`${folder}/${name}`)).mode! & 0o777, 0o600);
    }
    assert.deepEqual(await openSecrets(folder), made);
    assert.equal(Array.from(Deno.readDirSync(folder)).length, 2);
  });
});

Deno.test("A given admin secret is used and no file is made for it", async () => {
  await withFolder(async (folder) => {
    assert.equal((await openSecrets(folder, { adminSecret: "given" })).adminSecret, "given");
    await assert.rejects(Deno.stat(`${folder}/admin_secret`), Deno.errors.NotFound);
  });
});

Deno.test("Starts at the same moment agree on one secret", async () => {
  await withFolder(async (folder) => {
    const secrets = await Promise.all(Array.from({ length: 16 }, () => openSecret(`${folder}/secret`)));
    assert.equal(new Set(secrets).size, 1);
  });
});

Deno.test("A secret file others could read is closed, an empty one is refused", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/secret`, "long-enough-for-a-secret\n", { mode: 0o644 });
    await openSecret(`${folder}/secret`);
    assert.equal((await Deno.stat(`${folder}/secret`)).mode! & 0o777, 0o600);
    await Deno.writeTextFile(`${folder}/secret`, "");
    await assert.rejects(openSecret(`${folder}/secret`), StartError);
  });
});

Deno.test("A data folder belongs to one program at a time", async () => {
  await withFolder(async (folder) => {
    const lock = await lockDataDir(`${folder}/data`);
    await assert.rejects(
      lockDataDir(`${folder}/data`),
      (error) => error instanceof StartError && error.message.includes(`process ${Deno.pid}`),
    );
    lock.release();
    (await lockDataDir(`${folder}/data`)).release();
  });
});
