import { EmojiPicker as Picker } from "frimousse";
import { useState, type ComponentProps } from "react";
import { useTranslation, type Language } from "../../lib/i18n";
import { getLocalItem, setLocalItem } from "../../lib/storage";
import styles from "./EmojiPicker.module.css";
import { loadEmojis } from "./emojiData";

const TONE_KEY = "city.emoji.tone";

type Tone = ComponentProps<typeof Picker.Root>["skinTone"] & string;

interface Props {
  onChoose: (emoji: string) => void;
}

/** All emojis by group, with a search in both languages and the reader's skin tone. It is loaded when it is first opened. */
export default function EmojiPicker({ onChoose }: Props) {
  const { t, language } = useTranslation();
  const [tone] = useState(() => getLocalItem(TONE_KEY) as Tone | null);
  return (
    <Picker.Root
      key={language}
      className={styles.picker}
      locale={language}
      columns={8}
      skinTone={tone ?? "none"}
      resolveEmojiData={(locale) => loadEmojis(locale as Language)}
      onEmojiSelect={({ emoji }) => onChoose(emoji)}
    >
      <div className={styles.head}>
        <Picker.Search
          // A button or a key opens the picker, and the focus follows.
          // eslint-disable-next-line jsx-a11y/no-autofocus
          autoFocus
          // Enter selects an emoji: it must not submit the form around the picker.
          form="none"
          className={styles.search}
          aria-label={t("emoji.search")}
          placeholder={t("emoji.search")}
        />
        <SkinTone />
      </div>
      <Picker.Viewport className={styles.viewport} tabIndex={-1}>
        <Picker.Loading className={styles.note}>{t("common.loading")}</Picker.Loading>
        <Picker.Empty className={styles.note}>{t("emoji.none")}</Picker.Empty>
        <Picker.List aria-label={t("emoji.all")} components={PARTS} />
      </Picker.Viewport>
    </Picker.Root>
  );
}

function SkinTone() {
  const { t } = useTranslation();
  return (
    <Picker.SkinTone emoji="✋">
      {({ skinTone, setSkinTone, skinToneVariations }) => {
        const at = skinToneVariations.findIndex((each) => each.skinTone === skinTone);
        const next = skinToneVariations[(at + 1) % skinToneVariations.length];
        return (
          <button
            type="button"
            className={styles.tone}
            aria-label={t("emoji.tone")}
            title={t("emoji.tone")}
            onClick={() => {
              if (!next) return;
              setLocalItem(TONE_KEY, next.skinTone);
              setSkinTone(next.skinTone);
            }}
          >
            {skinToneVariations[at]?.emoji}
          </button>
        );
      }}
    </Picker.SkinTone>
  );
}

const PARTS: NonNullable<ComponentProps<typeof Picker.List>["components"]> = {
  CategoryHeader: ({ category, ...rest }) => (
    <div className={styles.group} {...rest}>
      {category.label}
    </div>
  ),
  // The library counts rows and columns from 0, ARIA from 1. The library searches for rows by this number, but not for the first.
  Row: ({ children, ...rest }) => (
    <div className={styles.row} {...rest} aria-rowindex={rest["aria-rowindex"] === 0 ? undefined : rest["aria-rowindex"]}>
      {children}
    </div>
  ),
  Emoji: ({ emoji, ...rest }) => (
    <button
      type="button"
      className={styles.emoji}
      title={emoji.label}
      {...rest}
      {...{ "aria-colindex": (rest["aria-colindex"] ?? 0) + 1 }}
    >
      {emoji.emoji}
    </button>
  ),
};
