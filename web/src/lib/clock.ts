/** Time, as the state machines see it: tests bring their own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Call `then` once, `ms` milliseconds from now. Answers how to take that back. */
  after: (ms: number, then: () => void) => Cancel;
  /** Call `then` every `ms` milliseconds, the first time after one such span. */
  every: (ms: number, then: () => void) => Cancel;
}

export type Cancel = () => void;

export const pageClock: Clock = {
  now: () => Date.now(),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  every: (ms, then) => {
    const timer = setInterval(then, ms);
    return () => clearInterval(timer);
  },
};
