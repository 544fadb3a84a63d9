import type { SubjectId } from "../api/types";
import { keep, kept } from "./storage";

/** How far each of this browser's readers has read each room; the city keeps nothing of it. */

const KEY_PREFIX = "city.read.";

/** Of `reader`: a citizen, or null for whoever reads without being signed in. */
function keyOf(reader: SubjectId | null, roomId: string): string {
  return `${KEY_PREFIX}${reader ?? ""}.${roomId}`;
}

/** The `seq` up to which a room was read; null for one that was never opened. */
export function readUpTo(reader: SubjectId | null, roomId: string): number | null {
  const found = kept(keyOf(reader, roomId));
  return found === null ? null : Number(found);
}

/** It never goes back. */
export function markRead(reader: SubjectId | null, roomId: string, seq: number): void {
  if (seq <= (readUpTo(reader, roomId) ?? -Infinity)) return;
  keep(keyOf(reader, roomId), String(seq));
  changed();
}

let version = 0;
const listeners = new Set<() => void>();

function changed(): void {
  version += 1;
  for (const listener of listeners) listener();
}

function onOtherTab({ key }: StorageEvent): void {
  if (key?.startsWith(KEY_PREFIX)) changed();
}

/** A number that grows whenever a room is read, in this tab or in another one. */
export function readMarksVersion(): number {
  return version;
}

/** Call `listener` whenever `readMarksVersion` grows; returns how to stop it. */
export function onReadMarks(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("storage", onOtherTab);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("storage", onOtherTab);
  };
}
