import { setLocalItem, getLocalItem } from "./storage";

/** The city's clock: tokens end by it, and a browser's own clock may be hours away. */

const KEY = "city.clock.offset";
/** `Date` has whole seconds, and a response takes time: less than this is no difference. */
const EXACT_TO_MS = 5_000;

let offsetMs: number | null = read();

/** Learn how far the browser's clock is from the `Date` header of a response that came at `now` (milliseconds). */
export function noteServerDate(header: string | null, now: number): void {
  const at = header === null ? NaN : Date.parse(header);
  if (Number.isNaN(at)) return;
  const found = Math.abs(at - now) < EXACT_TO_MS ? 0 : at - now;
  if (offsetMs !== null && Math.abs(found - offsetMs) < EXACT_TO_MS) return;
  offsetMs = found;
  setLocalItem(KEY, String(found));
}

/** Milliseconds since the epoch by the city's clock; null while no response has told it. */
export function serverNow(now: number): number | null {
  return offsetMs === null ? null : now + offsetMs;
}

/** Forget what was learnt: for tests. */
export function forgetServerTime(): void {
  offsetMs = read();
}

function read(): number | null {
  const found = getLocalItem(KEY);
  return found === null || Number.isNaN(Number(found)) ? null : Number(found);
}
