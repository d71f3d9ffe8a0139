/** Tests of the page: long texts, many messages, many chats. */
import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";
import { bubble, PHONE, type Rig, row, sendQuietly, textsOn, until } from "./page_rig.ts";

const MESSAGES = 1000;
const CHATS = 300;
/** What the page draws at most of a conversation, and of the list of chats in a window of this height. */
const MAX_LINES = 160;
const MAX_ROWS = 40;

const single = (target: string) => ({ type: 0, target, line: 0 });

/** Lines of different heights: what is not in sight cannot be guessed. */
function textOf(number: number): string {
  const head = `message ${number}`;
  if (number % 7 === 0) return `${head} ${"and so on ".repeat(60)}`;
  return number % 11 === 0 ? `${head}\n\nin\nlines` : head;
}

/** The numbers of the messages that are drawn. */
async function numbersOn(page: Page): Promise<number[]> {
  return (await textsOn(page)).map((text) => Number(/^message (\d+)/.exec(text)?.[1]));
}

/** How far below the top of the list a message stands, in pixels. */
async function topOf(scroller: Locator, number: number): Promise<number> {
  const line = scroller.getByText(new RegExp(`^message ${number}\\b`));
  const [outer, inner] = await Promise.all([scroller.boundingBox(), line.boundingBox()]);
  return inner!.y - outer!.y;
}

/** Registers the tests. */
export function testMany(rig: Rig): void {
  Deno.test("A thousand messages scroll without gaps, with few of them drawn, and what is in sight stays where it is", async () => {
    await using anna = await rig.openAs("Anna");
    await using ben = await rig.openAs("Ben");
    await using client = await rig.openClient(ben.userId);
    const all = Array.from({ length: MESSAGES }, (_, i) => i + 1);
    await Promise.all(all.map((number) => client.send(single(anna.userId), textOf(number))));
    const { page } = anna;
    await row(page, "Ben").getByRole("img", { name: `${MESSAGES} unread` }).waitFor();
    await row(page, "Ben").click();
    const scroller = page.getByRole("log");
    await scroller.getByText(`message ${MESSAGES}`, { exact: true }).waitFor();
    await until("the newest message is in sight", async () => await topOf(scroller, MESSAGES) < 800);

    for (let first = (await numbersOn(page))[0]!; first > 1;) {
      await scroller.evaluate((element) => element.scrollTop = 0);
      await until(`something older than ${first}`, async () => (await numbersOn(page))[0]! < first);
      const drawn = await numbersOn(page);
      assert.ok(drawn.every((number, i) => number === drawn[0]! + i), `no gaps in ${drawn}`);
      assert.ok(drawn.length <= MAX_LINES, `${drawn.length} drawn`);
      const top = await topOf(scroller, first);
      assert.ok(Math.abs(top) < 120, `message ${first} stood at the top and stands now at ${top}`);
      first = drawn[0]!;
    }
    await scroller.evaluate((element) => element.scrollTop = 0);
    await page.getByText("This is the start of your chat with Ben.").waitFor();

    const before = await topOf(scroller, 1);
    await sendQuietly(ben, rig.url, anna.userId, "message 1001");
    await page.getByRole("button", { name: "1 new message" }).waitFor();
    assert.equal(await topOf(scroller, 1), before, "reading goes on where it was");
    await rig.picture(page, "new-below");
    await page.getByRole("button", { name: "1 new message" }).click();
    await scroller.getByText("message 1001", { exact: true }).waitFor();
    await until("the newest message is in sight", async () => await topOf(scroller, 1001) < 800);
    await page.locator(".chip").waitFor({ state: "detached" });
  });

  Deno.test("Long words and texts stay inside the window, on a desktop and on a phone", async () => {
    await using anna = await rig.openAs("Anna");
    await using ben = await rig.openAs("B".repeat(64), PHONE);
    await sendQuietly(anna, rig.url, ben.userId, "w".repeat(3000));
    await sendQuietly(anna, rig.url, ben.userId, "many words ".repeat(800));
    await sendQuietly(anna, rig.url, ben.userId, `https://example.org/${"path/".repeat(200)}`);
    await row(ben.page, "Anna").click();
    await row(anna.page, "BBB").click();
    for (const { page } of [anna, ben]) {
      await bubble(page, "https://example.org/").waitFor();
      const overflow = await page.evaluate(() =>
        [document.documentElement, ...document.querySelectorAll(".messages-scroll, .list, .chat-top")]
          .filter((element) => element.scrollWidth > element.clientWidth)
          .map((element) => element.className || element.tagName)
      );
      assert.deepEqual(overflow, []);
    }
    await rig.picture(ben.page, "long-phone");
  });

  Deno.test("Of a long list of chats only those in sight are drawn, and a new message moves its chat to the top", async () => {
    await using anna = await rig.openAs("Anna");
    const names = Array.from({ length: CHATS }, (_, i) => `Friend ${i + 1}`);
    const ids = names.map((_, i) => `friend-${i + 1}`);
    for (const [i, name] of names.entries()) await rig.createUser(ids[i]!, name);
    await using client = await rig.openClient(anna.userId);
    for (const id of ids) void client.send(single(id), `hello ${id}`);
    await client.send(single(anna.userId), "a note to myself");
    const { page } = anna;
    await page.reload();
    await row(page, "a note to myself").waitFor();
    const list = page.locator(".list");
    await list.locator(`li[aria-setsize="${CHATS + 1}"]`).first().waitFor();
    assert.ok(await list.locator("li").count() <= MAX_ROWS);
    await row(page, `Friend ${CHATS}`).waitFor();
    await rig.picture(page, "many-chats");
    await list.evaluate((element) => element.scrollTop = element.scrollHeight);
    await page.getByText("Friend 1", { exact: true }).waitFor();
    assert.ok(await list.locator("li").count() <= MAX_ROWS);

    await using friend = await rig.openClient("friend-1");
    await friend.send(single(anna.userId), "good to hear from you");
    await list.evaluate((element) => element.scrollTop = 0);
    await list.locator("li").first().getByText("good to hear from you").waitFor();
    await row(page, "good to hear from you").getByRole("img", { name: "1 unread" }).waitFor();
  });
}
