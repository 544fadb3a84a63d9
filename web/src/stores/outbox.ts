import { useMemo } from "react";
import { useStore } from "zustand";
import type { SubjectId } from "../api/types";
import { pageClock } from "../lib/clock";
import { newId } from "../lib/ids";
import { deliver } from "../outbox/delivery";
import type { Entry } from "../outbox/entry";
import { electLeader } from "../outbox/leader";
import { Outbox, type OutboxChannel, type OutboxMessage } from "../outbox/outbox";
import { indexedDbStorage } from "../outbox/storage";
import { useSession } from "./session";

const tabId = newId();

/** This page's outbox; see `Outbox`. */
export const outbox = new Outbox({
  storage: indexedDbStorage,
  channel: openChannel(),
  electLeader: (candidate) => electLeader(candidate, pageClock, tabId),
  deliver,
  sender: () => useSession.getState().session,
  clock: pageClock,
  random: Math.random,
  newId,
});

function openChannel(): OutboxChannel {
  const channel = new BroadcastChannel("city.outbox");
  return {
    post: (news) => channel.postMessage(news),
    subscribe: (heard) => {
      channel.onmessage = ({ data }: MessageEvent<OutboxMessage>) => heard(data);
    },
  };
}

/** Start the outbox. To be called once, after `initSession`. */
export function initOutbox(): void {
  outbox.start();
  addEventListener("online", () => outbox.wake());
  useSession.subscribe(({ session }, before) => {
    if (session && session.token !== before.session?.token) outbox.wake();
  });
  addEventListener("beforeunload", (event) => {
    const { entries, unstored } = outbox.store.getState();
    if (entries.some(({ id }) => unstored.has(id))) event.preventDefault();
  });
}

/** The entries of a citizen in all rooms. */
export function useEntriesOf(owner: SubjectId | null): readonly Entry[] {
  const entries = useStore(outbox.store, (state) => state.entries);
  return useMemo(() => entries.filter((entry) => entry.owner === owner), [entries, owner]);
}
