import { getLocalItem, setLocalItem } from "./storage";

const KEY = "city.notifications";
export const PUSH_KEY = "city.push";

/** Whether the browser has notifications: frames and old browsers have none. */
export function hasNotifications(): boolean {
  return "Notification" in globalThis;
}

/** Whether the reader wants notifications and the browser shows them. */
export function mayNotify(): boolean {
  return hasNotifications() && getLocalItem(KEY) === "on" && Notification.permission === "granted";
}

/** Whether the browser can receive pushes while no page is open: not in a frame, and not on plain HTTP. */
export function hasPush(): boolean {
  return "PushManager" in globalThis && "serviceWorker" in navigator && window.top === window;
}

/** Whether the reader wants pushes in this browser. */
export function wantsPush(): boolean {
  return hasPush() && getLocalItem(PUSH_KEY) === "on";
}

/** Ask the browser for permission, which asks the reader. Returns whether notifications are shown from now on. */
export async function allowNotifications(isWanted: boolean): Promise<boolean> {
  setLocalItem(KEY, isWanted ? "on" : null);
  if (isWanted && Notification.permission === "default") await Notification.requestPermission();
  return mayNotify();
}
