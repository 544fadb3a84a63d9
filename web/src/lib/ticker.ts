import { pageClock, type Cancel, type Clock } from "./clock";

/**
 * The page's clock, whose `every` continues in hidden tabs.
 *
 * Browsers slow the timers of a page that was hidden for five minutes down to one a minute: with heartbeats that far apart, the
 * citizen would be offline two minutes out of three. Timers of workers are not slowed.
 */
export const steadyClock: Clock = { ...pageClock, every };

function every(ms: number, then: () => void): Cancel {
  if (typeof Worker === "undefined") return pageClock.every(ms, then);
  const worker = new Worker(new URL("./ticker.worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = then;
  worker.postMessage(ms);
  return () => worker.terminate();
}
