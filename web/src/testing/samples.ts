import type { Author, Message, RoomDetails } from "../api/types";

export const OKSANA: Author = {
  kind: "citizen",
  id: "u_1",
  display_name: "Оксана",
  matrix_user_id: "@citizen_u_1:city.localhost",
  avatar_url: null,
};

export const TARAS: Author = { ...OKSANA, id: "u_2", display_name: "Тарас", matrix_user_id: "@citizen_u_2:city.localhost" };

export function message(seq: number, changes: Partial<Message> = {}): Message {
  return {
    id: `m${seq}`,
    room_id: "city_general",
    seq,
    author: OKSANA,
    body: `words ${seq}`,
    formatted_body: null,
    msgtype: "m.text",
    media: null,
    poll: null,
    location: null,
    unsupported: false,
    original_type: null,
    mentions_room: false,
    mentions: [],
    reply_to: null,
    thread_root: null,
    thread: null,
    reactions: [],
    edited_at: null,
    deleted: false,
    created_at: new Date(Date.parse("2026-11-22T12:00:00Z") + seq * 1_000).toISOString(),
    matrix_event_id: null,
    delivery: "sent",
    delivery_error: null,
    client_id: null,
    ...changes,
  };
}

/** The picture fields of a reaction with an emoji. */
export const WITHOUT_PICTURE = { url: null, shortcode: null };

export function room(lastSeq: number, messages: Message[] = [], changes: Partial<RoomDetails> = {}): RoomDetails {
  return {
    id: "city_general",
    slug: "general",
    name: "General",
    description: "Головна кімната міста",
    members_online: 1,
    last_event: null,
    last_seq: lastSeq,
    avatar_url: null,
    matrix_room_id: null,
    matrix_room_alias: "#city_general:city.localhost",
    matrix_status: "linked",
    matrix_error: null,
    encrypted: false,
    pins: 0,
    writers: "everyone",
    rights: null,
    history_visibility: "shared",
    is_public: true,
    is_default: true,
    archived: false,
    created_at: "2026-11-22T12:00:00Z",
    may_read: true,
    removal: null,
    messages,
    has_older: false,
    online_members: [],
    ...changes,
  };
}

/** A token like those of the city, except for its signature. */
export function token(claims: Record<string, unknown>): string {
  const part = (content: object) =>
    btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(content))))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
  return `${part({ alg: "HS256" })}.${part(claims)}.c2ln`;
}

export const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 0));
