/** Exponential backoff with full jitter, so that clients that lost the same server do not reconnect at the same moment. */
export interface Backoff {
  /** The longest first delay; milliseconds. */
  baseMs: number;
  /** The longest delay; milliseconds. */
  capMs: number;
}

export const RECONNECT: Backoff = { baseMs: 500, capMs: 10_000 };

/** Milliseconds until the next try, after `failures` (from 1) in a row. `random` returns 0 to below 1. */
export function waitMs(failures: number, random: () => number, { baseMs, capMs }: Backoff = RECONNECT): number {
  // A larger exponent changes nothing, and risks Infinity * 0.
  const longest = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(random() * longest);
}
