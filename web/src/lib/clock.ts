/** The time for state machines; tests use a fake one. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Call `then` once, `ms` milliseconds from now. Returns a function that cancels it. */
  after: (ms: number, then: () => void) => Cancel;
  /** Call `then` every `ms` milliseconds, for the first time after `ms`. */
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
