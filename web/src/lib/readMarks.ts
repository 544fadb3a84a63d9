import type { SubjectId } from "../api/types";
import { keep, kept } from "./storage";

/** How far each of this browser's readers has read each room; the city keeps nothing of it. */

/** Of `reader`: a citizen, or null for whoever reads without being signed in. */
function keyOf(reader: SubjectId | null, roomId: string): string {
  return `city.read.${reader ?? ""}.${roomId}`;
}

/** The `seq` up to which a room was read; null for one that was never opened. */
export function readUpTo(reader: SubjectId | null, roomId: string): number | null {
  const found = kept(keyOf(reader, roomId));
  return found === null ? null : Number(found);
}

/** It never goes back. */
export function markRead(reader: SubjectId | null, roomId: string, seq: number): void {
  if (seq > (readUpTo(reader, roomId) ?? -Infinity)) keep(keyOf(reader, roomId), String(seq));
}
