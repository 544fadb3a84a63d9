import type { Media, Message, RoomDetails } from "../../../api/types";
import type { Problem } from "../../../api/problem";
import type { RoomEvent } from "../../../lib/roomSocket";

/** Somebody who came or left while the room was looked at. */
export interface Note {
  seq: number;
  name: string;
  what: "joined" | "left";
  at: string;
}

/** What one said oneself, until the city has it. */
export interface Outgoing {
  clientId: string;
  body: string;
  replyTo: string | null;
  media: Media | null;
  createdAt: string;
  /** `waiting` is tried again by itself, `failed` when its author says so. */
  state: "sending" | "waiting" | "failed";
  problem: Problem | null;
}

/** What is shown of a room's history: one piece of it without holes, up to its end. */
export interface Timeline {
  /** By `seq`, oldest first. */
  messages: readonly Message[];
  notes: readonly Note[];
  hasOlder: boolean;
  /** At which end it grew last: a list that grows at its beginning must keep what is seen where it is. */
  grew: "older" | "newer";
}

/** As many as `GET /city/rooms/{id}` has. */
export const PAGE = 50;

export const EMPTY: Timeline = { messages: [], notes: [], hasOlder: false, grew: "newer" };

export function begin(room: RoomDetails): Timeline {
  return { messages: room.messages, notes: [], hasOlder: room.has_older, grew: "newer" };
}

/** A page may hold fewer than were asked for, because it is bounded in bytes: only an empty one says that there are no more. */
export function withOlder(timeline: Timeline, older: readonly Message[]): Timeline {
  const first = timeline.messages[0]?.seq ?? Infinity;
  const before = older.filter(({ seq }) => seq < first);
  return { ...timeline, messages: [...before, ...timeline.messages], hasOlder: older.length > 0, grew: "older" };
}

/** A message as it stands now. One that is older than what is shown is left out: there would be a hole before it. */
export function withMessage(timeline: Timeline, message: Message): Timeline {
  const { messages } = timeline;
  const known = messages.findLastIndex(({ id }) => id === message.id);
  if (known >= 0) return { ...timeline, messages: messages.with(known, message), grew: "newer" };
  const isBefore = message.seq < (messages[0]?.seq ?? -Infinity);
  if (isBefore && timeline.hasOlder) return timeline;
  const place = messages.findLastIndex(({ seq }) => seq < message.seq) + 1;
  return { ...timeline, messages: messages.toSpliced(place, 0, message), grew: "newer" };
}

export function withEvent(timeline: Timeline, event: RoomEvent): Timeline {
  switch (event.event) {
    case "city.room.message":
    case "city.room.message.updated":
    case "city.room.message.deleted":
    case "city.room.reaction":
      return event.message ? withMessage(timeline, event.message) : timeline;
    case "city.room.join":
    case "city.room.leave":
      return withNote(timeline, {
        seq: event.seq,
        name: event.member.display_name,
        what: event.event === "city.room.join" ? "joined" : "left",
        at: event.created_at,
      });
    default:
      return timeline;
  }
}

function withNote(timeline: Timeline, note: Note): Timeline {
  return { ...timeline, notes: [...timeline.notes, note], grew: "newer" };
}
