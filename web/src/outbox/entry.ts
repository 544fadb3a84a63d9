import type { Problem } from "../api/problem";
import type { Media, NewVoice, SubjectId } from "../api/types";

/** What somebody does in a room and the city has still to be sent. */
export type Action =
  | {
      kind: "message";
      body: string;
      replyTo: string | null;
      /** The message id of the thread's root; entries that earlier versions stored have none. */
      threadRoot?: string | null;
      file: File | null;
      media: Media | null;
      msgtype?: "m.emote";
      /** Makes a message with an audio file a voice message. */
      voice?: NewVoice;
    }
  | { kind: "edit"; messageId: string; body: string }
  | { kind: "reaction"; messageId: string; emoji: string; given: boolean }
  | { kind: "removal"; messageId: string };

/** Where it belongs; `name` and `slug` are for telling people where something waits. */
export interface EntryRoom {
  id: string;
  slug: string;
  name: string;
}

/** A `Problem` as it can be stored. */
export interface StoredProblem {
  status: number;
  code: string;
  detail: string;
}

/** One action of one person in one room, until the city has it. */
export interface Entry {
  /** The `client_id` of a message, by which the city knows one that is sent again. */
  id: string;
  /** The citizen whose action it is; it is sent with no token but theirs. */
  owner: SubjectId;
  room: EntryRoom;
  /** Place in the queue of the room; grows. */
  order: number;
  /** Milliseconds since the epoch. */
  createdAt: number;
  action: Action;
  /** `waiting` is sent by itself, `failed` when its author says so. */
  state: "waiting" | "failed";
  /** Sent in vain so often. */
  tries: number;
  /** Not to be sent before; milliseconds since the epoch. */
  notBefore: number;
  problem: StoredProblem | null;
}

/** Actions of one person in one room keep their order; others do not wait for them. */
export function queueKey({ owner, room }: Entry): string {
  return `${owner} ${room.id}`;
}

/** How many bytes a person's storage holds for an entry, about. */
export function bytesOf({ action }: Entry): number {
  if (action.kind === "message") return action.body.length * 2 + (action.file?.size ?? 0);
  return action.kind === "edit" ? action.body.length * 2 : 0;
}

export function storedProblem({ status, code, message }: Problem): StoredProblem {
  return { status, code, detail: message };
}
