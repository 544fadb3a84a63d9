/** What the city answers, as `daarion_appservice/http/schemas/` and `/openapi.json` have it. */

export type Status = "online" | "away" | "offline";
export type AuthorKind = "citizen" | "agent" | "matrix";
export type Delivery = "pending" | "sent" | "failed";

/** Why a message is `failed`. */
export type DeliveryError =
  | "account_taken"
  | "banned"
  | "chat_over"
  | "deleted"
  | "invite_only"
  | "kicked"
  | "muted"
  | "not_allowed"
  | "not_private"
  | "refused"
  | "too_large";

/** A subject of presence: `u_1`, `agent:daarwizz` or `@olena:example.org`. */
export type SubjectId = string;

export interface Author {
  kind: AuthorKind;
  id: string;
  display_name: string;
  matrix_user_id: string;
  avatar_url: string | null;
}

export interface Presence {
  presence: Status;
  last_active_ago_ms: number | null;
  status_msg: string | null;
}

export interface Member extends Author, Presence {}

export interface AgentPresence extends Presence {
  agent_id: string;
  display_name: string;
  matrix_user_id: string;
}

export interface Agent extends AgentPresence {
  id: string;
  slug: string;
  title: string | null;
  kind: string | null;
  avatar: string | null;
  /** A path of the city. */
  avatar_url: string | null;
  color: string | null;
  node_id: string | null;
  node_role: string | null;
  microdao: string | null;
  microdao_role: string | null;
  role: string | null;
  district: string | null;
  rooms: string[];
}

interface Place {
  name: string;
  description: string;
  district: string | null;
  agents_total: number;
  agents_online: number;
}

export interface NodeDetails extends Place {
  id: string;
  guardian: AgentPresence | null;
  steward: AgentPresence | null;
  agents: Agent[];
}

export interface MicroDaoDetails extends Place {
  slug: string;
  orchestrator: AgentPresence | null;
  agents: Agent[];
}

export interface Room {
  id: string;
  slug: string;
  name: string;
  description: string;
  members_online: number;
  last_event: string | null;
  last_seq: number;
  matrix_room_id: string | null;
  matrix_room_alias: string;
  matrix_status: "pending" | "linked" | "failed";
  matrix_error: string | null;
  encrypted: boolean;
  is_default: boolean;
  archived: boolean;
  created_at: string;
}

export interface Media {
  mxc: string;
  url: string | null;
  thumbnail_url: string | null;
  mimetype: string;
  filename: string;
  size: number | null;
  width: number | null;
  height: number | null;
  duration_ms: number | null;
}

export interface Tally {
  emoji: string;
  count: number;
  /** The first 20 who gave it, as subjects. */
  by: SubjectId[];
  /** Of a reaction that is a picture (`emoji` is its `mxc://` address): where the city gives it out. */
  url: string | null;
  /** What a picture is called, if its sender said so. */
  shortcode: string | null;
}

export interface Message {
  id: string;
  room_id: string;
  seq: number;
  author: Author;
  body: string;
  formatted_body: string | null;
  msgtype: string;
  media: Media | null;
  mentions: SubjectId[];
  reply_to: string | null;
  reactions: Tally[];
  edited_at: string | null;
  deleted: boolean;
  created_at: string;
  matrix_event_id: string | null;
  delivery: Delivery;
  delivery_error: DeliveryError | null;
  client_id: string | null;
}

export interface RoomDetails extends Room {
  /** Whether one may read what is said there now, and open its WebSocket. */
  may_read: boolean;
  /** The last 50, oldest first. */
  messages: Message[];
  has_older: boolean;
  /** At most 200. */
  online_members: Member[];
}

export interface Joined {
  room_id: string;
  joined: boolean;
  members_online: number;
}

export interface SubjectPresence {
  user_id: SubjectId;
  status: Status;
  status_msg: string | null;
  last_active_ago_ms: number | null;
}

export interface Heads {
  citizens: number;
  agents: number;
  people: number;
  total: number;
}

export type FeedKind = "room_message" | "room_created" | "agent_online" | "agent_reply" | "member_joined" | "system";

export interface FeedEntry {
  id: string;
  kind: FeedKind;
  room_id: string | null;
  /** As it is called now; null where that is not for the reader. */
  room: { slug: string; name: string } | null;
  actor: Author | null;
  payload: Record<string, string>;
  created_at: string;
}

export interface Home {
  online: Heads;
  feed: FeedEntry[];
  popular_rooms: Room[];
  second_me: { available: boolean };
}

export interface Interaction {
  id: string;
  user_id: string;
  prompt: string;
  /** Without Markdown, and cut. */
  prompt_excerpt?: string;
  response: string;
  latency_ms: number;
  created_at: string;
}

export interface Site {
  city_name: string;
  sign_in: { url: string | null; name: boolean; matrix: boolean };
  matrix: { server_name: string; homeserver_url: string | null; client_url: string | null };
  heartbeat_ms: number;
  away_after_ms: number;
}

export interface SignedIn {
  token: string;
  user_id: string;
  display_name: string;
  expires_at: string;
}

export interface Unread {
  room_id: string;
  /** Messages of others; 100 means that many or more. */
  count: number;
}

export interface Me {
  user_id: string;
  display_name: string;
  matrix_user_id: string | null;
}
