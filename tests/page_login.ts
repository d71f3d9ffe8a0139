/** Tests of the page: logging in and out, and the phone's side of a QR login. */
import assert from "node:assert/strict";
import readQr from "jsqr";
import type { Page } from "playwright-core";
import { Program } from "./page_program.ts";
import {
  bubble,
  logInQuietly,
  mark,
  openChatWith,
  openPanel,
  type Person,
  PHONE,
  type Rig,
  row,
  sendQuietly,
  textsOn,
  until,
  type Visitor,
  write,
} from "./page_rig.ts";

/** Reads the QR picture as a camera does: from what is on the screen. */
async function readQrOn(page: Page): Promise<string> {
  await page.locator(".qr-waiting .qr-picture").waitFor();
  const picture = await page.locator(".qr-frame").screenshot();
  // Chromium unpacks the PNG; base64 is what passes quickly in and out of it.
  const { width, height, pixels } = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.fromBase64(base64);
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d")!;
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return { width, height, pixels: new Uint8Array(data.buffer).toBase64() };
  }, picture.toString("base64"));
  // The package is CommonJS, hence the second `default`.
  const found = readQr.default(new Uint8ClampedArray(Uint8Array.fromBase64(pixels)), width, height);
  assert.ok(found, "the QR code on the screen can be read");
  return found.data;
}

function numberOn(page: Page): Promise<string> {
  return page.locator(".qr-number output").innerText();
}

/** Logs in through the form, with the code that a development server shows. */
async function logInByCode(page: Page, mobile: string): Promise<void> {
  await page.getByRole("tab", { name: "Phone number" }).click();
  await page.getByRole("textbox", { name: "Phone number" }).fill(mobile);
  await page.getByRole("button", { name: "Send code" }).click();
  const code = await page.locator(".dev-code").innerText();
  await page.getByRole("textbox", { name: "Code" }).fill(code);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator(".chat-page").waitFor();
}

/** `deno task simulate-phone`, as the README describes it. */
async function simulatePhone(qrUrl: string, mobile: string, number: string): Promise<void> {
  const script = new URL("../scripts/simulate_phone.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script, qrUrl, "--mobile", mobile, "--number", number],
    stdin: "null",
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(code, 0, `${decode(stdout)}${decode(stderr)}`);
}

async function rename(page: Page, name: string): Promise<void> {
  const panel = await openPanel(page, "Profile");
  await panel.getByLabel("Display name").fill(name);
  await panel.getByRole("button", { name: "Save" }).click();
  await panel.getByText("Saved.").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".sidebar-me", { hasText: name }).waitFor();
}

async function asPerson(visitor: Visitor, url: string, name: string, mobile: string): Promise<Person> {
  await rename(visitor.page, name);
  const response = await visitor.context.request.get(`${url}/me`);
  const { userId } = await response.json() as { userId: string };
  return { ...visitor, userId, name, mobile };
}

