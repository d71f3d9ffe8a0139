import assert from "node:assert/strict";
import { HttpClient } from "../sdk/mod.ts";
import { startServer, type TestServer } from "./server.ts";

interface Ended {
  readonly code: number;
  readonly text: string;
}

/** Runs a script as its task does, with nobody at the terminal. */
async function runScript(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(`../scripts/${name}`, import.meta.url).pathname, ...args],
    env: { LANG: "C", LC_ALL: "C", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

const simulatePhone = (...args: readonly string[]) => runScript("simulate_phone.ts", args);

/** A page that shows a QR and waits. */
async function showQr(server: TestServer, clientId: string) {
  const page = new HttpClient({ origin: server.url });
  const session = await page.pcSession({ clientId, platform: 5, device_name: "a page" });
  return {
    ...session,
    url: `${server.url}/m/scan?token=${session.token}`,
    poll: () => page.sessionLogin(session.token, { pollSecret: session.pollSecret! }),
  };
}

Deno.test("The simulated phone logs a page in with the number that the page shows", async () => {
  await using server = await startServer();
  const page = await showQr(server, "page-1");
  const phone = await simulatePhone(page.url, "--mobile", "13800000000", "--number", page.number);
  assert.equal(phone.code, 0, phone.text);
  assert.match(phone.text, /this machine/);
  const polled = await page.poll();
  assert.equal(polled.state, "confirmed");
  const again = await simulatePhone(
    page.url,
    "--mobile",
    "13800000000",
    "--number",
    page.number,
    "--lang=zh",
  );
  assert.equal(again.code, 1);
  assert.match(again.text, /二维码已失效/);
});

Deno.test("The simulated phone tells the page when it refuses, or does not know the number", async () => {
  await using server = await startServer();
  const origin = ["--server", server.url, "--mobile", "13800000000"];
  const cases: readonly (readonly [(number: string) => readonly string[], number])[] = [
    [() => ["--cancel"], 0],
    [(number) => ["--number", number === "42" ? "43" : "42"], 1],
    [() => [], 2],
  ];
  for (const [options, code] of cases) {
    const page = await showQr(server, "page-1");
    const phone = await simulatePhone(page.token, ...origin, ...options(page.number));
    assert.equal(phone.code, code, phone.text);
    assert.equal((await page.poll()).state, "cancelled");
  }
});

Deno.test("The simulated phone says what is missing, and that there is no server", async () => {
  assert.equal((await simulatePhone()).code, 2);
  assert.equal((await simulatePhone("a-token")).code, 2);
  assert.equal((await simulatePhone("a-token", "--mobile", "1", "--number", "7")).code, 2);
  assert.equal((await simulatePhone("--help")).code, 0);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const alone = await simulatePhone(
    "a-token",
    "--mobile",
    "13800000000",
    "--server",
    `http://127.0.0.1:${port}`,
  );
  assert.equal(alone.code, 3, alone.text);
});

Deno.test("Seeding twice adds nothing, and its people can log in", async () => {
  await using server = await startServer();
  const seed = () => runScript("seed.ts", [server.url], { ADMIN_SECRET: server.adminSecret });
  const first = await seed();
  assert.equal(first.code, 0, first.text);
  const second = await seed();
  assert.equal(second.code, 0, second.text);
  assert.match(second.text, /, 0 new messages\./);

  const http = new HttpClient({ origin: server.url });
  const { devCode } = await http.sendCode("13800000001");
  const login = await http.loginByCode({
    mobile: "13800000001",
    code: devCode!,
    clientId: "phone-1",
    platform: 2,
  });
  assert.equal(login.register, false);
  const { conversations } = await http.request("conversation.list", {});
  assert.equal(conversations.length, 5);
  const unread = conversations.reduce((sum, { unread }) => sum + unread.count, 0);
  assert.equal(unread, 8);
});

Deno.test("Seeding leaves every server alone that is not on this machine", async () => {
  const refused = await runScript("seed.ts", ["http://192.0.2.1:8000"], {
    ADMIN_SECRET: "a secret of the tests alone",
  });
  assert.equal(refused.code, 1);
  assert.match(refused.text, /left alone/);
});
