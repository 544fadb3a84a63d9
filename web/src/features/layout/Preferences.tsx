import { useState } from "react";
import { IconButton } from "../../components/ui/Button";
import { Choices } from "../../components/ui/Choices";
import { Menu } from "../../components/ui/Menu";
import { LANGUAGES, setLanguage, useTranslation, type Language } from "../../lib/i18n";
import { useSite } from "../../hooks/useSite";
import { useLinkPreviews } from "../../stores/linkPreviews";
import { chooseTheme, chosenTheme, type Theme } from "../../lib/theme";

const THEMES: Theme[] = ["system", "light", "dark"];

const SWITCH = ["on", "off"] as const;

/** The menu of settings: appearance, language and link previews. */
export function Preferences() {
  const { t, language } = useTranslation();
  const [theme, setTheme] = useState(chosenTheme);
  const hasPreviews = useSite().url_previews;
  const { isOn, choose } = useLinkPreviews();
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
          {hasPreviews && (
            <Choices
              legend={t("linkPreviews.label")}
              choices={SWITCH.map((value) => ({ value, words: t(`linkPreviews.${value}`) }))}
              chosen={isOn ? "on" : "off"}
              onChoose={(value) => choose(value === "on")}
            />
          )}
        </>
      )}
    </Menu>
  );
}
