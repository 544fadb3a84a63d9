/** Milliseconds after the start: what the page itself needs is loaded first. */
const REGISTER_AFTER_MS = 3_000;

/**
 * Have the service worker open the pages without a network, too.
 *
 * Silent where there can be none: on plain HTTP (localhost excepted), in private windows, in `npm run dev`. A widget inside a Matrix
 * client registers none: storage is partitioned or blocked in frames of other sites, and the client is what a reload loads.
 */
export function registerServiceWorker(): void {
  if (import.meta.env.DEV || window.top !== window || !("serviceWorker" in navigator)) return;
  setTimeout(() => {
    navigator.serviceWorker.register("/service-worker.js").catch(() => undefined);
  }, REGISTER_AFTER_MS);
}
