/** The page's entry. */
import { effect } from "@preact/signals";
import { render } from "preact";
import { drawByFrames } from "./frames.ts";
import { locale } from "./i18n.ts";
import { unreadTotal } from "./state/conversations.ts";
import { watchAttention } from "./state/notifications.ts";
import { watchPlace } from "./state/place.ts";
import { phase, start, watchBrowser } from "./state/session.ts";
import { App } from "./views/app.tsx";

effect(() => void (document.documentElement.lang = locale.value));

// What is read as it comes does not flicker in the title, which is slow to set besides.
const TITLE_PAUSE_MS = 150;
let titleTimer: ReturnType<typeof setTimeout> | undefined;
effect(() => {
  const count = phase.value === "chat" ? unreadTotal.value : 0;
  const title = count === 0 ? "Hearth" : `(${count > 99 ? "99+" : count}) Hearth`;
  clearTimeout(titleTimer);
  titleTimer = setTimeout(() => document.title = title, TITLE_PAUSE_MS);
});
drawByFrames();
watchBrowser();
watchPlace();
watchAttention();
void start();
render(<App />, document.getElementById("app")!);
