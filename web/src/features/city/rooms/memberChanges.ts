import type { SubjectId } from "../../../api/types";
import type { Clock } from "../../../lib/clock";
import { Throttle } from "../../../lib/throttle";

/** Between two updates of the members, in milliseconds. */
const UPDATE_EVERY_MS = 250;

/** Collects who comes online and goes offline in a room: with hundreds of members each event alone would render the page. */
export class MemberChanges {
  private readonly cameOrLeft = new Map<SubjectId, boolean>();
  private readonly throttle: Throttle;

  constructor(
    clock: Clock,
    /** Called at once for a change that comes alone, and at most four times a second. */
    private readonly onUpdate: () => void,
  ) {
    this.throttle = new Throttle(clock, UPDATE_EVERY_MS, () => this.onUpdate());
  }

  /** How many members are online, by the newest event or response. */
  online = 0;

  add(subject: SubjectId, isHere: boolean, online: number): void {
    this.cameOrLeft.set(subject, isHere);
    this.online = online;
  }

  /** Update at once, or with the other changes of these milliseconds. */
  updateSoon(): void {
    this.throttle.schedule();
  }

  /** The members after the changes, which are applied with that; the same set where nothing changed. */
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

  /** The members were loaded, as they are now. */
  clear(): void {
    this.cameOrLeft.clear();
  }

  stop(): void {
    this.throttle.stop();
  }
}
