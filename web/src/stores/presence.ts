import { create } from "zustand";
import type { OnlineCounts, Status, SubjectId, SubjectPresence } from "../api/types";
import type { Cancel } from "../lib/clock";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import type { ConnectionState } from "../lib/reconnectingSocket";
import { kindOf } from "../lib/subjects";
import { useProfiles } from "./profiles";

export interface PresenceEntry {
  status: Exclude<Status, "offline">;
  statusMsg: string | null;
}

interface PresenceState {
  /** Everybody who is not offline. */
  online: Readonly<Record<SubjectId, PresenceEntry>>;
  /** Whether `here` was told at all; before that nobody is known to be anything. */
  hasSnapshot: boolean;
  connection: ConnectionState;
  snapshot: (users: SubjectPresence[]) => void;
  updates: (users: SubjectPresence[]) => void;
  setConnection: (link: ConnectionState) => void;
}

export const usePresence = create<PresenceState>((set) => ({
  online: {},
  hasSnapshot: false,
  connection: "closed",
  snapshot: (users) => set({ online: withUpdates({}, users), hasSnapshot: true }),
  updates: (users) => set(({ online: here }) => ({ online: withUpdates(here, users), hasSnapshot: true })),
  setConnection: (link) => set({ connection: link }),
}));

/** Everybody who is not offline, of the state of `usePresence`. */
export const onlineSubjects = (state: PresenceState): PresenceState["online"] => state.online;

/** To be called once: the store follows the presence connection. */
export function initPresence(): void {
  const { snapshot, updates, setConnection: setLink } = usePresence.getState();
  const { addPresences } = useProfiles.getState();
  subscribeToPresence({ onSnapshot: snapshot, onUpdates: updates, onConnectionState: setLink });
  subscribeToPresence({ onSnapshot: addPresences, onUpdates: addPresences });
}

/** How many components show a subject, by subject. */
const watchers = new Map<SubjectId, number>();

/** A component shows the presence of `subject`. Returns the function to call when it no longer does. */
export function watchSubject(subject: SubjectId): Cancel {
  watchers.set(subject, (watchers.get(subject) ?? 0) + 1);
  return () => {
    const count = (watchers.get(subject) ?? 0) - 1;
    if (count > 0) watchers.set(subject, count);
    else watchers.delete(subject);
  };
}

export function watchedSubjects(): SubjectId[] {
  return [...watchers.keys()];
}

/** The same object when there is nothing new, so that nobody renders for it. */
export function withUpdates(here: PresenceState["online"], users: SubjectPresence[]): PresenceState["online"] {
  const changed = users.filter(({ user_id: id, status, status_msg: statusMsg }) => {
    const known = here[id];
    return known ? known.status !== status || known.statusMsg !== statusMsg : status !== "offline";
  });
  if (!changed.length) return here;
  const next = { ...here };
  for (const { user_id: id, status, status_msg: statusMsg } of changed) {
    if (status === "offline") Reflect.deleteProperty(next, id);
    else next[id] = { status, statusMsg };
  }
  return next;
}

export function statusOf(here: PresenceState["online"], subject: SubjectId): Status {
  return here[subject]?.status ?? "offline";
}

/** `useStatus("agent:daarwizz")`: renders anew only when that one changes. */
export function useStatus(subject: SubjectId): Status {
  return usePresence((state) => statusOf(state.online, subject));
}

export function countOnline(here: Iterable<SubjectId>): OnlineCounts {
  const counts: OnlineCounts = { citizens: 0, agents: 0, people: 0, total: 0 };
  for (const subject of here) {
    counts[({ citizen: "citizens", agent: "agents", matrix: "people" } as const)[kindOf(subject)]] += 1;
    counts.total += 1;
  }
  return counts;
}
