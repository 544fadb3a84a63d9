import { startTransition, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { Router, UNSAFE_createBrowserHistory as createBrowserHistory, type Navigator } from "react-router";
import { ensureEntryKey } from "../lib/entryKeys";
import { overlayEntries } from "../lib/overlayEntries";

interface Props {
  /** Whether navigations and open overlays have history entries. Those of a frame have none: its history is that of the site. */
  hasEntries: boolean;
  children: ReactNode;
}

/**
 * The `BrowserRouter` of react-router, with three additions: navigations begin at the entry of the page instead of that of an
 * overlay, a second click on a link or "close" does nothing more than the first, and each entry has its own key.
 */
export function PageRouter({ hasEntries, children }: Props) {
  const [history] = useState(() => {
    ensureEntryKey(window.history);
    return createBrowserHistory({ v5Compat: true });
  });
  const [{ action, location }, setState] = useState({ action: history.action, location: history.location });
  /** Whether the rendered page is being left by `go`, which takes a while. */
  const isLeaving = useRef(false);
  useLayoutEffect(() => {
    isLeaving.current = false;
  }, [location]);
  const [navigator] = useState<Navigator>(() => ({
    createHref: (to) => history.createHref(to),
    encodeLocation: (to) => history.encodeLocation(to),
    go: (delta) =>
      overlayEntries.navigate(() => {
        if (isLeaving.current) return;
        isLeaving.current = true;
        history.go(delta);
      }),
    push: (to, state) =>
      overlayEntries.navigate(() => {
        // As browsers do for links: the second click of a double click comes before the page is rendered.
        const isHere = history.createURL(to).href === window.location.href;
        history[isHere || !hasEntries ? "replace" : "push"](to, state);
      }),
    replace: (to, state) => overlayEntries.navigate(() => history.replace(to, state)),
  }));
  useLayoutEffect(() => {
    // The entry of a link within the page, such as that to the content, has no key. To be added before the listener of the router.
    const onEntry = () => ensureEntryKey(window.history);
    addEventListener("popstate", onEntry);
    return () => removeEventListener("popstate", onEntry);
  }, []);
  useLayoutEffect(() => {
    const stop = history.listen((next) => startTransition(() => setState(next)));
    if (!hasEntries) return stop;
    // Added after the listener of the router, which must see the event before a navigation that waits for it.
    const onPopState = () => overlayEntries.onPopState();
    addEventListener("popstate", onPopState);
    overlayEntries.start(window.history);
    return () => {
      stop();
      removeEventListener("popstate", onPopState);
    };
  }, [history, hasEntries]);
  return (
    <Router navigator={navigator} location={location} navigationType={action}>
      {children}
    </Router>
  );
}
