/** Whether somebody sits before this page: away after a while without a sign of them, and while it is hidden. */
export class Activity {
  private isHidden = false;

  constructor(
    private lastInputAt: number,
    /** Milliseconds without a sign after which somebody is away. */
    private awayAfterMs: number,
  ) {}

  noteInput(now: number): void {
    this.lastInputAt = now;
  }

  /** To look at the page again is a sign, too. */
  setHidden(isHidden: boolean, now: number): void {
    this.isHidden = isHidden;
    if (!isHidden) this.noteInput(now);
  }

  status(now: number): "online" | "away" {
    return this.isHidden || now - this.lastInputAt >= this.awayAfterMs ? "away" : "online";
  }

  /** Milliseconds until the status changes by itself; null when only a sign can change it. */
  changesInMs(now: number): number | null {
    return this.status(now) === "away" ? null : this.lastInputAt + this.awayAfterMs - now;
  }
}
