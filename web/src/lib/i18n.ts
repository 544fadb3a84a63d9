import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import type uk from "../i18n/uk";
import { isolated } from "./names";
import { setLocalItem, getLocalItem } from "./storage";

export const LANGUAGES = { uk: "Українська", en: "English" } as const;
export type Language = keyof typeof LANGUAGES;

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof uk };
    returnNull: false;
  }
}

const KEY = "city.language";
const FALLBACK: Language = "en";

/** Each language is a file of its own: nobody loads words that they do not read. */
const TRANSLATIONS: Record<Language, () => Promise<{ default: object }>> = {
  uk: () => import("../i18n/uk"),
  en: () => import("../i18n/en"),
};

/** What was chosen, else the first of the browser's languages that the pages speak. */
export function preferredLanguage(chosen: string | null, browser: readonly string[]): Language {
  const wanted = [chosen ?? "", ...browser].map((tag) => tag.toLowerCase().split("-")[0] ?? "");
  return wanted.find((tag): tag is Language => tag in TRANSLATIONS) ?? FALLBACK;
}

export async function initI18n(): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: FALLBACK,
    resources: {},
    // React escapes; what is left to do is that a name does not reorder the sentence around it.
    interpolation: { escapeValue: true, escape: isolated },
    react: { useSuspense: false },
  });
  await applyLanguage(preferredLanguage(getLocalItem(KEY), navigator.languages));
}

export async function setLanguage(language: Language): Promise<void> {
  setLocalItem(KEY, language);
  await applyLanguage(language);
}

async function applyLanguage(language: Language): Promise<void> {
  const words = await TRANSLATIONS[language]();
  i18next.addResourceBundle(language, "translation", words.default, true, true);
  await i18next.changeLanguage(language);
  document.documentElement.lang = language;
}
