import { useSyncExternalStore } from "react";

const MINUTE_MS = 60_000;

/** The time to the minute, in milliseconds since the epoch, updated so that "5 minutes ago" stays true. */
export function useNow(): number {
  return useSyncExternalStore(everyMinute, () => Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS + MINUTE_MS);
}

function everyMinute(changed: () => void): () => void {
  const timer = setInterval(changed, MINUTE_MS / 4);
  return () => clearInterval(timer);
}
