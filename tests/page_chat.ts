/** Tests of the page: writing, reading, and networks that fail. */
import assert from "node:assert/strict";
import {
  bubble,
  mark,
  openChatWith,
  openPanel,
  type Rig,
  row,
  sendQuietly,
  textsOn,
  until,
  write,
} from "./page_rig.ts";
import { startProxy } from "./tcp_proxy.ts";

/** Registers the tests. */
export function testChat(rig: Rig): void {
  Deno.test("A text with markup is shown as text, and only web addresses become links", async () => {
    await using anna = await rig.openAs("<b>Anna</b>");
    await using ben = await rig.openAs("Ben");
    const texts = [
      `<img src=x onerror="globalThis.broken = true"><script>globalThis.broken = true</script> &amp;`,
      "javascript:alert(1) data:text/html,<script>x</script>",
      "see (https://example.org/a_(b)?q=<i>&r=1), or http://例え.jp/。",
    ];
    for (const text of texts) await sendQuietly(anna, rig.url, ben.userId, text);
    await row(ben.page, "<b>Anna</b>").click();
    await bubble(ben.page, "see (").waitFor();
    assert.deepEqual(await textsOn(ben.page), texts);
    assert.equal(await ben.page.locator("main img, main script, main b, main i").count(), 0);
    assert.equal(await ben.page.evaluate(() => "broken" in globalThis), false);
    const links = await ben.page.locator(".bubble-text a").evaluateAll((all) =>
      all.map((link) => [link.getAttribute("href"), link.getAttribute("rel"), link.getAttribute("target")])
    );
    assert.deepEqual(links.map(([href]) => href), [
      "https://example.org/a_(b)?q=",
      "http://xn--r8jz45g.jp/",
    ]);
    for (const [, rel, target] of links) {
      assert.equal(target, "_blank");
      assert.match(rel ?? "", /noopener noreferrer/);
    }
  });

  Deno.test("Enter sends, Shift or Ctrl with Enter breaks the line, and Enter that ends a composition does neither", async () => {
    await using anna = await rig.openAs("Anna");
    await openChatWith(anna.page, anna);
    const { page } = anna;
    const box = page.locator(".composer textarea");
    await box.fill("one");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two");
    await page.keyboard.press("Control+Enter");
    await page.keyboard.type("three");
    assert.equal(await box.inputValue(), "one\ntwo\nthree");
    await page.keyboard.press("Enter");
    await bubble(page, "three").waitFor();
    assert.equal(await box.inputValue(), "");

    const devtools = await anna.context.newCDPSession(page);
    await devtools.send("Input.imeSetComposition", { text: "ni hao", selectionStart: 6, selectionEnd: 6 });
    const enter = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 229, nativeVirtualKeyCode: 13 };
    await devtools.send("Input.dispatchKeyEvent", { type: "rawKeyDown", ...enter });
    await devtools.send("Input.dispatchKeyEvent", { type: "keyUp", ...enter });
    assert.equal(await box.inputValue(), "ni hao", "the candidate is still being chosen");
    await devtools.send("Input.insertText", { text: "你好" });
    assert.equal(await box.inputValue(), "你好");
    await page.keyboard.press("Enter");
    await bubble(page, "你好").waitFor();
    assert.deepEqual(await textsOn(page), ["one\ntwo\nthree", "你好"]);
  });

  Deno.test("What is being written is kept for each chat, over a change of chat and a reload, and too much is not sent", async () => {
    await using anna = await rig.openAs("Anna");
    await using ben = await rig.openAs("Ben");
    await using carl = await rig.openAs("Carl");
    await sendQuietly(carl, rig.url, anna.userId, "hello");
    const { page } = anna;
    const box = page.locator(".composer textarea");
    await openChatWith(page, ben);
    await box.fill("for Ben");
    await write(page, "hi Ben");
    await box.fill("half a thought");
    await row(page, "Carl").click();
    await page.locator(".chat-who", { hasText: "Carl" }).waitFor();
    assert.equal(await box.inputValue(), "");
    await row(page, "Ben").getByText("Draft: half a thought").waitFor();
    await page.reload();
    await row(page, "Ben").click();
    await page.locator(".chat-who", { hasText: "Ben" }).waitFor();
    assert.equal(await box.inputValue(), "half a thought");

    await box.fill("x".repeat(10_003));
    await page.getByText("Too long by 3 characters").waitFor();
    await page.keyboard.press("Enter");
    assert.equal((await box.inputValue()).length, 10_003, "it stays to be shortened");
    await box.fill("x".repeat(10_000));
    await page.keyboard.press("Enter");
    await mark(page, "x".repeat(100), "Sent").waitFor();
  });

  Deno.test("Messages of both sides written while one is offline are there once when it is back", async () => {
    await using proxy = startProxy(rig.port);
    await using anna = await rig.openAs("Anna", {}, `http://127.0.0.1:${proxy.port}`);
    await using ben = await rig.openAs("Ben");
    await openChatWith(anna.page, ben);
    await write(anna.page, "before");
    await row(ben.page, "Anna").click();
    await mark(anna.page, "before", "Read").waitFor();

    await anna.context.setOffline(true);
    proxy.breakDown();
    await anna.page.getByText("No network. What you write is sent when it is back.").waitFor();
    await write(anna.page, "written offline");
    await mark(anna.page, "written offline", "Sending").waitFor();
    await rig.picture(anna.page, "offline");
    await write(ben.page, "are you there?");
    await mark(ben.page, "are you there?", "Sent").waitFor();

    proxy.mend();
    await anna.context.setOffline(false);
    await bubble(anna.page, "are you there?").waitFor();
    await bubble(ben.page, "written offline").waitFor();
    await anna.page.locator(".banner-shown").waitFor({ state: "detached" });
    const said = ["before", "are you there?", "written offline"];
    for (const { page } of [anna, ben]) {
      await mark(anna.page, "written offline", "Read").waitFor();
      assert.deepEqual(await textsOn(page), said);
    }
  });

  Deno.test("A message that was not sent yet survives a reload of the page and is sent once", async () => {
    await using proxy = startProxy(rig.port);
    await using anna = await rig.openAs("Anna", {}, `http://127.0.0.1:${proxy.port}`);
    await using ben = await rig.openAs("Ben");
    await openChatWith(anna.page, ben);
    proxy.breakDown();
    await anna.page.locator(".banner-shown").waitFor();
    await write(anna.page, "not forgotten");
    await mark(anna.page, "not forgotten", "Sending").waitFor();
    proxy.mend();
    await anna.page.reload();
    await mark(anna.page, "not forgotten", "Sent").waitFor();
    await row(ben.page, "Anna").click();
    await bubble(ben.page, "not forgotten").waitFor();
    assert.deepEqual(await textsOn(ben.page), ["not forgotten"]);
    await mark(anna.page, "not forgotten", "Read").waitFor();
    assert.deepEqual(await textsOn(anna.page), ["not forgotten"]);
  });

  Deno.test("A message that the server refuses says why and can be sent again", async () => {
    await using anna = await rig.openAs("Anna");
    await anna.page.goto(`${rig.url}/#0:0:nobody-at-all`);
    await anna.page.locator(".composer textarea").waitFor();
    await write(anna.page, "hello?");
    await anna.page.getByText("There is nobody of that name any more.").waitFor();
    await rig.picture(anna.page, "refused");
    await rig.createUser("nobody-at-all", "Somebody");
    await anna.page.getByRole("button", { name: "Send again" }).click();
    await mark(anna.page, "hello?", "Sent").waitFor();
    assert.deepEqual(await textsOn(anna.page), ["hello?"]);
  });

  Deno.test("A message that comes while nobody looks makes a notification, once they are switched on", async () => {
    await using anna = await rig.openAs("Anna", { permissions: ["notifications"] });
    await using ben = await rig.openAs("Ben");
    const { page } = anna;
    await page.addInitScript(() => {
      const shown: unknown[] = [];
      // The real one, and a note of what it was asked to show.
      class Noted extends Notification {
        constructor(title: string, options?: NotificationOptions) {
          super(title, options);
          shown.push([title, options?.body]);
        }
      }
      Object.assign(globalThis, { Notification: Noted, shown });
    });
    const shown = () => page.evaluate(() => (globalThis as unknown as { shown: unknown[] }).shown);
    const lookAway = async () => {
      const devtools = await anna.context.newCDPSession(page);
      await devtools.send("Emulation.setFocusEmulationEnabled", { enabled: false });
      await (await anna.context.newPage()).bringToFront();
      await until("the page has lost the focus", () => page.evaluate(() => !document.hasFocus()));
    };
    await page.reload();
    await page.locator(".menu > .round").click();
    const toggle = page.getByRole("switch", { name: "Notifications" });
    assert.equal(await toggle.getAttribute("aria-checked"), "false");
    await toggle.click();
    await page.locator("[role=switch][aria-checked=true]").waitFor();
    await sendQuietly(ben, rig.url, anna.userId, "you are looking");
    await row(page, "Ben").getByText("you are looking").waitFor();
    assert.deepEqual(await shown(), []);
    await lookAway();
    await sendQuietly(ben, rig.url, anna.userId, "are you there?");
    await until("the notification", async () => (await shown()).length > 0);
    assert.deepEqual(await shown(), [["Ben", "are you there?"]]);
  });

  Deno.test("Two tabs share one connection: both show what comes and what either sends, and one goes on when the other closes", async () => {
    await using anna = await rig.openAs("Anna");
    await using ben = await rig.openAs("Ben");
    const first = anna.page;
    const second = await anna.context.newPage();
    await second.goto(rig.url);
    await second.locator(".chat-page").waitFor();
    for (const page of [first, second]) await openChatWith(page, ben);
    await write(first, "from the first tab");
    await bubble(second, "from the first tab").waitFor();
    await write(second, "from the second tab");
    await bubble(first, "from the second tab").waitFor();
    await sendQuietly(ben, rig.url, anna.userId, "to both");
    for (const page of [first, second]) await bubble(page, "to both").waitFor();
    for (const page of [first, second]) {
      assert.deepEqual(await textsOn(page), ["from the first tab", "from the second tab", "to both"]);
    }
    const panel = await openPanel(second, "Devices");
    await panel.locator(".device").waitFor();
    assert.equal(await panel.locator(".device").count(), 1, "one browser is one device");
    await second.keyboard.press("Escape");

    await first.close();
    await write(second, "the second tab alone");
    await mark(second, "the second tab alone", "Sent").waitFor();
    await sendQuietly(ben, rig.url, anna.userId, "still to you");
    await bubble(second, "still to you").waitFor();

    const third = await anna.context.newPage();
    await third.goto(rig.url);
    await row(third, "Ben").waitFor();
    await second.bringToFront();
    await (await openPanel(second, "Log out")).getByRole("button", { name: "Log out" }).click();
    for (const page of [second, third]) await page.getByText("You are logged out.").waitFor();
  });
}