/** Registers the tests. */
export function testLogin(rig: Rig): void {
  Deno.test("From an empty folder, two people log in by code and by QR, chat, and survive a restart of the server", async () => {
    await using program = await Program.onEmptyFolder();
    const { url } = program;
    await using first = await rig.visit(url);
    const mobileOfAnna = rig.newMobile();
    await logInByCode(first.page, mobileOfAnna);
    await first.page.getByText("No chats yet").waitFor();
    const anna = await asPerson(first, url, "Anna Lindgren", mobileOfAnna);

    await using second = await rig.visit(url);
    const mobileOfBen = rig.newMobile();
    const qrUrl = await readQrOn(second.page);
    assert.ok(qrUrl.startsWith(`${url}/m/scan?token=`), qrUrl);
    await simulatePhone(qrUrl, mobileOfBen, await numberOn(second.page));
    await second.page.locator(".chat-page").waitFor();
    const ben = await asPerson(second, url, "Ben Carter", mobileOfBen);

    await openChatWith(anna.page, ben);
    await write(anna.page, "Is the kitchen table still for sale?");
    await row(ben.page, "Anna Lindgren").getByText("Is the kitchen table").waitFor();
    await row(ben.page, "Anna Lindgren").getByRole("img", { name: "1 unread" }).waitFor();
    await until("the unread count in the title", async () => await ben.page.title() === "(1) Hearth");
    assert.equal(await mark(anna.page, "kitchen table", "Read").count(), 0, "nobody has read it yet");
    await anna.page.locator(".composer textarea").pressSequentially("Hello again", { delay: 150 });
    await row(ben.page, "Anna Lindgren").getByText("typing…").waitFor();
    await anna.page.locator(".composer textarea").fill("");

    await row(ben.page, "Anna Lindgren").click();
    await mark(anna.page, "kitchen table", "Read").waitFor();
    await ben.page.locator(".badge").waitFor({ state: "detached" });
    await until("the title without a count", async () => await ben.page.title() === "Hearth");
    await ben.page.locator(".composer textarea").pressSequentially("Yes, it is.", { delay: 150 });
    await anna.page.locator(".chat-typing", { hasText: "Ben Carter is typing…" }).waitFor();
    await ben.page.keyboard.press("Enter");
    await bubble(anna.page, "Yes, it is.").waitFor();
    await anna.page.locator(".chat-typing", { hasText: "typing" }).waitFor({ state: "detached" });
    await mark(ben.page, "Yes, it is.", "Read").waitFor();

    await program.stop();
    for (const { page } of [anna, ben]) await page.locator(".banner-shown").waitFor();
    await write(ben.page, "Written while the server was away.");
    await program.start();
    for (const { page } of [anna, ben]) await page.locator(".banner-shown").waitFor({ state: "detached" });
    await bubble(anna.page, "while the server was away").waitFor();
    await write(anna.page, "And an answer.");
    await bubble(ben.page, "And an answer.").waitFor();
    const said = [
      "Is the kitchen table still for sale?",
      "Yes, it is.",
      "Written while the server was away.",
      "And an answer.",
    ];
    for (const { page } of [anna, ben]) {
      await page.reload();
      await bubble(page, "And an answer.").waitFor();
      assert.deepEqual(await textsOn(page), said);
    }
  });

  Deno.test("A phone that is logged in sees who asks, but never the number, and lets the page in with it", async () => {
    await using desktop = await rig.visit(rig.url);
    await using phone = await rig.openAs("Clara", PHONE);
    const number = await numberOn(desktop.page);
    await phone.page.goto(await readQrOn(desktop.page));
    const goOn = phone.page.getByRole("button", { name: "Go on" });
    await goOn.waitFor();
    assert.equal(await desktop.page.locator(".qr-waiting").count(), 1, "opening the address is no scan");

    const [scan] = await Promise.all([phone.page.waitForResponse(/\/scan_pc\//), goOn.click()]);
    assert.ok(!("number" in (await scan.json() as { result: object }).result));
    await desktop.page.getByText("Scanned by Clara").waitFor();
    const facts = await phone.page.locator(".facts").innerText();
    assert.match(facts, /Device\s+Linux/);
    assert.match(facts, /Browser\s+Chrom/);
    assert.match(facts, /Place\s+The server's computer/);
    assert.match(facts, /Address\s+127\.0\.0\.1/);
    assert.match(facts, /Time\s+.*\d\d:\d\d/);
    await rig.picture(phone.page, "scan");

    const box = phone.page.getByLabel("Number shown on the other screen");
    assert.equal(await box.inputValue(), "");
    const letIn = phone.page.getByRole("button", { name: "Let it in" });
    await letIn.click();
    await phone.page.getByText("Type the two digits from the other screen.").waitFor();
    await box.fill(number === "42" ? "43" : "42");
    await letIn.click();
    await phone.page.getByText("That is not the number on the other screen.").waitFor();
    await box.fill(number);
    await letIn.click();
    await phone.page.getByText("The other screen is logged in.").waitFor();
    await desktop.page.locator(".sidebar-me", { hasText: "Clara" }).waitFor();
  });

  Deno.test("A phone that is not logged in logs in first; a refusal shows on the page, which then offers a new code", async () => {
    await using desktop = await rig.visit(rig.url);
    await using phone = await rig.visit(await readQrOn(desktop.page), PHONE);
    await phone.page.getByText("Log in on this phone first").waitFor();
    await phone.page.getByRole("textbox", { name: "Phone number" }).fill(rig.newMobile());
    await phone.page.keyboard.press("Enter");
    await phone.page.getByRole("button", { name: "Use it" }).click();
    await phone.page.keyboard.press("Enter");
    await phone.page.getByRole("button", { name: "Go on" }).click();
    await phone.page.getByRole("button", { name: "Refuse" }).click();
    await phone.page.getByText("The other screen was not let in.").waitFor();
    await desktop.page.getByText("Cancelled on the phone").waitFor();
    await rig.picture(desktop.page, "qr-cancelled");
    await desktop.page.getByRole("button", { name: "New QR code" }).click();
    await desktop.page.locator(".qr-waiting").waitFor();

    await phone.page.reload();
    await phone.page.getByRole("button", { name: "Go on" }).click();
    await phone.page.getByText("This login request has expired, was refused or was used already.").waitFor();
  });

  Deno.test("The phone's own scanner takes a pasted link of this server and no other", async () => {
    await using desktop = await rig.visit(rig.url);
    await using phone = await rig.openAs("Dora", PHONE);
    await phone.page.locator(".menu > .round").click();
    await phone.page.getByRole("link", { name: "Scan a QR code" }).click();
    const link = phone.page.getByLabel("Or paste the link of the QR code");
    await link.fill("https://elsewhere.example/m/scan?token=abc");
    await phone.page.getByRole("button", { name: "Open" }).click();
    await phone.page.getByText("This is not a login link of this server.").waitFor();
    await link.fill(await readQrOn(desktop.page));
    await phone.page.getByRole("button", { name: "Open" }).click();
    await phone.page.getByRole("button", { name: "Go on" }).waitFor();
  });

  Deno.test("Wrong numbers and codes are said in words", async () => {
    await using visitor = await rig.visit(rig.url);
    const { page } = visitor;
    await page.getByRole("tab", { name: "Phone number" }).click();
    await page.getByRole("textbox", { name: "Phone number" }).fill("12");
    await page.getByRole("button", { name: "Send code" }).click();
    await page.getByText("This is not a valid phone number.").waitFor();
    await page.getByRole("textbox", { name: "Phone number" }).fill(rig.newMobile());
    await page.getByRole("button", { name: "Send code" }).click();
    const code = await page.locator(".dev-code").innerText();
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("Type the code from the SMS.").waitFor();
    await page.getByRole("textbox", { name: "Code" }).fill(code === "123456" ? "654321" : "123456");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("The code is wrong or has expired.").waitFor();
    await rig.picture(page, "login-error");
  });

  Deno.test("Logging out leads to the login, ends the session on the server, and forgets what was being written", async () => {
    await using anna = await rig.openAs("Anna");
    await using ben = await rig.openAs("Ben");
    await openChatWith(anna.page, ben);
    await anna.page.locator(".composer textarea").fill("a thought for nobody");
    const cookies = await anna.context.cookies();
    const panel = await openPanel(anna.page, "Log out");
    await panel.getByRole("button", { name: "Log out" }).click();
    await anna.page.getByText("You are logged out.").waitFor();
    assert.ok(!anna.page.url().includes("#"), "the address names no chat any more");
    const kept = await anna.page.evaluate(() => Object.entries(localStorage).flat().join(" "));
    assert.ok(!kept.includes("thought"), kept);

    await anna.context.addCookies(cookies);
    assert.equal((await anna.context.request.get(`${rig.url}/me`)).status(), 401);
    await anna.page.reload();
    await anna.page.locator(".login").waitFor();
  });

  Deno.test("Devices lists my logins and ends one, which the other device is told", async () => {
    await using laptop = await rig.openAs("Emil");
    await using other = await rig.visit(rig.url);
    await logInQuietly(other.context, rig.url, laptop.mobile);
    await other.page.goto(rig.url);
    await other.page.locator(".chat-page").waitFor();

    const panel = await openPanel(laptop.page, "Devices");
    const devices = panel.locator(".device");
    await devices.nth(1).waitFor();
    assert.equal(await devices.count(), 2);
    assert.match(await devices.nth(0).innerText(), /Chrome · Linux[\s\S]*Web · Online[\s\S]*This device/);
    await rig.picture(laptop.page, "devices");
    await devices.nth(1).getByRole("button", { name: /^End the login of/ }).click();
    await devices.nth(1).getByRole("button", { name: "End it" }).click();
    await devices.nth(1).waitFor({ state: "detached" });
    await other.page.getByText("Another device ended this login.").waitFor();
    assert.equal((await other.context.request.get(`${rig.url}/me`)).status(), 401);
    assert.equal((await laptop.context.request.get(`${rig.url}/me`)).status(), 200);
  });

  Deno.test("A tab that waits at the login goes on when another tab of the browser has logged in", async () => {
    await using visitor = await rig.visit(rig.url);
    const second = await visitor.context.newPage();
    await second.goto(rig.url);
    await second.locator(".login").waitFor();
    await logInByCode(visitor.page, rig.newMobile());
    await second.locator(".chat-page").waitFor();
  });

  Deno.test("A login that is renewed in another tab keeps the first one open", async () => {
    await using ben = await rig.openAs("Ben");
    await using browser = await rig.visit(rig.url);
    const second = browser.page;
    await second.locator(".qr-waiting").waitFor();
    const clientId = await second.evaluate(() => localStorage.getItem("hearth.clientId") ?? "");
    const mobile = rig.newMobile();
    const userId = await logInQuietly(browser.context, rig.url, mobile, clientId);
    const first = await browser.context.newPage();
    await first.goto(rig.url);
    await first.locator(".chat-page").waitFor();

    await second.bringToFront();
    await logInByCode(second, mobile);
    await sendQuietly(ben, rig.url, userId, "still there?");
    for (const page of [first, second]) await row(page, "Ben").getByText("still there?").waitFor();
  });
}
