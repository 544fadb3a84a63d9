import type { Cancel, Clock } from "./clock";

/**
 * Runs `task` at once when scheduled, then at most once in `everyMs`: a task scheduled meanwhile runs at the end of that time.
 */
export class Throttle {
  private lastRunAt = -Infinity;
  private cancelTimer: Cancel | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly everyMs: number,
    private readonly task: () => void,
  ) {}

  schedule(): void {
    if (this.cancelTimer) return;
    // The clock may be set back meanwhile.
    const waitMs = Math.min(this.everyMs, this.lastRunAt + this.everyMs - this.clock.now());
    if (waitMs <= 0) this.run();
    else this.cancelTimer = this.clock.after(waitMs, () => this.run());
  }

  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  private run(): void {
    this.cancelTimer = null;
    this.lastRunAt = this.clock.now();
    this.task();
  }
}
