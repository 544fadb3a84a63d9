import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { queries } from "../api/queries";
import type { Room } from "../api/types";
import { markRead, subscribeToReadMarks, readMarksVersion, readUpTo } from "../lib/readMarks";
import { useSession } from "../stores/session";
import { useUnreadRooms } from "../stores/unread";
import { useThrottledValue } from "./useThrottledValue";

/** The city counts for as many rooms at once. */
const MAX_ROOMS = 100;

/** Lists change with every message; they are counted at most so often, in milliseconds. */
const COUNT_EVERY_MS = 15_000;

type UnreadRoom = Pick<Room, "id" | "last_seq">;

/** How many messages of others each room has that were not read: as the city counts them, else of those that were opened here. */
export function useUnread(rooms: readonly UnreadRoom[]): ReadonlyMap<string, number> {
  const isKnown = useUnreadRooms((state) => state.isKnown);
  const known = useUnreadRooms((state) => state.rooms);
  const told = useMemo(() => new Map(Object.values(known).map(({ room_id: id, unread }) => [id, unread])), [known]);
  const counted = useCounted(isKnown ? NONE : rooms);
  return isKnown ? told : counted;
}

const NONE: readonly UnreadRoom[] = [];

/**
 * How many messages of others each room has that were not read here; rooms that were never opened have none.
 *
 * A room's `last_seq` counts joins, reactions and one's own words too: only the city knows what of that is a message of others.
 */
function useCounted(rooms: readonly UnreadRoom[]): ReadonlyMap<string, number> {
  const me = useSession((state) => state.session?.userId ?? null);
  const seen = useThrottledValue(rooms, COUNT_EVERY_MS);
  const marks = useSyncExternalStore(subscribeToReadMarks, readMarksVersion);
  // The browser's storage is slow to ask for hundreds of rooms.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const moved = useMemo(() => unreadRooms(seen, me), [seen, me, marks]);
  const since = moved.map(({ id }) => `${id}:${readUpTo(me, id) ?? 0}`).sort();
  const lastSeqs = moved.map(({ last_seq: last }) => last).join();
  const { data } = useQuery({ ...queries.unread(me ?? "", since, lastSeqs), placeholderData: keepPreviousData });

  useEffect(() => {
    // Where nothing of what happened was a message of others, there is nothing to ask for next time.
    for (const { room_id: id, count } of data ?? []) {
      const room = count === 0 ? moved.find((each) => each.id === id) : undefined;
      if (room) markRead(me, room.id, room.last_seq);
    }
    // Of what was asked, not of what the rooms are by now.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [data]);

  return useMemo(() => new Map((since.length ? data : [])?.map(({ room_id: id, count }) => [id, count])), [data, since.length]);
}

function unreadRooms(rooms: readonly UnreadRoom[], me: string | null): UnreadRoom[] {
  return rooms.filter(({ id, last_seq: last }) => last > (readUpTo(me, id) ?? Infinity)).slice(0, MAX_ROOMS);
}
