/** Tests of the page: everybody can use it, by keyboard, by screen reader, in both languages and themes. */
import assert from "node:assert/strict";
import axe from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { TEXTS } from "../web/i18n.ts";
import {
  bubble,
  DESKTOP,
  mark,
  type Person,
  PHONE,
  type Rig,
  row,
  sendQuietly,
  textsOn,
  write,
} from "./page_rig.ts";

/** How the page is looked at; everywhere in both themes. */
const LOOKS: readonly { readonly name: string; readonly options: BrowserContextOptions }[] = [
  { name: "desktop in English", options: { ...DESKTOP, locale: "en-GB" } },
  { name: "phone in Chinese", options: { ...PHONE, locale: "zh-CN" } },
];
const THEMES = ["light", "dark"] as const;

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

/** Looks at the page as it is now, by the rules of axe; in the second theme by the one about colours. */
async function inspectAccess(page: Page, state: string): Promise<void> {
  if (!await page.evaluate(() => "axe" in globalThis)) await page.evaluate(axe.source);
  for (const [i, colorScheme] of THEMES.entries()) {
    await page.emulateMedia({ colorScheme });
    const options = i === 0 ? {} : { runOnly: ["color-contrast"] };
    // Half-way through an animation a colour is neither of the two.
    const { violations } = await page.evaluate(`(async () => {
      await Promise.all(document.getAnimations().map((one) =>
        one.effect.getComputedTiming().iterations === Infinity ? null : one.finished.catch(() => null)));
      return await axe.run(${JSON.stringify(options)});
    })()`) as AxeResult;
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    assert.deepEqual(found, [], `${state}, ${colorScheme}`);
  }
}

/** Looks for texts that are missing, have a hole, or are in the other language. */
async function inspectTexts(page: Page, language: "en" | "zh", state: string): Promise<void> {
  const { text, names, lang } = await page.evaluate(() => ({
    text: document.body.innerText,
    names: [...document.querySelectorAll("[aria-label], [placeholder], [title]")].flatMap((element) =>
      ["aria-label", "placeholder", "title"].map((name) => element.getAttribute(name) ?? "")
    ).join("\n"),
    lang: document.documentElement.lang,
  }));
  assert.equal(lang, language === "zh" ? "zh-CN" : "en");
  const all = `${text}\n${names}`;
  for (const key of Object.keys(TEXTS.en)) assert.ok(!all.split(/\s/).includes(key), `${state} shows ${key}`);
  assert.doesNotMatch(all, /\{\w+\}/, `${state} has a hole that was not filled`);
  const rest = all.replaceAll(
    /English|中文|Hearth|Anna|Ben|Chrome|Chromium|Linux|Web\b|ID\b|iPhone|Android|[\da-z]{20}/g,
    "",
  );
  if (language === "zh") assert.doesNotMatch(rest, /[A-Za-z]{2,}/, `${state} has English in it`);
  else assert.doesNotMatch(rest, /\p{Script=Han}/u, `${state} has Chinese in it`);
}

/** Presses Tab until the control with this name has the focus; every stop on the way must show that it has it. */
async function tabTo(page: Page, name: RegExp, key = "Tab"): Promise<void> {
  for (let presses = 0; presses < 40; presses++) {
    const focused = await page.evaluate(() => {
      const element = document.activeElement as HTMLInputElement;
      const label = element.labels?.[0]?.innerText;
      const style = getComputedStyle(element);
      const box = getComputedStyle(element.closest(".composer-box") ?? element);
      return {
        name: element.getAttribute("aria-label") ?? label ?? element.innerText,
        isBody: element === document.body,
        shows: style.outlineStyle !== "none" || box.borderTopStyle !== "none",
      };
    });
    if (!focused.isBody) assert.ok(focused.shows, `the focus on ${focused.name} cannot be seen`);
    if (!focused.isBody && name.test(focused.name)) return;
    await page.keyboard.press(key);
  }
  assert.fail(`${name} cannot be reached with ${key}`);
}

