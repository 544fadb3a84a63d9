import { setLocalItem, getLocalItem } from "./storage";

export type Theme = "system" | "light" | "dark";

/** `--paper` of styles/tokens.css: the colour of a phone's bars around the page. */
const PAPER = { light: "#f8f2e6", dark: "#131b26" } as const;

/** early.js reads it before the first paint. */
const KEY = "city.theme";

export function chosenTheme(): Theme {
  const chosen = getLocalItem(KEY);
  return chosen === "light" || chosen === "dark" ? chosen : "system";
}

export function chooseTheme(theme: Theme): void {
  setLocalItem(KEY, theme === "system" ? null : theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const meta of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) {
    const own = meta.media.includes("dark") ? "dark" : "light";
    meta.content = PAPER[theme === "system" ? own : theme];
  }
}
