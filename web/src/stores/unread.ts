import { create } from "zustand";
import type { RoomUnread } from "../api/frames";
import { subscribeToPresence } from "../lib/globalPresenceClient";

interface UnreadState {
  /** By room id; a room that is not in it has nothing unread. */
  rooms: Readonly<Record<string, RoomUnread>>;
  /** Whether the city has told it: of somebody who is signed in, on a connection that is up. */
  isKnown: boolean;
  snapshot: (rooms: readonly RoomUnread[]) => void;
  update: (rooms: readonly RoomUnread[]) => void;
  forget: () => void;
}

/** What the reader has not read in each room, as the city counts it for all of the reader's devices. */
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

/** How many rooms call for the reader: those with a mention, and direct chats with unread messages. */
export function callingRooms(rooms: UnreadState["rooms"], direct: ReadonlySet<string>): number {
  return Object.values(rooms).filter(
    ({ room_id: id, mentions, unread, notifications: mode }) =>
      mode !== "none" && (mentions > 0 || (unread > 0 && direct.has(id))),
  ).length;
}

/** To be called once: the store follows the presence connection. */
export function initUnread(): void {
  const { snapshot, update } = useUnreadRooms.getState();
  subscribeToPresence({ onUnreadSnapshot: snapshot, onUnread: update });
}
