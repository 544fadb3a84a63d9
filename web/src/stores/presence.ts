import { create } from "zustand";
import type { OnlineCounts, Status, SubjectId, SubjectPresence } from "../api/types";
import { pageClock, type Cancel, type Clock } from "../lib/clock";
import { subscribeToPresence } from "../lib/globalPresenceClient";
import type { ConnectionState } from "../lib/reconnectingSocket";
import { kindOf } from "../lib/subjects";
import { Throttle } from "../lib/throttle";
import { useProfiles } from "./profiles";

export interface PresenceEntry {
  status: Exclude<Status, "offline">;
  statusMsg: string | null;
}

interface PresenceState {
  /** All subjects who are not offline. */
  online: Readonly<Record<SubjectId, PresenceEntry>>;
  /** Whether presence has arrived; before that no status is known. */
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

/** Selects all subjects who are not offline from the state of `usePresence`. */
export const onlineSubjects = (state: PresenceState): PresenceState["online"] => state.online;

/** The interval of updates of the store: while hundreds of subjects change, a page renders five times a second, not twenty. */
const UPDATE_EVERY_MS = 200;

/** Let the store follow the presence connection. To be called once. */
export function initPresence(clock: Clock = pageClock): void {
  const { snapshot, updates, setConnection } = usePresence.getState();
  const { addPresences } = useProfiles.getState();
  const waiting = new Map<SubjectId, SubjectPresence>();
  const throttle = new Throttle(clock, UPDATE_EVERY_MS, () => {
    updates([...waiting.values()]);
    waiting.clear();
  });
  subscribeToPresence({
    onSnapshot: (users) => {
      waiting.clear();
      snapshot(users);
    },
    onUpdates: (users) => {
      for (const user of users) waiting.set(user.user_id, user);
      throttle.schedule();
    },
    onConnectionState: setConnection,
  });
  subscribeToPresence({ onSnapshot: addPresences, onUpdates: addPresences });
}

/** The number of components that show a subject, by subject. */
const watchers = new Map<SubjectId, number>();

/** Register a component that shows the presence of `subject`. Returns a function that removes it. */
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

/** Apply updates. Returns the same object if nothing changed, so that no component renders. */
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

/** `useStatus("agent:daarwizz")` renders again only when the status of this subject changes. */
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
