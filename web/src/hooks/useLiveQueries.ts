import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { city } from "../api/city";
import { LiveQueries, POLL_MS, REFETCH_MS } from "../api/liveQueries";
import { queries } from "../api/queries";
import { pageClock } from "../lib/clock";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import { usePresence, watchedSubjects } from "../stores/presence";
import { useProfiles } from "../stores/profiles";

const LIVE_KEYS = [queries.home.queryKey, ["rooms"]];
/** Queries whose responses contain the presence of agents. */
const AGENT_KEYS = [queries.agents.queryKey, ["nodes"], ["microdaos"]];
/** The most subjects whose presence is requested while the connection is down: those on the page come first. */
const MAX_SUBJECTS = 500;
/** The number of subjects in one request, whose URL must stay below 8 KiB. */
const SUBJECTS_AT_ONCE = 100;

/**
 * Keeps rooms and presence in the pages up to date: by the events of the presence connection and by rare requests; while that
 * connection is down, by a request of each every `POLL_MS`.
 */
export function useLiveQueries(): void {
  const queryClient = useQueryClient();
  const isLive = usePresence(({ connection: link }) => link === "live");
  const wasLive = useRef(false);
  const live = useMemo(() => new LiveQueries(queryClient, pageClock), [queryClient]);

  useEffect(() => {
    const stop = subscribeToPresence({ onRooms: (updates) => live.applyUpdates(updates) });
    return () => {
      stop();
      live.stop();
    };
  }, [live]);

  useEffect(() => {
    // After an outage all data may be out of date; after the first connection, the data that was loaded before it.
    if (isLive && wasLive.current) void queryClient.invalidateQueries();
    else if (isLive) void invalidate(queryClient, LIVE_KEYS);
    wasLive.current ||= isLive;
    const requests = new AbortController();
    const cancel = pageClock.every(isLive ? REFETCH_MS : POLL_MS, () => {
      // React Query loads it when the page is visible again.
      if (document.visibilityState === "hidden") return;
      void invalidate(queryClient, LIVE_KEYS);
      if (!isLive) void readPresence(queryClient, requests.signal);
    });
    return () => {
      cancel();
      // A response that arrives after the snapshot of the new connection would be older than the snapshot.
      requests.abort();
    };
  }, [isLive, queryClient]);
}

function invalidate(queryClient: QueryClient, keys: readonly (readonly unknown[])[]): Promise<unknown> {
  return Promise.all(keys.map((queryKey) => queryClient.invalidateQueries({ queryKey })));
}

async function readPresence(queryClient: QueryClient, signal: AbortSignal): Promise<void> {
  const { online: here, hasSnapshot: isKnown, updates } = usePresence.getState();
  // Before the first snapshot, pages show the presence in other responses.
  if (!isKnown) {
    await invalidate(queryClient, AGENT_KEYS);
    return;
  }
  const known = [...watchedSubjects(), ...Object.keys(here), ...Object.keys(useProfiles.getState().profiles)];
  const subjects = [...new Set(known)].slice(0, MAX_SUBJECTS);
  try {
    for (let from = 0; from < subjects.length; from += SUBJECTS_AT_ONCE) {
      const { presences } = await city.presence(subjects.slice(from, from + SUBJECTS_AT_ONCE), signal);
      if (signal.aborted) return;
      updates(presences);
    }
  } catch {
    // The presence that is shown stays until the next request.
  }
}
