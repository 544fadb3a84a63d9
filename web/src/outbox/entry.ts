import type { Problem } from "../api/problem";
import type { Media, NewVoice, SubjectId } from "../api/types";

/** An action in a room that the city does not have yet. */
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
      /** Present for an audio file that is a voice message. */
      voice?: NewVoice;
    }
  | { kind: "edit"; messageId: string; body: string }
  | { kind: "reaction"; messageId: string; emoji: string; given: boolean }
  | { kind: "removal"; messageId: string };

/** The room of an entry; `name` and `slug` show people where entries wait. */
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

/** One action of one citizen in one room, until the city has it. */
export interface Entry {
  /** The `client_id` of a message, by which the city recognises a repeated request. */
  id: string;
  /** The citizen whose action it is; it is sent with the token of this citizen only. */
  owner: SubjectId;
  room: EntryRoom;
  /** The position in the queue of the room, which grows. */
  order: number;
  /** Milliseconds since the epoch. */
  createdAt: number;
  action: Action;
  /** `waiting` is sent automatically, `failed` when its author asks for it. */
  state: "waiting" | "failed";
  /** The number of failed requests. */
  tries: number;
  /** The time before which it is not sent; milliseconds since the epoch. */
  notBefore: number;
  problem: StoredProblem | null;
}

/** The key of a queue: actions of one citizen in one room keep their order; those of other queues do not wait for them. */
export function queueKey({ owner, room }: Entry): string {
  return `${owner} ${room.id}`;
}

/** The approximate size of an entry in the browser's storage, in bytes. */
export function bytesOf({ action }: Entry): number {
  if (action.kind === "message") return action.body.length * 2 + (action.file?.size ?? 0);
  return action.kind === "edit" ? action.body.length * 2 : 0;
}

export function storedProblem({ status, code, message }: Problem): StoredProblem {
  return { status, code, detail: message };
}
