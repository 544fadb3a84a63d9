import type { Author, Message, Room, Status, SubjectId } from "./types";

/** Last message of a room, as lists show it. */
export interface LastMessage {
  id: string;
  seq: number;
  author: Author;
  text: string;
  msgtype: string;
  created_at: string;
}

export type NotificationMode = "all" | "mentions" | "none";

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

/** A room with what a client that is signed in gets beside. */
export type ListedRoom = Room & {
  last_message?: LastMessage | null;
  joined?: boolean;
  unread?: number;
  mentions?: number;
  read_seq?: number | null;
  notifications?: NotificationMode;
};

export interface SearchResult {
  message: Message;
  room: { id: string; slug: string; name: string };
  excerpt: string;
  highlights: [number, number][];
}

export interface SearchResults {
  results: SearchResult[];
  next_cursor: string | null;
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
