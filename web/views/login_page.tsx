import { useState } from "preact/hooks";
import { t } from "../i18n.ts";
import { endedText } from "../state/session.ts";
import { Brand, LanguageSwitch } from "./brand.tsx";
import { CodeLogin } from "./code_login.tsx";
import { HearthScene } from "./hearth_scene.tsx";
import { QrLogin } from "./qr_login.tsx";

const METHODS = [
  { id: "qr", label: "login.by_qr", View: QrLogin },
  { id: "code", label: "login.by_code", View: CodeLogin },
] as const;

/** A phone has no second phone to scan with: it starts with the number. */
function firstMethod(): "qr" | "code" {
  return globalThis.matchMedia("(max-width: 640px)").matches ? "code" : "qr";
}

/** Login by QR or by code. */
export function LoginPage() {
  const [method, setMethod] = useState(firstMethod);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const next = method === "qr" ? "code" : "qr";
    setMethod(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="login">
      <header class="login-top">
        <Brand />
        <LanguageSwitch />
      </header>
      <main class="login-main">
        <HearthScene />
        <section class="card login-card">
          <h1>{t("login.title")}</h1>
          {endedText.value !== null && <p class="note" role="status">{t(endedText.value)}</p>}
          <div class="tabs" role="tablist" aria-label={t("login.methods")} onKeyDown={onKeyDown}>
            {METHODS.map(({ id, label }) => (
              <button
                key={id}
                id={`tab-${id}`}
                type="button"
                role="tab"
                aria-selected={method === id}
                aria-controls="login-method"
                tabIndex={method === id ? 0 : -1}
                onClick={() => setMethod(id)}
              >
                {t(label)}
              </button>
            ))}
          </div>
          <div id="login-method" role="tabpanel" aria-labelledby={`tab-${method}`} class="login-method">
            {METHODS.map(({ id, View }) => id === method && <View key={id} />)}
          </div>
        </section>
      </main>
    </div>
  );
}
