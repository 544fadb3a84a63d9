/** Whether the person at this page is active: away after a time without input, and while the page is hidden. */
export class Activity {
  private isHidden = false;

  constructor(
    private lastInputAt: number,
    /** Milliseconds without input after which the person is away. */
    private awayAfterMs: number,
  ) {}

  noteInput(now: number): void {
    this.lastInputAt = now;
  }

  /** Showing the page again counts as input. */
  setHidden(isHidden: boolean, now: number): void {
    this.isHidden = isHidden;
    if (!isHidden) this.noteInput(now);
  }

  status(now: number): "online" | "away" {
    return this.isHidden || now - this.lastInputAt >= this.awayAfterMs ? "away" : "online";
  }

  /** Milliseconds until the status changes by itself; null if only input can change it. */
  changesInMs(now: number): number | null {
    return this.status(now) === "away" ? null : this.lastInputAt + this.awayAfterMs - now;
  }
}
