import { plainName } from "./names";
import { isAnyTabShown } from "./shownTabs";

interface Message {
  title: string;
  body: string;
  /** A notification replaces an older one with the same tag. */
  tag: string;
  /** The path of the message, which a click opens. */
  path: string;
}

/**
 * Show a notification, unless another tab of the pages is visible: its reader sees the new count there.
 *
 * It is shown by the service worker, which opens the message on a click. Without a worker the page shows it, and calls
 * `onClick`. Chrome on Android refuses the notifications of pages. Loaded on demand.
 */
export async function showNotification({ title, body, tag, path }: Message, onClick: () => void): Promise<void> {
  if (await isAnyTabShown()) return;
  const options = { body, tag, icon: "/icons/icon-192.png", data: path };
  const registration = await serviceWorker();
  if (registration) await registration.showNotification(plainName(title), options);
  else showByPage(plainName(title), options, onClick);
}

/** A registration with an active worker; undefined on plain HTTP, in a frame, and before the worker is installed. */
async function serviceWorker(): Promise<ServiceWorkerRegistration | undefined> {
  if (!("serviceWorker" in navigator)) return undefined;
  const registration = await navigator.serviceWorker.getRegistration().catch(() => undefined);
  return registration?.active ? registration : undefined;
}

function showByPage(title: string, options: NotificationOptions, onClick: () => void): void {
  const shown = new Notification(title, options);
  shown.onclick = () => {
    focus();
    onClick();
    shown.close();
  };
}
