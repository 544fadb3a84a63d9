import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { queries } from "../api/queries";
import type { Room } from "../api/types";
import { markRead, subscribeToReadMarks, readMarksVersion, readUpTo } from "../lib/readMarks";
import { useSession } from "../stores/session";
import { useUnreadRooms } from "../stores/unread";
import { useThrottledValue } from "./useThrottledValue";

/** The most rooms in one request for unread counts. */
const MAX_ROOMS = 100;

/** Lists change with every message: this is the shortest time between two counts, in milliseconds. */
const COUNT_EVERY_MS = 15_000;

type UnreadRoom = Pick<Room, "id" | "last_seq">;

/** The unread messages of others in each room: as the city counts them, else those in rooms that were opened in this browser. */
export function useUnread(rooms: readonly UnreadRoom[]): ReadonlyMap<string, number> {
  const isKnown = useUnreadRooms((state) => state.isKnown);
  const known = useUnreadRooms((state) => state.rooms);
  const live = useMemo(() => new Map(Object.values(known).map(({ room_id: id, unread }) => [id, unread])), [known]);
  const counted = useCounted(isKnown ? NONE : rooms);
  return isKnown ? live : counted;
}

const NONE: readonly UnreadRoom[] = [];

/**
 * The messages of others in each room that were not read in this browser; rooms that were never opened have none.
 *
 * A room's `last_seq` also counts joins, reactions and own messages: only the city knows which of them are messages of others.
 */
function useCounted(rooms: readonly UnreadRoom[]): ReadonlyMap<string, number> {
  const me = useSession((state) => state.session?.userId ?? null);
  const seen = useThrottledValue(rooms, COUNT_EVERY_MS);
  const marks = useSyncExternalStore(subscribeToReadMarks, readMarksVersion);
  // Memoized, as the browser's storage is slow for hundreds of rooms.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const moved = useMemo(() => unreadRooms(seen, me), [seen, me, marks]);
  const since = moved.map(({ id }) => `${id}:${readUpTo(me, id) ?? 0}`).sort();
  const lastSeqs = moved.map(({ last_seq: last }) => last).join();
  const { data } = useQuery({ ...queries.unread(me ?? "", since, lastSeqs), placeholderData: keepPreviousData });

  useEffect(() => {
    // If none of the new events is a message of others, mark them as read, so that the next request leaves them out.
    for (const { room_id: id, count } of data ?? []) {
      const room = count === 0 ? moved.find((each) => each.id === id) : undefined;
      if (room) markRead(me, room.id, room.last_seq);
    }
    // Runs for the rooms of the request, not for their later states.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [data]);

  return useMemo(() => new Map((since.length ? data : [])?.map(({ room_id: id, count }) => [id, count])), [data, since.length]);
}

function unreadRooms(rooms: readonly UnreadRoom[], me: string | null): UnreadRoom[] {
  return rooms.filter(({ id, last_seq: last }) => last > (readUpTo(me, id) ?? Infinity)).slice(0, MAX_ROOMS);
}
