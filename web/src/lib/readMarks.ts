import type { Room } from "../api/types";
import { keep, kept } from "./storage";

/** How far this browser's reader has read each room; the city keeps nothing of it. */

const KEY = "city.read.";

/** The `seq` up to which a room was read; null for one that was never opened. */
export function readUpTo(roomId: string): number | null {
  const found = kept(KEY + roomId);
  return found === null ? null : Number(found);
}

/** It never goes back. */
export function markRead(roomId: string, seq: number): void {
  if (seq > (readUpTo(roomId) ?? -Infinity)) keep(KEY + roomId, String(seq));
}

/** Whether something happened since a room was last read; never of one that was not opened yet. */
export function isUnread(room: Pick<Room, "id" | "last_seq">): boolean {
  const read = readUpTo(room.id);
  return read !== null && room.last_seq > read;
}
