import { useSyncExternalStore } from "react";
import type uk from "../i18n/uk";
import { isolated } from "./names";
import { getLocalItem, setLocalItem } from "./storage";

/*
 * Translations of the pages. The module replaces an i18n library, as it has the parts that the pages need (nested keys, plural
 * forms, interpolation) in 1 kB instead of 18 kB of the first load.
 */

export const LANGUAGES = { uk: "Українська", en: "English" } as const;
export type Language = keyof typeof LANGUAGES;

/** `votes` for the keys `votes_one`, `votes_few`, `votes_many` and `votes_other`. */
type WithoutPluralForm<Key extends string> = Key extends `${infer Base}_${Intl.LDMLPluralRule}` ? Base : Key;

/** The keys of texts of a type, as paths: `room.votes`. */
type Paths<Texts, Text> = {
  [Key in keyof Texts & string]: Texts[Key] extends Text
    ? WithoutPluralForm<Key>
    : Texts[Key] extends string | readonly string[]
      ? never
      : `${Key}.${Paths<Texts[Key], Text>}`;
}[keyof Texts & string];

export type TextKey = Paths<typeof uk, string>;
type ListKey = Paths<typeof uk, readonly string[]>;

type Values = Readonly<Record<string, string | number>>;

/** The texts in one language. A change of the language makes another translator, so components render again. */
export interface Translator {
  language: Language;
  /** The text of `key` with `values` instead of `{{name}}`; `values.count` selects the plural form. */
  t: (key: TextKey, values?: Values) => string;
  list: (key: ListKey) => readonly string[];
  has: (key: string) => key is TextKey;
}

export function createTranslator(language: Language, texts: object): Translator {
  const pluralRules = new Intl.PluralRules(language);
  const find = (key: string): unknown =>
    key.split(".").reduce<unknown>((group, name) => (group as Record<string, unknown> | undefined)?.[name], texts);
  const findForm = (key: string, count: unknown): unknown =>
    (typeof count === "number" ? find(`${key}_${pluralRules.select(count)}`) : undefined) ?? find(key);
  return {
    language,
    t: (key, values = {}) => {
      const text = findForm(key, values.count);
      return typeof text === "string" ? interpolate(text, values) : key;
    },
    list: (key) => (find(key) ?? []) as readonly string[],
    has: (key): key is TextKey => typeof find(key) === "string",
  };
}

/** React escapes values; here they are isolated, so that a right-to-left name does not reorder the sentence around it. */
function interpolate(text: string, values: Values): string {
  return text.replace(/\{\{(\w+)\}\}/g, (_placeholder, name: string) => isolated(String(values[name] ?? "")));
}

const LANGUAGE_KEY = "city.language";
const FALLBACK: Language = "en";

/** Each language is loaded as a chunk of its own. */
const TRANSLATIONS: Record<Language, () => Promise<{ default: object }>> = {
  uk: () => import("../i18n/uk"),
  en: () => import("../i18n/en"),
};

let translator = createTranslator(FALLBACK, {});
const listeners = new Set<() => void>();

/** The translator of the current language. */
export function useTranslation(): Translator {
  return useSyncExternalStore(subscribe, () => translator);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Show the pages in the language of `next`. */
export function setTranslator(next: Translator): void {
  translator = next;
  document.documentElement.lang = next.language;
  for (const listener of listeners) listener();
}

/** The language that the reader chose, else the first of the browser's languages that has a translation. */
export function preferredLanguage(chosen: string | null, browser: readonly string[]): Language {
  const wanted = [chosen ?? "", ...browser].map((tag) => tag.toLowerCase().split("-")[0] ?? "");
  return wanted.find((tag): tag is Language => tag in TRANSLATIONS) ?? FALLBACK;
}

/** Load the language that the URL `asks` for, else the preferred one, before the first render. */
export async function initI18n(asks: string | null = null): Promise<void> {
  await loadLanguage(preferredLanguage(asks ?? getLocalItem(LANGUAGE_KEY), navigator.languages));
}

/** Store the reader's choice and show the pages in that language. */
export async function setLanguage(language: Language): Promise<void> {
  setLocalItem(LANGUAGE_KEY, language);
  await loadLanguage(language);
}

async function loadLanguage(language: Language): Promise<void> {
  const { default: texts } = await TRANSLATIONS[language]();
  setTranslator(createTranslator(language, texts));
}
