import type { Clock } from "../lib/clock";

/** A clock that moves only when a test calls `pass` or `sleep`. */
export class FakeClock implements Clock {
  private time = Date.parse("2026-11-22T12:00:00Z");
  private timers: { at: number; then: () => void; every: number | null }[] = [];

  now = () => this.time;
  after = (ms: number, then: () => void) => this.add(ms, then, null);
  every = (ms: number, then: () => void) => this.add(ms, then, ms);

  /** Let `ms` milliseconds pass, and run the timers that are due, in order. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (let next = this.due(end); next; next = this.due(end)) {
      this.time = next.at;
      if (next.every === null) this.timers = this.timers.filter((timer) => timer !== next);
      else next.at += next.every;
      next.then();
    }
    this.time = end;
  }

  /** Let time pass without running a timer, as while a machine sleeps. */
  sleep(ms: number): void {
    this.time += ms;
    for (const timer of this.timers) timer.at = Math.max(timer.at, this.time);
  }

  private due(end: number) {
    return this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }

  private add(ms: number, then: () => void, every: number | null) {
    const timer = { at: this.time + ms, then, every };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }
}
