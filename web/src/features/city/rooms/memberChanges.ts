import type { SubjectId } from "../../../api/types";
import type { Clock } from "../../../lib/clock";
import { Throttle } from "../../../lib/throttle";

/** Milliseconds between two updates of the members. */
const UPDATE_EVERY_MS = 250;

/** Collects the members of a room who come online or go offline: with hundreds of members, each event would render the page. */
export class MemberChanges {
  private readonly cameOrLeft = new Map<SubjectId, boolean>();
  private readonly throttle: Throttle;

  constructor(
    clock: Clock,
    /** Called at once for a single change, and at most four times a second. */
    private readonly onUpdate: () => void,
  ) {
    this.throttle = new Throttle(clock, UPDATE_EVERY_MS, () => this.onUpdate());
  }

  /** The number of members who are online, from the newest event or response. */
  online = 0;

  add(subject: SubjectId, isHere: boolean, online: number): void {
    this.cameOrLeft.set(subject, isHere);
    this.online = online;
  }

  /** Update at once, or with the other changes of the interval. */
  updateSoon(): void {
    this.throttle.schedule();
  }

  /** Apply and clear the collected changes to the members; the same set if nothing changed. */
  appliedTo(members: ReadonlySet<SubjectId>): ReadonlySet<SubjectId> {
    const changed = [...this.cameOrLeft].filter(([subject, isHere]) => members.has(subject) !== isHere);
    this.cameOrLeft.clear();
    if (!changed.length) return members;
    const next = new Set(members);
    for (const [subject, isHere] of changed) {
      if (isHere) next.add(subject);
      else next.delete(subject);
    }
    return next;
  }

  /** Discard the changes, as the members were just loaded. */
  clear(): void {
    this.cameOrLeft.clear();
  }

  stop(): void {
    this.throttle.stop();
  }
}
