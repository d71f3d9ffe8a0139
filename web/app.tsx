/** The page's entry. */
import { effect } from "@preact/signals";
import { render } from "preact";
import { locale } from "./i18n.ts";
import { unreadTotal } from "./state/conversations.ts";
import { watchAttention } from "./state/notifications.ts";
import { watchPlace } from "./state/place.ts";
import { phase, start, watchBrowser } from "./state/session.ts";
import { App } from "./views/app.tsx";

effect(() => void (document.documentElement.lang = locale.value));
effect(() => {
  const count = phase.value === "chat" ? unreadTotal.value : 0;
  document.title = count === 0 ? "Hearth" : `(${count > 99 ? "99+" : count}) Hearth`;
});
watchBrowser();
watchPlace();
watchAttention();
void start();
render(<App />, document.getElementById("app")!);
