import { language, LANGUAGES, setLanguage, t } from "../i18n.ts";

/** The hearth: an arch with a flame in it. */
export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 64 64" aria-hidden="true">
      <rect class="logo-stone" width="64" height="64" rx="16" />
      <path class="logo-arch" d="M14 50V32a18 18 0 0 1 36 0v18" />
      <path
        class="logo-flame"
        d="M32.6 25c1.4 6.2 9 9.6 9 17a9.6 9.6 0 0 1-19.2 0c0-4 2.2-6.2 3.8-8.600.8 2 1.8 3 3.2 3.600-.6-4.800.6-9 3.200-12z"
      />
    </svg>
  );
}

/** The logo with the name; it leads to the chats. */
export function Brand() {
  return (
    <a class="brand" href="/">
      <Logo />
      <span>Hearth</span>
    </a>
  );
}

/** English or Chinese. */
export function LanguageSwitch() {
  return (
    <div class="language" role="group" aria-label={t("language.label")}>
      {LANGUAGES.map((one) => (
        <button
          key={one.language}
          type="button"
          lang={one.language}
          aria-pressed={language.value === one.language}
          onClick={() => setLanguage(one.language)}
        >
          {one.name}
        </button>
      ))}
    </div>
  );
}
