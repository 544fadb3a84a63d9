import type { QueryClient } from "@tanstack/react-query";
import type { Clock } from "../lib/clock";
import type { RoomUpdates } from "../lib/presence";
import { Throttle } from "../lib/throttle";
import { HOME_ENTRIES, MAX_ROOMS } from "./city";
import { queries } from "./queries";
import type { FeedEntry, Room } from "./types";

/** The interval of refetching lists even if no event announced a change; milliseconds. */
export const REFETCH_MS = 5 * 60_000;
/** The interval of refetching lists and presence while the presence connection is down; milliseconds. */
export const POLL_MS = 30_000;
/** The shortest time between requests for what events announce but do not contain (the feed, a new room's position). */
const THROTTLE_MS = 15_000;

/** Updates the query cache from the events of the presence WebSocket, so that the pages need not poll. */
export class LiveQueries {
  private readonly home: Throttle;
  private readonly lists: Throttle;
  /** The newest `last_event` of any room in the events so far. */
  private lastEvent = "";

  constructor(
    private readonly queryClient: QueryClient,
    clock: Clock,
  ) {
    const { queryKey } = queries.home;
    this.home = new Throttle(clock, THROTTLE_MS, () => void queryClient.invalidateQueries({ queryKey, exact: true }));
    this.lists = new Throttle(clock, THROTTLE_MS, () => void queryClient.invalidateQueries({ queryKey: ["rooms"] }));
  }

  stop(): void {
    this.home.stop();
    this.lists.stop();
  }

  applyUpdates(updates: RoomUpdates): void {
    if (updates === null) {
      this.home.schedule();
      this.lists.schedule();
      return;
    }
    this.applyToHome(updates);
    for (const { queryKey, state } of this.queryClient.getQueryCache().findAll({ queryKey: ["rooms"] })) {
      const rooms = state.data as Room[] | undefined;
      if (!rooms) continue;
      const isList = queryKey[1] !== "of";
      if (isList && rooms.length < MAX_ROOMS && hasUnknown(rooms, updates)) this.lists.schedule();
      const changed = withUpdates(rooms, updates);
      if (changed === rooms) continue;
      // `updatedAt` stays that of the last response, so that the list is fetched again when the page is shown again.
      const updatedAt = state.dataUpdatedAt;
      this.queryClient.setQueryData(queryKey, queryKey[1] === "recent" ? changed.toSorted(byLastEvent) : changed, { updatedAt });
    }
  }

  private applyToHome(updates: readonly Room[]): void {
    const { queryKey } = queries.home;
    const home = this.queryClient.getQueryData(queryKey);
    if (!home) return;
    const popular = withUpdates(home.popular_rooms, updates);
    const feed = withMessages(home.feed, updates);
    if (popular !== home.popular_rooms || feed !== home.feed) {
      const updatedAt = this.queryClient.getQueryState(queryKey)?.dataUpdatedAt;
      const changed = { ...home, popular_rooms: popular, feed };
      this.queryClient.setQueryData(queryKey, changed, updatedAt === undefined ? {} : { updatedAt });
    }
    const known = latest([this.lastEvent, home.feed[0]?.created_at ?? ""]);
    this.lastEvent = latest([known, ...updates.map(({ last_event: at }) => at ?? "")]);
    // A change of who is online does not move `last_event`; other events do, and the feed may have an entry for them.
    if (this.lastEvent > known) this.home.schedule();
  }
}

/** The city's times are RFC 3339 in UTC, of one length: they sort as text. */
function latest(times: string[]): string {
  return times.reduce((a, b) => (a > b ? a : b));
}

/**
 * The feed with the new messages of these rooms, newest first; the same array if there are none.
 *
 * The event of a public room contains its newest message. The next response of the city has what the event lacks (joins, the
 * message that an agent replies to).
 */
export function withMessages(feed: FeedEntry[], updates: readonly Room[]): FeedEntry[] {
  const newest = feed[0]?.created_at ?? "";
  const added = updates.flatMap(({ id, slug, name, archived, last_message: last }): FeedEntry[] => {
    if (!last || archived || last.created_at <= newest) return [];
    return [
      {
        id: last.id,
        kind: "room_message",
        room_id: id,
        room: { slug, name },
        actor: last.author,
        payload: { message_id: last.id, body: last.text },
        created_at: last.created_at,
      },
    ];
  });
  if (!added.length) return feed;
  added.sort((a, b) => b.created_at.localeCompare(a.created_at));
  return [...added, ...feed].slice(0, HOME_ENTRIES);
}

function hasUnknown(rooms: readonly Room[], updates: readonly Room[]): boolean {
  const known = new Set(rooms.map(({ id }) => id));
  return updates.some(({ id, archived }) => !archived && !known.has(id));
}

/** The rooms with these updates, without those that are archived now; the same array if nothing changed. */
export function withUpdates(rooms: Room[], updates: readonly Room[]): Room[] {
  const byId = new Map(updates.map((room) => [room.id, room]));
  const changed = rooms
    .filter(({ id }) => !byId.get(id)?.archived)
    .map((room) => {
      const now = byId.get(room.id);
      return now && !isSame(room, now) ? { ...room, ...now } : room;
    });
  return changed.length === rooms.length && changed.every((room, at) => room === rooms[at]) ? rooms : changed;
}

function isSame(room: Room, now: Room): boolean {
  return (Object.keys(now) as (keyof Room)[]).every((key) => room[key] === now[key]);
}

function byLastEvent(a: Room, b: Room): number {
  const at = (room: Room) => room.last_event ?? room.created_at;
  return at(b).localeCompare(at(a)) || a.slug.localeCompare(b.slug);
}
