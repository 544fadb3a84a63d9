import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { useNavigate } from "react-router";
import type { RoomUnread } from "../api/frames";
import { showDotOnIcon } from "../lib/favicon";
import { mayNotify } from "../lib/notifications";
import { messagePath } from "../lib/paths";
import { setTitleCount } from "../lib/title";
import { useSession } from "../stores/session";
import { notifyingRooms, useUnreadRooms } from "../stores/unread";
import { useDirectChats } from "./useDirectChat";

/** Show the number of notifying rooms in the tab's title and by a dot on its icon and, if allowed, show notifications. */
export function useUnreadNotifications(): void {
  const userId = useSession((state) => state.session?.userId ?? null);
  const rooms = useUnreadRooms((state) => state.rooms);
  const chats = useDirectChats();
  const direct = useMemo(() => new Set(chats?.map(({ id }) => id)), [chats]);
  useNewDirectChats(rooms);
  const count = notifyingRooms(rooms, direct);
  useEffect(() => {
    // Another citizen, or nobody, is signed in now.
    return () => useUnreadRooms.getState().forget();
  }, [userId]);
  useEffect(() => setTitleCount(count), [count]);
  const hasDot = count > 0;
  useEffect(() => void showDotOnIcon(hasDot), [hasDot]);
  useNotifications(direct);
}

/**
 * Load the list of direct chats again when the unread counts name a room for the first time, or no longer as one of the
 * reader: somebody may have opened a chat, or the reader's Matrix account may have left one.
 */
function useNewDirectChats(rooms: Readonly<Record<string, RoomUnread>>): void {
  const queryClient = useQueryClient();
  const joined = Object.values(rooms)
    .filter(({ read_seq: read }) => read !== null)
    .map(({ room_id: id }) => id)
    .sort()
    .join(" ");
  const before = useRef(joined);
  useEffect(() => {
    if (joined !== before.current) void queryClient.invalidateQueries({ queryKey: ["direct"] });
    before.current = joined;
  }, [joined, queryClient]);
}

/** Show one notification for each room with a new mention, or a new message in a direct chat, while the page is hidden. */
function useNotifications(direct: ReadonlySet<string>): void {
  const navigate = useNavigate();
  const rooms = useUnreadRooms((state) => state.rooms);
  const before = useRef(rooms);
  useEffect(() => {
    const known = before.current;
    before.current = rooms;
    if (rooms === known || document.visibilityState !== "hidden" || !mayNotify()) return;
    for (const room of Object.values(rooms)) {
      const was = known[room.room_id];
      const isMentioned = room.mentions > (was?.mentions ?? 0);
      const isWritten = direct.has(room.room_id) && room.unread > (was?.unread ?? 0);
      const last = room.last_message;
      // Without an earlier count there is no news: a snapshot after an outage does not say what is new.
      if (!was || room.notifications === "none" || !last || !(isMentioned || isWritten)) continue;
      const path = messagePath(room.room_id, last.id);
      const message = { title: last.author.display_name, body: last.text, tag: room.room_id, path };
      void import("../lib/showNotification")
        .then(({ showNotification }) => showNotification(message, () => void navigate(path)))
        .catch(() => undefined);
    }
  }, [rooms, direct, navigate]);
}
