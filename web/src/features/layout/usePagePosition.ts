import { useEffect, useLayoutEffect, useRef, type RefObject } from "react";
import { useLocation } from "react-router";
import { pagePlaces } from "../../lib/entryStores";

const BY_READER = ["wheel", "touchmove", "pointerdown", "keydown"] as const;

/**
 * Scroll to the beginning of a page after a navigation, and to where the reader left the page after Back, Forward or a reload.
 *
 * Either the document or `main` scrolls, depending on the width of the window. What is loaded later makes a page longer, so the
 * position is set again until the page is long enough or the reader scrolls.
 */
export function usePagePosition(main: RefObject<HTMLElement | null>): void {
  const { key: name, pathname } = useLocation();
  const shown = useRef<string | null>(null);
  const top = useRef(0);
  useEffect(() => {
    // The browser's own position would come before the page is rendered.
    history.scrollRestoration = "manual";
  }, []);
  useLayoutEffect(() => {
    const page = main.current;
    if (!page) return undefined;
    const read = () => page.scrollTop + scrollY;
    // Another entry of the same page, as with a thread beside it, stays where it is.
    let wanted = pagePlaces.get(name) ?? (shown.current === pathname ? read() : 0);
    shown.current = pathname;
    const restore = () => {
      page.scrollTo(0, wanted);
      scrollTo(0, wanted);
      if (read() >= wanted - 1) end();
    };
    const sizes = new ResizeObserver(restore);
    const observe = () => {
      for (const each of [page, ...page.children]) sizes.observe(each);
    };
    const parts = new MutationObserver(observe);
    const end = () => {
      wanted = 0;
      sizes.disconnect();
      parts.disconnect();
    };
    const remember = ({ target }: Event) => {
      if (wanted === 0 && (target === page || target === document)) top.current = read();
    };
    const store = () => pagePlaces.set(name, wanted || top.current);
    observe();
    parts.observe(page, { childList: true });
    restore();
    top.current = read();
    for (const event of BY_READER) addEventListener(event, end, { passive: true });
    addEventListener("scroll", remember, { capture: true, passive: true });
    addEventListener("pagehide", store);
    return () => {
      store();
      end();
      for (const event of BY_READER) removeEventListener(event, end);
      removeEventListener("scroll", remember, { capture: true });
      removeEventListener("pagehide", store);
    };
  }, [main, name, pathname]);
}
