import { create } from "zustand";
import type { RoomRights } from "../api/types";

interface OpenRoom {
  /** The open room, and the reader's rights as a moderator in it; null if no room is open. */
  room: { id: string; slug: string; name: string; rights: RoomRights } | null;
  showsSettings: boolean;
}

/** The open room, for parts of the page outside of it. */
export const useOpenRoom = create<OpenRoom>(() => ({ room: null, showsSettings: false }));

/** Whether the settings of a room have a part for these rights. */
export function mayModerate(rights: RoomRights | null): boolean {
  return rights !== null && (rights.edit_room || rights.set_avatar || rights.set_writers || rights.ban);
}
