/** The page in a real Chromium, against the real program. The tests stand in the `page_*.ts` files, by subject. */
import assert from "node:assert/strict";
import { testAccess } from "./page_access.ts";
import { testChat } from "./page_chat.ts";
import { testLogin } from "./page_login.ts";
import { testMany } from "./page_many.ts";
import { takePictures } from "./page_pictures.ts";
import { hasChromium, Rig } from "./page_rig.ts";

if (await hasChromium()) {
  const rig = new Rig();
  Deno.test.beforeAll(() => rig.start());
  Deno.test.afterAll(() => rig.stop());
  if (Deno.env.get("HEARTH_SCREENSHOTS") === "docs") takePictures(rig);
  else {
    testLogin(rig);
    testChat(rig);
    testMany(rig);
    testAccess(rig);
  }
} else if (Deno.env.get("CI") === "true") {
  Deno.test("Chromium is installed on a continuous-integration machine", () => assert.fail("no Chromium"));
} else {
  console.log("page tests not run: no Chromium");
}
