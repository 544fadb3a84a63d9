import type { Theme } from "../../lib/theme";

/** What the address of an embedded chat says about the page around it; `widget.js` writes it. */
export interface EmbedParameters {
  /** The origin of the page around the frame; null where no `widget.js` opened it. */
  hostOrigin: string | null;
  theme: Theme;
  language: string | null;
  /** Six hexadecimal digits behind a `#`. */
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

/** What the definition of contrast adds to each relative luminance (WCAG 2.2). */
const FLARE = 0.05;

/** The colour of text on `accent`, of the two that the pages have: the one with the higher contrast. */
export function textOn(accent: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = parseInt(accent.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (1 + FLARE) / (luminance + FLARE) >= (luminance + FLARE) / FLARE ? "#ffffff" : "#000000";
}

/** Colour the pages by the accent; text in that colour stays readable, as it is mixed with the colour of text. */
export function applyAccent(accent: string): void {
  const { style } = document.documentElement;
  style.setProperty("--clay", accent);
  style.setProperty("--on-clay", textOn(accent));
  style.setProperty("--clay-deep", `color-mix(in oklab, ${accent} 55%, var(--ink))`);
  style.setProperty("--clay-wash", `color-mix(in oklab, ${accent} 14%, var(--surface))`);
}
