import { useState } from "preact/hooks";
import { LoginError } from "../../sdk/mod.ts";
import type { ScannedSession } from "../../sdk/mod.ts";
import { errorText } from "../error_text.ts";
import { fullTime } from "../format.ts";
import { t } from "../i18n.ts";
import type { TextKey } from "../i18n.ts";
import { http, phase } from "../state/session.ts";
import { Brand, LanguageSwitch } from "./brand.tsx";
import { CodeLogin } from "./code_login.tsx";
import { Icon } from "./icon.tsx";
import { QrScanner } from "./qr_scanner.tsx";

type ScanState =
  | { readonly name: "choose" }
  | { readonly name: "open"; readonly token: string }
  | { readonly name: "scanned"; readonly session: ScannedSession }
  | { readonly name: "done" | "refused" | "gone" };

/** The public id in the address; opening the page tells the server nothing. */
function firstState(): ScanState {
  const token = new URLSearchParams(location.search).get("token");
  return token === null || token === "" ? { name: "choose" } : { name: "open", token };
}

/** What a phone shows after the camera has read a QR login. */
export function ScanPage() {
  const [state, setState] = useState(firstState);
  return (
    <div class="scan">
      <header class="login-top">
        <Brand />
        <LanguageSwitch />
      </header>
      <main class="card scan-card">
        <h1>{t(phase.value === "chat" && state.name === "choose" ? "scan.choose" : "scan.title")}</h1>
        {phase.value === "login"
          ? (
            <>
              <p>
                <strong>{t("scan.first")}</strong>
              </p>
              <p class="hint">{t("scan.first_how")}</p>
              <CodeLogin />
            </>
          )
          : <ScanStep state={state} setState={setState} />}
      </main>
    </div>
  );
}

function ScanStep({ state, setState }: { state: ScanState; setState: (state: ScanState) => void }) {
  switch (state.name) {
    case "choose":
      return (
        <>
          <p class="hint">{t("scan.choose_how")}</p>
          <QrScanner onToken={(token) => setState({ name: "open", token })} />
        </>
      );
    case "open":
      return <OpenStep token={state.token} setState={setState} />;
    case "scanned":
      return <ConfirmStep session={state.session} setState={setState} />;
    case "done":
      return <Ending icon="check" title="scan.done" text="scan.done_how" />;
    case "refused":
      return <Ending icon="close" title="scan.refused" text="scan.refused_how" />;
    case "gone":
      return (
        <>
          <p class="error" role="alert">{t("scan.gone")}</p>
          <QrScanner onToken={(token) => setState({ name: "open", token })} />
        </>
      );
  }
}

/** What a refusal means here; `null` when the request is over. */
function refusalText(error: unknown): string | null {
  if (!(error instanceof LoginError)) return errorText(error);
  if (error.code === 8 || error.code === 18) return null;
  if (error.code === 6) return t("scan.number_wrong");
  if (error.code === 14) return t("scan.taken");
  if (error.code === 15) return t("scan.number_missing");
  return errorText(error);
}

function useAction(setState: (state: ScanState) => void) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError("");
    try {
      await work();
    } catch (cause) {
      const text = refusalText(cause);
      if (text === null) setState({ name: "gone" });
      else setError(text);
    } finally {
      setBusy(false);
    }
  };
  return { error, busy, run, setError };
}

function OpenStep({ token, setState }: { token: string; setState: (state: ScanState) => void }) {
  const { error, busy, run } = useAction(setState);
  return (
    <>
      <p>{t("scan.open")}</p>
      <p class="error" role="alert">{error}</p>
      <button
        type="button"
        class="button button-main"
        disabled={busy}
        onClick={() => void run(async () => setState({ name: "scanned", session: await http.scan(token) }))}
      >
        {t("scan.open_yes")}
      </button>
    </>
  );
}

const PLACES = {
  "this-machine": "scan.place_machine",
  "local-network": "scan.place_network",
} as const satisfies Record<string, TextKey>;

function ConfirmStep(
  { session, setState }: { session: ScannedSession; setState: (state: ScanState) => void },
) {
  const [number, setNumber] = useState("");
  const { error, busy, run, setError } = useAction(setState);
  const facts: readonly (readonly [TextKey, string | undefined])[] = [
    ["scan.device", session.device],
    ["scan.browser", session.browser],
    ["scan.place", session.place && t(PLACES[session.place])],
    ["scan.address", session.ip],
    ["scan.time", session.createdAt === undefined ? undefined : fullTime(session.createdAt)],
  ];
  const confirm = (event: Event) => {
    event.preventDefault();
    if (!/^\d{2}$/.test(number)) return setError(t("scan.number_missing"));
    void run(async () => {
      await http.confirm(session.token, number);
      setState({ name: "done" });
    });
  };
  const refuse = () =>
    run(async () => {
      await http.cancel(session.token);
      setState({ name: "refused" });
    });
  return (
    <form class="form" onSubmit={confirm}>
      <dl class="facts">
        {facts.map(([label, value]) => (
          <div key={label}>
            <dt>{t(label)}</dt>
            <dd>{value || t("scan.unknown")}</dd>
          </div>
        ))}
      </dl>
      <p class="note">{t("scan.warning")}</p>
      <label class="field">
        <span>{t("scan.number")}</span>
        <input
          class="number-input"
          inputMode="numeric"
          autoComplete="off"
          maxLength={2}
          value={number}
          onInput={(event) => setNumber(event.currentTarget.value.trim())}
        />
      </label>
      <p class="error" role="alert">{error}</p>
      <button type="submit" class="button button-main" disabled={busy}>{t("scan.confirm")}</button>
      <button type="button" class="button button-quiet" disabled={busy} onClick={() => void refuse()}>
        {t("scan.cancel")}
      </button>
    </form>
  );
}

function Ending({ icon, title, text }: { icon: "check" | "close"; title: TextKey; text: TextKey }) {
  return (
    <div class="ending" role="status">
      <span class={`ending-icon ending-${icon}`}>
        <Icon name={icon} />
      </span>
      <h2>{t(title)}</h2>
      <p>{t(text)}</p>
      <a class="button button-quiet" href="/">{t("scan.to_chat")}</a>
    </div>
  );
}
