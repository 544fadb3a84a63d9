import { city } from "../../../api/city";
import { Problem } from "../../../api/problem";
import type { Room, RoomDetails, SubjectId } from "../../../api/types";
import type { Clock } from "../../../lib/clock";
import { removeResponse, cachedResponse, cacheResponse } from "../../../lib/responseCache";
import { Throttle } from "../../../lib/throttle";
import type { Timeline } from "./timeline";

/** The number of newest messages that the browser stores for a room. */
export const MAX_MESSAGES = 100;
const STORE_EVERY_MS = 3_000;

/** Stores a room with its newest messages as its reader sees them, so that it can be read without a connection. */
export class CachedRoom {
  private readonly readers = new WeakMap<RoomDetails, { userId: SubjectId | null }>();
  private readonly throttle: Throttle;
  private loaded: { details: RoomDetails; userId: SubjectId | null } | null = null;

  /** `shown` returns the room and its newest messages. */
  constructor(
    private readonly name: string,
    clock: Clock,
    private readonly me: () => SubjectId | null,
    private readonly shown: () => { room: Room | null; timeline: Timeline },
  ) {
    this.throttle = new Throttle(clock, STORE_EVERY_MS, () => this.store());
  }

  /** Load the room from the city. Raises Problem. */
  async load(): Promise<RoomDetails> {
    const userId = this.me();
    try {
      const details = await city.room(this.name, undefined);
      this.readers.set(details, { userId });
      return details;
    } catch (error) {
      if (error instanceof Problem && !error.isTemporary) void this.forget();
      throw error;
    }
  }

  /** The room as the reader has seen it last; undefined if it is not stored. */
  async stored(): Promise<RoomDetails | undefined> {
    const userId = this.me();
    const details = await cachedResponse<RoomDetails>(this.key, userId);
    if (details) this.readers.set(details, { userId });
    return details;
  }

  /** Store what is shown of the room from now on. A room that one reader loaded is not stored for another. */
  onLoaded(details: RoomDetails): void {
    const reader = this.readers.get(details);
    this.loaded = reader && details.may_read ? { details, userId: reader.userId } : null;
    if (details.may_read) this.throttle.schedule();
    else void this.forget();
  }

  /** Store the room again, as it has changed. */
  onChanged(): void {
    if (this.loaded) this.throttle.schedule();
  }

  /** Store the room for the last time, as it is closed. */
  stop(): void {
    this.throttle.stop();
    this.store();
  }

  private get key(): string {
    return `room ${this.name}`;
  }

  private store(): void {
    const { room, timeline } = this.shown();
    if (!this.loaded || !room || this.loaded.userId !== this.me()) return;
    const messages = timeline.messages.slice(-MAX_MESSAGES);
    const hasOlder = timeline.hasOlder || messages.length < timeline.messages.length;
    const details: RoomDetails = { ...this.loaded.details, ...room, messages, has_older: hasOlder, online_members: [] };
    void cacheResponse(this.key, details, this.loaded.userId);
  }

  private forget(): Promise<void> {
    this.loaded = null;
    this.throttle.stop();
    return removeResponse(this.key);
  }
}
