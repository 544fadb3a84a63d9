import { city } from "../api/city";
import type { Language } from "./i18n";
import { setLocalItem } from "./storage";
import { PUSH_KEY } from "./notifications";

/*
 * Web Push: the subscription of this browser at its push service, and in the city. Loaded on demand: notifications.ts has the
 * checks that come first.
 */

/**
 * Subscribe this browser for the citizen who is signed in, or send its subscription again. Returns whether it is subscribed.
 *
 * A subscription for another key of the city is replaced. Raises Problem, and DOMException if the browser refuses.
 */
export async function subscribeToPush(language: Language): Promise<boolean> {
  const { public_key: key } = await city.pushKey();
  if (key === null) return false;
  const { pushManager } = await readyWorker();
  let subscription = await pushManager.getSubscription();
  if (subscription && !hasKey(subscription, key)) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { endpoint, keys } = subscription.toJSON();
  await city.subscribeToPush({
    endpoint: endpoint ?? "",
    keys: { p256dh: keys?.p256dh ?? "", auth: keys?.auth ?? "" },
    language,
  });
  setLocalItem(PUSH_KEY, "on");
  return true;
}

/** End the subscription of this browser. `token`: that of the citizen who signs out. */
export async function unsubscribeFromPush(token?: string): Promise<void> {
  setLocalItem(PUSH_KEY, null);
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  if (!subscription) return;
  // If the city cannot be reached, it learns from the push service that the subscription is gone.
  await Promise.allSettled([city.unsubscribeFromPush(subscription.endpoint, token), subscription.unsubscribe()]);
}

/** Register the service worker now: the page does so some seconds after its start. */
async function readyWorker(): Promise<ServiceWorkerRegistration> {
  await navigator.serviceWorker.register("/service-worker.js");
  return navigator.serviceWorker.ready;
}

function hasKey({ options }: PushSubscription, key: string): boolean {
  const octets = new Uint8Array(options.applicationServerKey ?? new ArrayBuffer(0));
  const text = btoa(String.fromCharCode(...octets));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") === key;
}
