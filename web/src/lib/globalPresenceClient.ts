import type { Cancel } from "./clock";
import { newId } from "./ids";
import { sendOffline } from "./offlineBeacon";
import { PresenceConnection, type PresenceHandlers } from "./presence";
import { socketEnvironment } from "./socketEnvironment";

const subscribers = new Set<Partial<PresenceHandlers>>();

/** Call these functions for each event of the presence connection. Returns a function that stops it. */
export function subscribeToPresence(subscriber: Partial<PresenceHandlers>): Cancel {
  subscribers.add(subscriber);
  return () => void subscribers.delete(subscriber);
}

/** Handlers that call all subscribers. */
export const presenceEvents: PresenceHandlers = {
  onSnapshot: (users) => subscribers.forEach((each) => each.onSnapshot?.(users)),
  onUpdates: (users) => subscribers.forEach((each) => each.onUpdates?.(users)),
  onRooms: (news) => subscribers.forEach((each) => each.onRooms?.(news)),
  onUnreadSnapshot: (rooms) => subscribers.forEach((each) => each.onUnreadSnapshot?.(rooms)),
  onUnread: (rooms) => subscribers.forEach((each) => each.onUnread?.(rooms)),
  onConnectionState: (state) => subscribers.forEach((each) => each.onConnectionState?.(state)),
  onTokenRejected: (token) => subscribers.forEach((each) => each.onTokenRejected?.(token)),
  onPageLeft: ({ token }, sessionId) => sendOffline(token, sessionId),
};

/** The page's one presence connection. Its session id is that of the page: a duplicated tab has another one. */
export const globalPresenceClient = new PresenceConnection(socketEnvironment, presenceEvents, newId());
