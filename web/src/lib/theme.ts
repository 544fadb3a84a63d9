import { keep, kept } from "./storage";

export type Theme = "system" | "light" | "dark";

/** Read by theme.js, too, before the first paint. */
const KEY = "city.theme";

export function chosenTheme(): Theme {
  const chosen = kept(KEY);
  return chosen === "light" || chosen === "dark" ? chosen : "system";
}

export function chooseTheme(theme: Theme): void {
  keep(KEY, theme === "system" ? null : theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
