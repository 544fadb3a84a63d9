import { useEffect } from "react";

/** A keyboard covers at least this much; less are the bars of the browser. */
const KEYBOARD_PX = 120;

/**
 * While a virtual keyboard covers a part of the page, `--shown-height` is the height of the rest.
 *
 * `interactive-widget=resizes-content` does that by itself where browsers know it; Safari on iOS does not.
 */
export function useShownHeight(): void {
  useEffect(() => {
    const viewport = window.visualViewport;
    if (!viewport) return undefined;
    const { style } = document.documentElement;
    const measure = () => {
      const isCovered = viewport.scale === 1 && innerHeight - viewport.height > KEYBOARD_PX;
      if (!isCovered) return void style.removeProperty("--shown-height");
      style.setProperty("--shown-height", `${Math.round(viewport.height)}px`);
      // The browser has moved the page to show the field, which is in sight now by itself.
      scrollTo(0, 0);
    };
    measure();
    viewport.addEventListener("resize", measure);
    return () => {
      viewport.removeEventListener("resize", measure);
      style.removeProperty("--shown-height");
    };
  }, []);
}
