import type { Media, Message, RoomDetails, SubjectId, ReactionCount } from "../../../api/types";
import { Problem } from "../../../api/problem";
import type { RoomEvent } from "../../../lib/roomStream";
import type { Action, Entry } from "../../../outbox/entry";
import { delayed } from "../../../outbox/queue";

/** A member who joined, left, or was kicked or banned while the room was open. */
export interface MembershipEvent {
  seq: number;
  name: string;
  change: "joined" | "left" | "kicked" | "banned";
  /** Who kicked or banned the member; null for the city itself. */
  by?: string | null;
  reason?: string | null;
  at: string;
}

/** A message of the reader that the city does not have yet. */
export interface OutgoingMessage {
  clientId: string;
  body: string;
  replyTo: string | null;
  /** The message id of the root of its thread; null in the main timeline. */
  threadRoot: string | null;
  media: Media | null;
  /** A file that is not uploaded yet. */
  file: File | null;
  createdAt: string;
  /** `waiting` is retried automatically, `failed` by its author. */
  state: "sending" | "waiting" | "failed";
  problem: Problem | null;
  /** Whether it waits for the rate limit, as its author wrote more than the city takes at a time, and not for the connection. */
  isSlowed: boolean;
}

/** An edit, deletion or reaction that the city does not have yet. */
export interface OutgoingChange {
  clientId: string;
  action: Exclude<Action, { kind: "message" }>;
  state: OutgoingMessage["state"];
  problem: Problem | null;
}

function stateOf({ id, state }: Entry, delayedIds: ReadonlySet<string>): OutgoingMessage["state"] {
  if (state === "failed") return "failed";
  return delayedIds.has(id) ? "waiting" : "sending";
}

function problemOf({ problem }: Entry): Problem | null {
  return problem && new Problem(problem.status, problem.code, problem.detail);
}

/** The messages among the outbox entries of a room, as they are shown. */
export function outgoingMessages(entries: readonly Entry[]): OutgoingMessage[] {
  const delayedIds = delayed(entries);
  const isSlowed = entries.some(({ state, problem }) => state === "waiting" && problem?.status === 429);
  return entries.flatMap((entry) => {
    if (entry.action.kind !== "message") return [];
    const { body, replyTo, threadRoot = null, media, file } = entry.action;
    const createdAt = new Date(entry.createdAt).toISOString();
    const state = stateOf(entry, delayedIds);
    return [
      { clientId: entry.id, body, replyTo, threadRoot, media, file, createdAt, state, problem: problemOf(entry), isSlowed },
    ];
  });
}

/** The edits, deletions and reactions among the outbox entries of a room. */
export function outgoingChanges(entries: readonly Entry[]): OutgoingChange[] {
  const delayedIds = delayed(entries);
  return entries.flatMap((entry) => {
    if (entry.action.kind === "message") return [];
    return [{ clientId: entry.id, action: entry.action, state: stateOf(entry, delayedIds), problem: problemOf(entry) }];
  });
}

/** The loaded part of a room's history: without gaps, and up to the newest message unless `hasNewer`. */
export interface Timeline {
  /** By `seq`, oldest first. */
  messages: readonly Message[];
  membershipEvents: readonly MembershipEvent[];
  hasOlder: boolean;
  /** Whether it ends before the newest messages: then new messages do not follow on it. */
  hasNewer: boolean;
  /** The end at which it grew last: when a list grows at its beginning, the visible rows must stay where they are. */
  grewAt: "older" | "newer";
}

/** The number of messages in a response of `GET /city/rooms/{id}`. */
export const PAGE_SIZE = 50;

export const EMPTY_TIMELINE: Timeline = { messages: [], membershipEvents: [], hasOlder: false, hasNewer: false, grewAt: "newer" };

export function newestTimeline(room: RoomDetails): Timeline {
  return { messages: room.messages, membershipEvents: [], hasOlder: room.has_older, hasNewer: false, grewAt: "newer" };
}

/** Prepend an older page. Pages are limited in bytes, so only an empty page means that there are no more. */
export function withOlder(timeline: Timeline, older: readonly Message[]): Timeline {
  const first = timeline.messages[0]?.seq ?? Infinity;
  const before = older.filter(({ seq }) => seq < first);
  return { ...timeline, messages: [...before, ...timeline.messages], hasOlder: older.length > 0, grewAt: "older" };
}

/**
 * Join a page from the middle of the history with the newest messages (`live`) if it reaches them.
 *
 * A page does not say whether there are more messages at an end: an empty page after it does.
 */
export function timelineAround(page: readonly Message[], live: Timeline): Timeline {
  return joined({ messages: page, membershipEvents: [], hasOlder: true, hasNewer: true, grewAt: "older" }, live);
}

/** `newer` is the page after `timeline`; an empty page, and one that reaches `live`, ends at the newest messages. */
export function withNewer(timeline: Timeline, newer: readonly Message[], live: Timeline): Timeline {
  const last = timeline.messages.at(-1)?.seq ?? -Infinity;
  const messages = [...timeline.messages, ...newer.filter(({ seq }) => seq > last)];
  return joined({ ...timeline, messages, grewAt: "newer" }, live, !newer.length);
}

