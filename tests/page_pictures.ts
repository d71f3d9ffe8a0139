/** The pictures of the README: `HEARTH_SCREENSHOTS=docs deno task test tests/page_test.ts`. */
import { bubble, mark, openChatWith, PHONE, type Rig, row, sendQuietly, write } from "./page_rig.ts";

/** Registers the taking of pictures. */
export function takePictures(rig: Rig): void {
  Deno.test("Two people chat in English, seen on a desktop", async () => {
    await using anna = await rig.openAs("Anna Lindgren", { colorScheme: "light" });
    await using ben = await rig.openAs("Ben Carter");
    for (
      const [name, text] of [
        ["Mei Tanaka", "See you tomorrow then!"],
        ["Priya Nair", "The bread turned out wonderful."],
        ["王小明", "好的，明天见"],
        ["Oliver Hughes", "Could you have a look before lunch?"],
      ] as const
    ) {
      await using friend = await rig.openAs(name);
      await sendQuietly(friend, rig.url, anna.userId, text);
    }
    await openChatWith(anna.page, ben);
    await write(anna.page, "Hi Ben! Is the kitchen table still for sale?");
    await openChatWith(ben.page, anna);
    await bubble(ben.page, "kitchen table").waitFor();
    await write(ben.page, "Hello Anna! Yes, it is. Would you like to come and see it?");
    await bubble(anna.page, "come and see it").waitFor();
    await write(anna.page, "Gladly. Is Saturday around eleven all right?");
    await bubble(ben.page, "around eleven").waitFor();
    await write(ben.page, "Saturday is good. You can park in front of the house.");
    await write(ben.page, "Ring at the blue door.");
    await bubble(anna.page, "blue door").waitFor();
    await write(anna.page, "Perfect, see you then! I will bring a measuring tape.");
    await mark(anna.page, "measuring tape", "Read").waitFor();
    await row(anna.page, "Oliver Hughes").waitFor();
    await ben.page.locator(".composer textarea").pressSequentially("Great, then", { delay: 150 });
    await anna.page.locator(".chat-typing", { hasText: "typing" }).waitFor();
    await rig.picture(anna.page, "chat");
  });

  Deno.test("Two people chat in Chinese, seen on a phone", async () => {
    await using mei = await rig.openAs("陈美玲", { ...PHONE, colorScheme: "light", locale: "zh-CN" });
    await using lei = await rig.openAs("李雷");
    await openChatWith(lei.page, mei);
    await write(lei.page, "美玲，周末有空吗？");
    await row(mei.page, "李雷").click();
    await bubble(mei.page, "周末").waitFor();
    await write(mei.page, "有空，怎么啦？");
    await bubble(lei.page, "怎么").waitFor();
    await write(lei.page, "想请你来家里吃饭，我学会做红烧肉了。");
    await bubble(mei.page, "红烧肉").waitFor();
    await write(mei.page, "太好了！我带水果过去。");
    await bubble(lei.page, "水果").waitFor();
    await write(lei.page, "那周六晚上六点，地址发给你了。");
    await bubble(mei.page, "六点").waitFor();
    await write(mei.page, "收到，周六见！");
    await mark(mei.page, "周六见", "已读").waitFor();
    await rig.picture(mei.page, "chat-zh-phone");
  });
}
