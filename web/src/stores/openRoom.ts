import { create } from "zustand";
import type { RoomRights } from "../api/types";

interface OpenRoom {
  /** The room that is open, and what one may do there as a moderator; null where none is. */
  room: { id: string; slug: string; name: string; rights: RoomRights } | null;
  showsSettings: boolean;
}

/** What parts of the page outside of a room know of the room that is open. */
export const useOpenRoom = create<OpenRoom>(() => ({ room: null, showsSettings: false }));

/** Whether the settings of a room have something for somebody with these rights. */
export function mayModerate(rights: RoomRights | null): boolean {
  return rights !== null && (rights.edit_room || rights.set_avatar || rights.set_writers || rights.ban);
}