function joined(timeline: Timeline, live: Timeline, isAdjacent = false): Timeline {
  const first = live.messages[0]?.seq ?? Infinity;
  if (!isAdjacent && (timeline.messages.at(-1)?.seq ?? -Infinity) < first) return timeline;
  const before = timeline.messages.filter(({ seq }) => seq < first);
  return { ...timeline, messages: [...before, ...live.messages], membershipEvents: live.membershipEvents, hasNewer: false };
}

/** Insert or update a message. A message outside of the loaded range is left out if that would leave a gap. */
export function withMessage(timeline: Timeline, message: Message): Timeline {
  const { messages } = timeline;
  const known = messages.findLastIndex(({ id }) => id === message.id);
  if (known >= 0) return { ...timeline, messages: messages.with(known, message), grewAt: "newer" };
  const isBefore = message.seq < (messages[0]?.seq ?? -Infinity);
  const isAfter = message.seq > (messages.at(-1)?.seq ?? -Infinity);
  if ((isBefore && timeline.hasOlder) || (isAfter && timeline.hasNewer)) return timeline;
  const place = messages.findLastIndex(({ seq }) => seq < message.seq) + 1;
  return { ...timeline, messages: messages.toSpliced(place, 0, message), grewAt: "newer" };
}

/**
 * Apply the response to a request that was sent while `before` was shown; null for a message that was not loaded.
 *
 * The events of the room are authoritative and arrive in order: if an event or a page of the history has changed the message
 * since then, its version is as new as the response, or will be. The response is applied only if none has.
 */
export function withResponse(timeline: Timeline, before: Message | null, answer: Message): Timeline {
  const shown = timeline.messages.find(({ id }) => id === answer.id) ?? null;
  return shown === before ? withMessage(timeline, answer) : timeline;
}

/** The timeline with the changes that the reader (`me`) made and the city has not confirmed yet. */
export function withChanges(timeline: Timeline, changes: readonly OutgoingChange[], me: SubjectId | null): Timeline {
  const open = changes.filter(({ state }) => state !== "failed");
  if (!open.length || me === null) return timeline;
  const messages = timeline.messages.map((message) =>
    open
      .filter(({ action }) => action.messageId === message.id)
      .reduce((now, { action }) => withAction(now, action, me), message),
  );
  return { ...timeline, messages };
}

function withAction(message: Message, action: OutgoingChange["action"], me: SubjectId): Message {
  switch (action.kind) {
    case "edit":
      return { ...message, body: action.body, formatted_body: null, edited_at: message.edited_at ?? message.created_at };
    case "removal":
      return { ...message, deleted: true };
    case "reaction":
      return { ...message, reactions: withReaction(message.reactions, action.emoji, action.given, me) };
  }
}

function withReaction(reactions: readonly ReactionCount[], emoji: string, given: boolean, me: SubjectId): ReactionCount[] {
  const known = reactions.find((reaction) => reaction.emoji === emoji) ?? { emoji, count: 0, by: [], url: null, shortcode: null };
  if (known.by.includes(me) === given) return [...reactions];
  const by = given ? [...known.by, me] : known.by.filter((subject) => subject !== me);
  const reaction = { ...known, by, count: Math.max(by.length, known.count + (given ? 1 : -1)) };
  const others = known.count ? reactions.map((other) => (other.emoji === emoji ? reaction : other)) : [...reactions, reaction];
  return others.filter(({ count }) => count > 0);
}

export function withEvent(timeline: Timeline, event: RoomEvent): Timeline {
  switch (event.event) {
    case "city.room.message":
    case "city.room.message.updated":
    case "city.room.message.deleted":
    case "city.room.reaction":
      return event.message ? withMessage(timeline, event.message) : timeline;
    case "city.room.join":
      return withMembershipEvent(timeline, {
        seq: event.seq,
        name: event.member.display_name,
        change: "joined",
        at: event.created_at,
      });
    case "city.room.leave": {
      const { seq, member, cause, by, reason, created_at } = event;
      return withMembershipEvent(timeline, {
        seq,
        name: member.display_name,
        change: cause ?? "left",
        by: by?.display_name ?? null,
        reason: reason ?? null,
        at: created_at,
      });
    }
    default:
      return timeline;
  }
}

function withMembershipEvent(timeline: Timeline, note: MembershipEvent): Timeline {
  return timeline.hasNewer ? timeline : { ...timeline, membershipEvents: [...timeline.membershipEvents, note], grewAt: "newer" };
}

/**
 * The part of a timeline that a conversation shows: the main timeline without the replies of threads, or a thread.
 *
 * The root comes first, whatever its `seq` is: from Matrix it may arrive after replies.
 */
export function visibleTimeline(timeline: Timeline, threadRoot: string | null, root: Message | null): Timeline {
  const messages = timeline.messages.filter((message) => message.thread_root === threadRoot);
  return { ...timeline, messages: root && !timeline.hasOlder ? [root, ...messages] : messages };
}
