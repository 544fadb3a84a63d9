import { useState } from "react";
import { IconButton } from "../../components/ui/Button";
import { Menu } from "../../components/ui/Menu";
import { LANGUAGES, setLanguage, useTranslation, type Language } from "../../lib/i18n";
import { chooseTheme, chosenTheme, type Theme } from "../../lib/theme";
import styles from "./Preferences.module.css";

const THEMES: Theme[] = ["system", "light", "dark"];

/** Appearance and language. */
export function Preferences() {
  const { t, language } = useTranslation();
  const [theme, setTheme] = useState(chosenTheme);
  return (
    <Menu label={t("settings.open")} button={(open) => <IconButton icon="gear" label={t("settings.open")} {...open} />}>
      {() => (
        <>
          <Choices
            legend={t("language.label")}
            choices={Object.entries(LANGUAGES).map(([value, words]) => ({ value, words, lang: value }))}
            chosen={language}
            onChoose={(value) => void setLanguage(value as Language)}
          />
          <Choices
            legend={t("theme.label")}
            choices={THEMES.map((value) => ({ value, words: t(`theme.${value}`) }))}
            chosen={theme}
            onChoose={(value) => {
              setTheme(value as Theme);
              chooseTheme(value as Theme);
            }}
          />
        </>
      )}
    </Menu>
  );
}

interface ChoicesProps {
  legend: string;
  choices: { value: string; words: string; lang?: string }[];
  chosen: string;
  onChoose: (value: string) => void;
}

function Choices({ legend, choices, chosen, onChoose }: ChoicesProps) {
  return (
    <fieldset className={styles.group}>
      <legend>{legend}</legend>
      {choices.map(({ value, words, lang }) => (
        <label key={value} className={styles.choice} lang={lang}>
          <input type="radio" name={legend} value={value} checked={value === chosen} onChange={() => onChoose(value)} />
          {words}
        </label>
      ))}
    </fieldset>
  );
}
