import type { LastMessage, NotificationMode } from "./types";

/** Shapes that no request or response of the OpenAPI document has: frames of WebSockets. */

/** What a citizen has not read in a room. */
export interface RoomUnread {
  room_id: string;
  unread: number;
  mentions: number;
  read_seq: number | null;
  notifications: NotificationMode;
  /** Absent where it has not changed. */
  last_message?: LastMessage | null;
}