/** Registers the tests. */
export function testAccess(rig: Rig): void {
  for (const { name, options } of LOOKS) {
    Deno.test(`Every state of the page has its texts and is accessible, on a ${name}`, async () => {
      const language = options.locale === "zh-CN" ? "zh" : "en";
      const look = async (page: Page, state: string) => {
        await inspectTexts(page, language, `${state}, ${name}`);
        await inspectAccess(page, `${state}, ${name}`);
      };
      const shoot = async (page: Page, state: string) => {
        for (const colorScheme of THEMES) {
          await page.emulateMedia({ colorScheme });
          await rig.picture(page, `${state}-${colorScheme}-${name.replaceAll(" ", "-")}`);
        }
      };
      const t = (key: keyof typeof TEXTS.en) => TEXTS[language][key];
      await using visitor = await rig.visit(rig.url, options);
      await visitor.page.getByRole("tab", { name: t("login.by_qr") }).click();
      await visitor.page.locator(".qr-waiting").waitFor();
      await look(visitor.page, "QR login");
      await shoot(visitor.page, "login-qr");
      const number = await visitor.page.locator(".qr-number output").innerText();
      await visitor.page.getByRole("tab", { name: t("login.by_code") }).click();
      await visitor.page.locator("[name=mobile]").fill(rig.newMobile());
      await visitor.page.locator("[name=mobile]").press("Enter");
      await visitor.page.locator(".dev-code").waitFor();
      await look(visitor.page, "code login");
      await shoot(visitor.page, "login-code");
      assert.match(number, /^\d\d$/);

      await using anna: Person = await rig.openAs("Anna", options);
      const { page } = anna;
      await page.getByText(t("list.empty")).waitFor();
      await look(page, "no chats");
      await shoot(page, "empty");
      await using ben = await rig.openAs("Ben");
      await sendQuietly(ben, rig.url, anna.userId, "1, 2, 3?");
      await row(page, "Ben").locator(".badge").waitFor();
      await look(page, "list of chats");
      await shoot(page, "list");
      await page.locator(".search input").fill("1234");
      await page.getByText(t("people.none").replace("{keyword}", "1234")).waitFor();
      await look(page, "search without a find");
      await page.locator(".search input").fill(ben.mobile);
      await page.getByRole("list", { name: t("people.results") }).getByRole("button", { name: "Ben" })
        .waitFor();
      await look(page, "search");
      await page.locator(".search .round").click();
      await row(page, "Ben").click();
      await write(page, "4!");
      await bubble(page, "4!").locator(".mark-sent").waitFor();
      await look(page, "chat");
      await shoot(page, "chat");
      if (options.isMobile) await page.locator(".chat-back").click();
      await page.locator(".menu > .round").click();
      await look(page, "menu");
      await shoot(page, "menu");
      await page.keyboard.press("Escape");
      for (const item of ["profile", "devices", "logout"] as const) {
        await page.locator(".menu > .round").click();
        await page.locator(".menu-item", { hasText: t(`menu.${item}`) }).click();
        await page.getByRole("dialog").waitFor();
        if (item === "devices") await page.locator(".device").waitFor();
        await look(page, item);
        await shoot(page, item);
        await page.keyboard.press("Escape");
        await page.getByRole("dialog").waitFor({ state: "detached" });
      }

      await using desktop = await rig.visit("about:blank");
      const [session] = await Promise.all([
        desktop.page.waitForResponse(/\/pc_session$/),
        desktop.page.goto(rig.url),
      ]);
      const { result } = await session.json() as { result: { token: string } };
      await page.goto(`${rig.url}/m/scan?token=${result.token}`);
      await page.getByRole("button", { name: t("scan.open_yes") }).waitFor();
      await look(page, "scan, asked");
      await page.getByRole("button", { name: t("scan.open_yes") }).click();
      await page.locator(".facts").waitFor();
      await look(page, "scan, who asks");
      await shoot(page, "scan");
      await page.getByRole("button", { name: t("scan.cancel") }).click();
      await page.getByText(t("scan.refused_how")).waitFor();
      await look(page, "scan, refused");
      await page.goto(`${rig.url}/m/scan`);
      await page.locator(".scanner").waitFor();
      await look(page, "scanner");
      await shoot(page, "scanner");
    });
  }

  Deno.test("The language can be changed at any time and is remembered", async () => {
    await using anna = await rig.openAs("Anna");
    const { page } = anna;
    await page.locator(".menu > .round").click();
    await page.getByRole("button", { name: "中文" }).click();
    await page.getByText("还没有聊天").waitFor();
    await page.reload();
    await page.getByText("还没有聊天").waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  });

  Deno.test("With the keyboard alone one logs in, finds somebody, writes, opens the menu and logs out", async () => {
    await using ben = await rig.openAs("Ben");
    await using visitor = await rig.visit(rig.url);
    const { page } = visitor;
    const { keyboard } = page;
    await page.locator(".login").waitFor();
    await tabTo(page, /^QR code$/);
    await keyboard.press("ArrowRight");
    await tabTo(page, /^Phone number$/);
    await tabTo(page, /^Phone number$/);
    await keyboard.press("Tab");
    await keyboard.type(rig.newMobile());
    await keyboard.press("Enter");
    const code = await page.locator(".dev-code").innerText();
    await tabTo(page, /^Code$/);
    await keyboard.type(code);
    await keyboard.press("Enter");
    await page.locator(".chat-page").waitFor();

    await tabTo(page, /^Search people$/);
    await keyboard.type(ben.mobile);
    await row(page, "Ben").waitFor();
    await tabTo(page, /\bBen\b/);
    await keyboard.press("Enter");
    await tabTo(page, /^Message to Ben$/);
    await keyboard.type("without a mouse");
    await keyboard.press("Enter");
    await mark(page, "without a mouse", "Sent").waitFor();
    await row(ben.page, "without a mouse").waitFor();

    await tabTo(page, /^Messages with Ben$/, "Shift+Tab");
    await tabTo(page, /^Menu$/, "Shift+Tab");
    await keyboard.press("Enter");
    await tabTo(page, /^Devices$/);
    await keyboard.press("Escape");
    await tabTo(page, /^Menu$/);
    await page.locator("#menu-items").waitFor({ state: "hidden" });
    await keyboard.press("Enter");
    await tabTo(page, /^Log out$/);
    await keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await tabTo(page, /^Menu$/);
    assert.deepEqual(await textsOn(page), ["without a mouse"], "Escape closed the dialog and not the chat");
    await keyboard.press("Enter");
    await tabTo(page, /^Log out$/);
    await keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await tabTo(page, /^Log out$/);
    await keyboard.press("Enter");
    await page.getByText("You are logged out.").waitFor();
  });
}
