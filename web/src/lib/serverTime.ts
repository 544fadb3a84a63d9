import { setLocalItem, getLocalItem } from "./storage";

/** The city's clock, by which tokens expire: a browser's own clock may be wrong by hours. */

const KEY = "city.clock.offset";
/** `Date` has whole seconds, and a response takes time: a smaller difference counts as none. */
const EXACT_TO_MS = 5_000;

let offsetMs: number | null = read();

/** Store the difference between the browser's clock and the `Date` header of a response that arrived at `now` (milliseconds). */
export function noteServerDate(header: string | null, now: number): void {
  const at = header === null ? NaN : Date.parse(header);
  if (Number.isNaN(at)) return;
  const found = Math.abs(at - now) < EXACT_TO_MS ? 0 : at - now;
  if (offsetMs !== null && Math.abs(found - offsetMs) < EXACT_TO_MS) return;
  offsetMs = found;
  setLocalItem(KEY, String(found));
}

/** Milliseconds since the epoch by the city's clock; null until a response has shown it. */
export function serverNow(now: number): number | null {
  return offsetMs === null ? null : now + offsetMs;
}

/** Drop the difference in memory: for tests. */
export function forgetServerTime(): void {
  offsetMs = read();
}

function read(): number | null {
  const found = getLocalItem(KEY);
  return found === null || Number.isNaN(Number(found)) ? null : Number(found);
}
