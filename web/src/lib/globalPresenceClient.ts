import type { Cancel } from "./clock";
import { newId } from "./ids";
import { sendOffline } from "./offlineBeacon";
import { CityPresence, type PresenceSink } from "./presence";
import { socketWorld } from "./socketWorld";

const subscribers = new Set<Partial<PresenceSink>>();

/** Call these functions for each event of the presence connection. Returns the function that ends the subscription. */
export function subscribeToPresence(subscriber: Partial<PresenceSink>): Cancel {
  subscribers.add(subscriber);
  return () => void subscribers.delete(subscriber);
}

/** Calls the subscribers. */
export const presenceEvents: PresenceSink = {
  snapshot: (users) => subscribers.forEach((each) => each.snapshot?.(users)),
  updates: (users) => subscribers.forEach((each) => each.updates?.(users)),
  rooms: (news) => subscribers.forEach((each) => each.rooms?.(news)),
  link: (state) => subscribers.forEach((each) => each.link?.(state)),
  refused: (token) => subscribers.forEach((each) => each.refused?.(token)),
  left: ({ token }, sessionId) => sendOffline(token, sessionId),
};

/** The page's one presence connection. Its session is the page's: a duplicated tab is another one. */
export const globalPresenceClient = new CityPresence(socketWorld, presenceEvents, newId());
