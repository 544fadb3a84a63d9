import { useEffect } from "react";

/** A virtual keyboard covers at least this much; the bars of the browser cover less. */
const KEYBOARD_PX = 120;

/**
 * Set `--shown-height` to the height that is left while a virtual keyboard covers a part of the page.
 *
 * `interactive-widget=resizes-content` does that in browsers that support it; Safari on iOS does not.
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
      // The browser has scrolled the page to show the field, which is in view by itself now.
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
