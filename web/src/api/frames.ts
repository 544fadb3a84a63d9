import type { LastMessage, NotificationMode } from "./types";

/** Frames of WebSockets, which are not part of the OpenAPI document. */

/** The unread messages of a citizen in a room. */
export interface RoomUnread {
  room_id: string;
  unread: number;
  mentions: number;
  read_seq: number | null;
  notifications: NotificationMode;
  /** Absent if it has not changed. */
  last_message?: LastMessage | null;
}
