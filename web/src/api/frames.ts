import type { Author, LastMessage, NotificationMode, Status, SubjectId } from "./types";

/** Shapes that no request or response of the OpenAPI document has: frames of WebSockets, and routes to come. */

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

export interface DirectChat {
  id: string;
  with: Author & { subject: SubjectId };
  unread: number;
  mentions: number;
  read_seq: number | null;
  notifications: NotificationMode;
  last_message: LastMessage | null;
  last_event: string | null;
  last_seq: number;
  encrypted: boolean;
  created_at: string;
  blocked: boolean;
}

export interface Person {
  subject: SubjectId;
  kind: Author["kind"];
  id: string;
  display_name: string;
  avatar_url: string | null;
  matrix_user_id: string | null;
  presence: Status;
  last_active_ago_ms: number | null;
  status_msg: string | null;
  rooms: { id: string; slug: string; name: string }[];
  agent_slug: string | null;
  may_message: boolean;
  blocked: boolean;
}
