import type { Theme } from "../../lib/theme";

/** The parameters in the URL of an embedded chat, which `widget.js` on the page around it writes. */
export interface EmbedParameters {
  /** The origin of the page around the frame; null if no `widget.js` opened it. */
  hostOrigin: string | null;
  theme: Theme;
  language: string | null;
  /** A `#` and six hexadecimal digits. */
  accent: string | null;
}

export function embedParameters(href: string): EmbedParameters {
  const { searchParams } = new URL(href);
  const [host, theme, accent] = [searchParams.get("host"), searchParams.get("theme"), searchParams.get("accent")];
  return {
    hostOrigin: host !== null && URL.canParse(host) ? new URL(host).origin : null,
    theme: theme === "light" || theme === "dark" ? theme : "system",
    language: searchParams.get("lang"),
    accent: accent !== null && /^#?[0-9a-f]{6}$/i.test(accent) ? `#${accent.replace("#", "")}` : null,
  };
}

/** The constant that the contrast ratio adds to each relative luminance (WCAG 2.2). */
const FLARE = 0.05;

/** The colour of text on `accent`: black or white, whichever has the higher contrast. */
export function textOn(accent: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = parseInt(accent.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (1 + FLARE) / (luminance + FLARE) >= (luminance + FLARE) / FLARE ? "#ffffff" : "#000000";
}

/** Set the accent colour of the pages. Text in that colour stays readable, as it is mixed with the colour of text. */
export function applyAccent(accent: string): void {
  const { style } = document.documentElement;
  style.setProperty("--clay", accent);
  style.setProperty("--on-clay", textOn(accent));
  style.setProperty("--clay-deep", `color-mix(in oklab, ${accent} 55%, var(--ink))`);
  style.setProperty("--clay-wash", `color-mix(in oklab, ${accent} 14%, var(--surface))`);
}
