import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { LiveQueries, LOST_MS, SAFETY_MS } from "../api/liveQueries";
import { queries } from "../api/queries";
import { pageClock } from "../lib/clock";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import { usePresence } from "../stores/presence";

const LIVE_KEYS = [queries.home.queryKey, ["rooms"]];

/** Keeps what the pages show of rooms up to date: by events, and by reading it again seldom, or after a connection was lost. */
export function useLiveQueries(): void {
  const queryClient = useQueryClient();
  const isLive = usePresence(({ link }) => link === "live");
  const wasLive = useRef(false);
  const live = useMemo(() => new LiveQueries(queryClient, pageClock), [queryClient]);

  useEffect(() => {
    const stop = subscribeToPresence({ rooms: (updates) => live.take(updates) });
    return () => {
      stop();
      live.stop();
    };
  }, [live]);

  useEffect(() => {
    // What is shown may be out of date after the connection was away, and what was read before it was there at first.
    if (isLive && wasLive.current) void queryClient.invalidateQueries();
    else if (isLive) void readAgain();
    wasLive.current ||= isLive;
    const cancel = pageClock.every(isLive ? SAFETY_MS : LOST_MS, () => {
      // React Query reads it when the page is looked at again.
      if (document.visibilityState !== "hidden") void readAgain();
    });
    return cancel;

    function readAgain() {
      return Promise.all(LIVE_KEYS.map((queryKey) => queryClient.invalidateQueries({ queryKey })));
    }
  }, [isLive, queryClient]);
}
