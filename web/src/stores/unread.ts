import { create } from "zustand";
import type { RoomUnread } from "../api/frames";
import { subscribeToPresence } from "../lib/globalPresenceClient";

interface UnreadState {
  /** The unread counts by room id; a room without an entry has nothing unread. */
  rooms: Readonly<Record<string, RoomUnread>>;
  /** Whether the city has sent the counts: to a signed-in citizen, on a live connection. */
  isKnown: boolean;
  snapshot: (rooms: readonly RoomUnread[]) => void;
  update: (rooms: readonly RoomUnread[]) => void;
  forget: () => void;
}

/** The unread counts of each room, as the city counts them for all of the reader's devices. */
export const useUnreadRooms = create<UnreadState>((set) => ({
  rooms: {},
  isKnown: false,
  snapshot: (rooms) => set({ rooms: byId({}, rooms), isKnown: true }),
  update: (changed) => set(({ rooms }) => ({ rooms: byId(rooms, changed) })),
  forget: () => set({ rooms: {}, isKnown: false }),
}));

function byId(known: UnreadState["rooms"], changed: readonly RoomUnread[]): UnreadState["rooms"] {
  return { ...known, ...Object.fromEntries(changed.map((room) => [room.room_id, { ...known[room.room_id], ...room }])) };
}

/** The number of rooms that notify the reader: those with unread mentions, and direct chats with unread messages. */
export function notifyingRooms(rooms: UnreadState["rooms"], direct: ReadonlySet<string>): number {
  return Object.values(rooms).filter(
    ({ room_id: id, mentions, unread, notifications: mode }) =>
      mode !== "none" && (mentions > 0 || (unread > 0 && direct.has(id))),
  ).length;
}

/** Let the store follow the presence connection. To be called once. */
export function initUnread(): void {
  const { snapshot, update } = useUnreadRooms.getState();
  subscribeToPresence({ onUnreadSnapshot: snapshot, onUnread: update });
}
