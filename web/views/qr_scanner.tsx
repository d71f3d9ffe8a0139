import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n.ts";

/** The public id in a login link of this server, or `null`. */
export function tokenOf(text: string, origin: string = location.origin): string | null {
  if (!URL.canParse(text, origin)) return null;
  const url = new URL(text, origin);
  const token = url.searchParams.get("token");
  return url.origin === origin && url.pathname === "/m/scan" && token ? token : null;
}

/** Reads a QR with the camera, once asked to, or takes a pasted link. */
export function QrScanner({ onToken }: { onToken: (token: string) => void }) {
  const [on, setOn] = useState(false);
  const [link, setLink] = useState("");
  const [error, setError] = useState("");
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (!on) return;
    const ended = new AbortController();
    scan(video.current!, ended.signal).then((token) => token !== null && onToken(token), () => {
      setOn(false);
      setError(t("scan.camera_none"));
    });
    return () => ended.abort();
  }, [on]);
  const paste = (event: Event) => {
    event.preventDefault();
    const token = tokenOf(link.trim());
    if (token === null) setError(t("scan.paste_bad"));
    else onToken(token);
  };
  return (
    <div class="scanner">
      {on && <video ref={video} class="scanner-view" playsInline muted aria-label={t("scan.camera_view")} />}
      <button
        type="button"
        class="button button-main"
        onClick={() => {
          setError("");
          setOn(!on);
        }}
      >
        {t(on ? "scan.camera_stop" : "scan.camera")}
      </button>
      <form class="form" onSubmit={paste}>
        <label class="field">
          <span>{t("scan.paste")}</span>
          <input inputMode="url" value={link} onInput={(event) => setLink(event.currentTarget.value)} />
        </label>
        <p class="error" role="alert">{error}</p>
        <button type="submit" class="button button-quiet">{t("scan.paste_go")}</button>
      </form>
    </div>
  );
}

/** Looks at five pictures a second until one holds a login link of this server; `null` when aborted. */
async function scan(video: HTMLVideoElement, signal: AbortSignal): Promise<string | null> {
  // Loaded when it is wanted: it is most of the script. The package is CommonJS, hence the second `default`.
  const { default: { default: readQr } } = await import("jsqr");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  try {
    video.srcObject = stream;
    await video.play();
    while (!signal.aborted) {
      const { videoWidth: width, videoHeight: height } = video;
      if (width > 0) {
        canvas.width = width;
        canvas.height = height;
        context.drawImage(video, 0, 0);
        const found = readQr(context.getImageData(0, 0, width, height).data, width, height);
        const token = found === null ? null : tokenOf(found.data);
        if (token !== null) return token;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}
