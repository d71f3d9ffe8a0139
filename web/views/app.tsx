import { t } from "../i18n.ts";
import { phase } from "../state/session.ts";
import { Logo } from "./brand.tsx";
import { ChatPage } from "./chat_page.tsx";
import { LoginPage } from "./login_page.tsx";
import { ScanPage } from "./scan_page.tsx";

/** Which page: the address says scan or chat, the session says login or not. */
export function App() {
  if (phase.value === "loading" || phase.value === "unreachable") {
    return (
      <main class="splash" aria-busy="true">
        <Logo />
        <p role="status">{phase.value === "loading" ? t("app.loading") : t("error.offline")}</p>
      </main>
    );
  }
  if (location.pathname === "/m/scan") return <ScanPage />;
  return phase.value === "login" ? <LoginPage /> : <ChatPage />;
}
