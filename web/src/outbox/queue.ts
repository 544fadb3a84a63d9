import { waitMs, type Backoff } from "../lib/backoff";
import { Problem } from "../api/problem";
import type { SubjectId } from "../api/types";
import { bytesOf, queueKey, storedProblem, type Entry } from "./entry";

/** The rules of the outbox, without any I/O: which entries may be added, which are sent next, and the effect of a response. */

export const RETRY: Backoff = { baseMs: 1_000, capMs: 30_000 };
/** The longest delay that a server may ask for (`Retry-After`), in milliseconds. */
const LONGEST_WAIT_MS = 10 * 60_000;

export const MAX_ENTRIES = 500;
export const MAX_BYTES = 200 * 1024 * 1024;

/** The entries in their order; of two with the same id, the later one in `entries` counts. */
export function sortedEntries(entries: Iterable<Entry>): Entry[] {
  const byId = new Map<string, Entry>();
  for (const entry of entries) byId.set(entry.id, entry);
  return [...byId.values()].sort((a, b) => a.order - b.order);
}

/** Whether one more entry fits beside those of its owner. */
export function hasCapacityFor(entries: readonly Entry[], added: Entry): boolean {
  const own = entries.filter(({ owner }) => owner === added.owner);
  const bytes = own.reduce((sum, entry) => sum + bytesOf(entry), 0);
  return own.length < MAX_ENTRIES && bytes + bytesOf(added) <= MAX_BYTES;
}

/**
 * The entries that a new entry makes superfluous: an earlier edit of the same message, an earlier change of the same reaction,
 * and every change of a message that is deleted. Entries that are being sent (`sending`) are not among them.
 */
export function superseded(entries: readonly Entry[], added: Entry, sending: ReadonlySet<string>): Entry[] {
  const { action } = added;
  if (action.kind === "message") return [];
  return entries.filter((entry) => {
    if (queueKey(entry) !== queueKey(added) || sending.has(entry.id) || entry.action.kind === "message") return false;
    if (entry.action.messageId !== action.messageId) return false;
    if (action.kind === "removal") return true;
    if (entry.action.kind !== action.kind) return false;
    return action.kind === "edit" || (entry.action.kind === "reaction" && entry.action.emoji === action.emoji);
  });
}

/** The next entry of `owner` in each room; rooms with an entry on its way (`busy`: their queue keys) have none. */
export function nextEntries(entries: readonly Entry[], owner: SubjectId, busy: ReadonlySet<string>): Entry[] {
  const lanes = new Map<string, Entry>();
  for (const entry of entries) {
    const lane = queueKey(entry);
    if (entry.owner === owner && entry.state === "waiting" && !busy.has(lane) && !lanes.has(lane)) lanes.set(lane, entry);
  }
  return [...lanes.values()];
}

/** The ids of entries that wait for a retry: they have failed, or are behind such an entry in their room. */
export function delayed(entries: readonly Entry[]): ReadonlySet<string> {
  const lanes = new Set<string>();
  const waiting = entries.filter(({ state }) => state === "waiting");
  return new Set(
    waiting.flatMap((entry) => {
      if (entry.tries > 0) lanes.add(queueKey(entry));
      return lanes.has(queueKey(entry)) ? [entry.id] : [];
    }),
  );
}

/** The entry after the city did not accept it: to be retried, or failed. */
export function afterProblem(entry: Entry, error: unknown, now: number, random: () => number): Entry {
  const problem = error instanceof Problem ? error : new Problem(0, "other", String(error));
  const tries = entry.tries + 1;
  const stored = storedProblem(problem);
  // The city no longer has the file, but the browser does: it is uploaded again.
  if (problem.code === "no_such_media" && entry.action.kind === "message" && entry.action.file && entry.action.media) {
    return { ...entry, tries, problem: stored, notBefore: now, action: { ...entry.action, media: null } };
  }
  if (problem.status !== 401 && !problem.isTemporary) return { ...entry, state: "failed", tries, problem: stored, notBefore: 0 };
  const asked = problem.retryAfterMs === null ? null : Math.min(problem.retryAfterMs, LONGEST_WAIT_MS);
  return { ...entry, tries, problem: stored, notBefore: now + (asked ?? waitMs(tries, random, RETRY)) };
}

/** Whether the entry is complete although the city refused it: a message that is gone need not be deleted. */
export function isSettledBy(entry: Entry, error: unknown): boolean {
  return entry.action.kind === "removal" && error instanceof Problem && error.code === "no_such_message";
}

/** The entry when its author retries it. */
export function retried(entry: Entry): Entry {
  return { ...entry, state: "waiting", tries: 0, notBefore: 0, problem: null };
}

/** Remove the delay of a waiting entry if only a lost connection caused it: it is due at once when the connection is back. */
export function withoutDelay(entry: Entry): Entry {
  const isAsked = entry.problem?.status === 429 || entry.problem?.status === 503;
  return isAsked || entry.notBefore === 0 ? entry : { ...entry, notBefore: 0 };
}
