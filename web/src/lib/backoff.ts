/** Exponential backoff with full jitter: those who lost the same server do not come back in the same moment. */
export interface Backoff {
  /** Milliseconds; the longest first wait. */
  baseMs: number;
  /** Milliseconds; no wait is longer. */
  capMs: number;
}

export const RECONNECT: Backoff = { baseMs: 500, capMs: 10_000 };

/** Milliseconds to wait before the next try, after `failures` (from 1) in a row. `random` answers from 0 to below 1. */
export function waitMs(failures: number, random: () => number, { baseMs, capMs }: Backoff = RECONNECT): number {
  // Beyond 2^30 nothing changes but the danger of Infinity * 0.
  const longest = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(random() * longest);
}
