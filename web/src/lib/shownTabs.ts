const LOCK = "city.shown";

/**
 * Hold a lock while this tab is visible, so that hidden ones know of it. To be called once.
 *
 * Browsers have locks where they have notifications: on HTTPS and on localhost.
 */
export function reportShown(): void {
  if (!("locks" in navigator)) return;
  let hide: (() => void) | null = null;
  const follow = () => {
    const isVisible = document.visibilityState === "visible";
    if (isVisible === (hide !== null)) return;
    hide?.();
    hide = null;
    if (!isVisible) return;
    const untilHidden = new Promise<void>((resolve) => (hide = resolve));
    navigator.locks.request(LOCK, { mode: "shared" }, () => untilHidden).catch(() => undefined);
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

/** Whether any tab of the pages is visible, such as one of two windows side by side. */
export async function isAnyTabShown(): Promise<boolean> {
  if (!("locks" in navigator)) return document.visibilityState === "visible";
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name }) => name === LOCK);
}
