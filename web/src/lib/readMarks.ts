import type { SubjectId } from "../api/types";
import { setLocalItem, getLocalItem } from "./storage";

/**
 * The `seq` up to which each reader has read each room and thread in this browser.
 *
 * They count for visitors, for threads, and while no connection brings the read marks that the city stores for citizens.
 */

const KEY_PREFIX = "city.read.";

/** The storage key of a reader: a citizen, or null for a visitor. */
function keyOf(reader: SubjectId | null, roomId: string): string {
  return `${KEY_PREFIX}${reader ?? ""}.${roomId}`;
}

/** The `seq` up to which a room was read; null for a room that was never opened. */
export function readUpTo(reader: SubjectId | null, roomId: string): number | null {
  const found = getLocalItem(keyOf(reader, roomId));
  return found === null ? null : Number(found);
}

/** Mark a room as read up to `seq`. The mark never moves back. */
export function markRead(reader: SubjectId | null, roomId: string, seq: number): void {
  if (seq <= (readUpTo(reader, roomId) ?? -Infinity)) return;
  setLocalItem(keyOf(reader, roomId), String(seq));
  changed();
}

/** The marks of the threads of a room, by reader and room. */
const THREADS_PREFIX = "city.threads.";

/** The number of threads whose marks are stored for each room. */
const MAX_THREADS = 200;

interface ThreadMarks {
  /** Replies up to this `seq` count as read: they existed when the reader first opened the room. */
  since: number;
  /** The `seq` of the last reply that was read, by the message id of the root. */
  read: Readonly<Record<string, number>>;
}

function threadsKey(reader: SubjectId | null, roomId: string): string {
  return `${THREADS_PREFIX}${reader ?? ""}.${roomId}`;
}

function threadMarks(reader: SubjectId | null, roomId: string): ThreadMarks | null {
  try {
    return JSON.parse(getLocalItem(threadsKey(reader, roomId)) ?? "null") as ThreadMarks | null;
  } catch {
    return null;
  }
}

/** Begin to store the marks of a room's threads; `seq`: the newest one of the room. Stored marks stay as they are. */
export function startThreadMarks(reader: SubjectId | null, roomId: string, seq: number): void {
  if (!threadMarks(reader, roomId)) setLocalItem(threadsKey(reader, roomId), JSON.stringify({ since: seq, read: {} }));
}

/** The `seq` up to which a thread was read. */
export function threadReadUpTo(reader: SubjectId | null, roomId: string, rootId: string): number {
  const marks = threadMarks(reader, roomId);
  return marks ? Math.max(marks.since, marks.read[rootId] ?? -Infinity) : Infinity;
}

/** Mark a thread as read up to `seq`. The mark never moves back. */
export function markThreadRead(reader: SubjectId | null, roomId: string, rootId: string, seq: number): void {
  if (seq <= threadReadUpTo(reader, roomId, rootId)) return;
  const { since, read } = threadMarks(reader, roomId) ?? { since: seq, read: {} };
  const newest = Object.entries({ ...read, [rootId]: seq }).sort(([, a], [, b]) => b - a);
  // Threads whose marks are dropped count as read up to the newest of those marks.
  const dropped = newest[MAX_THREADS]?.[1] ?? since;
  const marks: ThreadMarks = { since: Math.max(since, dropped), read: Object.fromEntries(newest.slice(0, MAX_THREADS)) };
  setLocalItem(threadsKey(reader, roomId), JSON.stringify(marks));
  changed();
}

let version = 0;
const listeners = new Set<() => void>();

function changed(): void {
  version += 1;
  for (const listener of listeners) listener();
}

function onOtherTab({ key }: StorageEvent): void {
  if (key?.startsWith(KEY_PREFIX) || key?.startsWith(THREADS_PREFIX)) changed();
}

/** A number that grows whenever a room or a thread is read, in this tab or in another one. */
export function readMarksVersion(): number {
  return version;
}

/** Call `listener` whenever `readMarksVersion` grows. Returns a function that stops it. */
export function subscribeToReadMarks(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("storage", onOtherTab);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("storage", onOtherTab);
  };
}
