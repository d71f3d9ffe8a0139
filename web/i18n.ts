/** Every text of the page, in English and Chinese. `zh` must have the keys of `en` to compile. */
import { computed, signal } from "@preact/signals";
import { en, type TextKey } from "./i18n_en.ts";
import { zh } from "./i18n_zh.ts";
import { recall, remember } from "./state/storage.ts";

export type { TextKey };
export type Language = "en" | "zh";

export const LANGUAGES: readonly { readonly language: Language; readonly name: string }[] = [
  { language: "en", name: "English" },
  { language: "zh", name: "中文" },
];

export const TEXTS: Readonly<Record<Language, Readonly<Record<TextKey, string>>>> = { en, zh };

const STORED_AT = "hearth.language";

function firstLanguage(): Language {
  const stored = recall(STORED_AT);
  if (stored === "en" || stored === "zh") return stored;
  return globalThis.navigator?.language?.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The page's language; views that read a text are drawn again when it changes. */
export const language = signal<Language>(firstLanguage());

/** For `Intl` and the `lang` attribute. */
export const locale = computed(() => language.value === "zh" ? "zh-CN" : "en");

/** Changes the language and remembers it. */
export function setLanguage(next: Language): void {
  language.value = next;
  remember(STORED_AT, next);
}

/** The text for a key, `{name}` replaced by `values.name`. */
export function t(key: TextKey, values?: Readonly<Record<string, string | number>>): string {
  const text = TEXTS[language.value][key];
  return values === undefined
    ? text
    : text.replaceAll(/\{(\w+)\}/g, (hole, name) => String(values[name] ?? hole));
}
