/** Milliseconds after the start, so that the page loads its own parts first. */
const REGISTER_AFTER_MS = 3_000;

/**
 * Register the service worker, which opens the pages without a network, too.
 *
 * Does nothing where there is none: on plain HTTP (except localhost), in private windows, in `npm run dev`. A widget inside a
 * Matrix client registers none: storage is partitioned or blocked in frames of other sites, and a reload loads the client.
 */
export function registerServiceWorker(): void {
  if (import.meta.env.DEV || window.top !== window || !("serviceWorker" in navigator)) return;
  setTimeout(() => {
    navigator.serviceWorker.register("/service-worker.js").catch(() => undefined);
  }, REGISTER_AFTER_MS);
}
