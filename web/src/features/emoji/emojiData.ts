import type { EmojiPicker } from "frimousse";
import type { ComponentProps } from "react";
import type { Language } from "../../lib/i18n";

type Resolve = NonNullable<ComponentProps<typeof EmojiPicker.Root>["resolveEmojiData"]>;
type EmojiData = Awaited<ReturnType<Resolve>>;

const TONES = ["light", "medium-light", "medium", "medium-dark", "dark"] as const;

/** The groups of emojibase; the second has components, which are not emojis by themselves. */
const GROUPS: Record<Language, Partial<Record<number, string>>> = {
  en: {
    0: "Smileys",
    1: "People",
    3: "Nature",
    4: "Food and drink",
    5: "Travel and places",
    6: "Activities",
    7: "Objects",
    8: "Symbols",
    9: "Flags",
  },
  uk: {
    0: "Смайлики",
    1: "Люди",
    3: "Природа",
    4: "Їжа та напої",
    5: "Подорожі та місця",
    6: "Дозвілля",
    7: "Предмети",
    8: "Символи",
    9: "Прапори",
  },
};
const TONE_NAMES: Record<Language, EmojiData["skinTones"]> = {
  en: {
    light: "light skin tone",
    "medium-light": "medium-light skin tone",
    medium: "medium skin tone",
    "medium-dark": "medium-dark skin tone",
    dark: "dark skin tone",
  },
  uk: {
    light: "світлий тон шкіри",
    "medium-light": "помірно світлий тон шкіри",
    medium: "середній тон шкіри",
    "medium-dark": "помірно темний тон шкіри",
    dark: "темний тон шкіри",
  },
};

/** A row of `emojis.json`: emoji, shortcodes, Ukrainian name, group, keywords in both languages, skin tones. */
export type EmojiRow = readonly [string, string, string, number, string, string?];

/** Load the emojis with names in one language; names, shortcodes and keywords of both languages find them. */
export async function loadEmojis(language: Language): Promise<EmojiData> {
  const { default: rows } = await import("../../lib/emojis.json");
  return emojiData(rows as unknown as readonly EmojiRow[], language);
}

export function emojiData(rows: readonly EmojiRow[], language: Language): EmojiData {
  const names = new Set<string>();
  return {
    locale: language,
    emojis: rows.map(([emoji, codes, ukrainian, category, keywords, tones]) => {
      const english = codes.split(" ")[0]?.replaceAll("_", " ") ?? "";
      const name = language === "uk" && ukrainian ? ukrainian : english;
      // The picker distinguishes the emojis of a row by their names.
      const label = names.has(name) ? `${name} ${emoji}` : name;
      names.add(label);
      return {
        emoji,
        category,
        label,
        version: 0,
        tags: [english, ukrainian, ...codes.split(" "), keywords],
        ...(tones ? { skins: skinsOf(tones) } : {}),
      };
    }),
    categories: Object.entries(GROUPS[language]).map(([index, label]) => ({ index: Number(index), label: label ?? "" })),
    skinTones: TONE_NAMES[language],
  };
}

function skinsOf(tones: string): EmojiData["skinTones"] {
  const emojis = tones.split(" ");
  return Object.fromEntries(TONES.map((tone, index) => [tone, emojis[index] ?? ""])) as EmojiData["skinTones"];
}
