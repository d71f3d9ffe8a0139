import { t } from "../i18n.ts";

/** The picture beside the login: two bubbles by the fire. */
export function HearthScene() {
  return (
    <div class="scene">
      <svg viewBox="0 0 420 340" aria-hidden="true">
        <ellipse class="scene-glow" cx="210" cy="268" rx="190" ry="62" />
        <path class="scene-wall" d="M96 286V170a114 114 0 0 1 228 0v116z" />
        <path class="scene-inside" d="M124 286V172a86 86 0 0 1 172 0v114z" />
        <path class="scene-log" d="M158 278l104-18M158 260l104 18" />
        <path
          class="scene-flame"
          d="M212 128c8 36 46 52 46 92a47 47 0 0 1-94 0c0-22 12-33 20-46 4 11 9 16 17 19-4-26 1-48 11-65z"
        />
        <path
          class="scene-heart"
          d="M212 184c4 19 23 27 23 46a23 23 0 0 1-46 0c0-11 6-16 10-22 2 5 4 8 8 9-1-13 1-24 5-33z"
        />
        <path class="scene-floor" d="M48 288h324" />
        <path
          class="scene-left"
          d="M34 92a14 14 0 0 1 14-14h76a14 14 0 0 1 14 14v24a14 14 0 0 1-14 14H66l-18 16v-16a14 14 0 0 1-14-14z"
        />
        <path class="scene-line" d="M54 98h62M54 112h40" />
        <path
          class="scene-right"
          d="M288 52a14 14 0 0 1 14-14h72a14 14 0 0 1 14 14v22a14 14 0 0 1-14 14v16l-18-16h-54a14 14 0 0 1-14-14z"
        />
        <path class="scene-line" d="M308 58h58M308 71h30" />
      </svg>
      <p>{t("app.tagline")}</p>
    </div>
  );
}
