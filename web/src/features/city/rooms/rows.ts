import type { Message } from "../../../api/types";
import { localDate } from "../../../lib/formatTime";
import { subjectOf } from "../../../lib/subjects";
import type { MembershipEvent, OutgoingMessage, Timeline } from "./timeline";

/** One row of the rendered conversation; its `key` stays the same as long as the row exists. */
export type Row =
  | { kind: "top"; key: string }
  | { kind: "day"; key: string; day: string }
  | { kind: "unread"; key: string }
  | { kind: "note"; key: string; note: MembershipEvent }
  | { kind: "message"; key: string; message: Message; isFirst: boolean }
  | { kind: "outgoing"; key: string; outgoing: OutgoingMessage; isFirst: boolean };

/** A message within this time after the last one of its author has no name above it. */
const GROUPING_MS = 5 * 60_000;

/** A range of `seq`: after `after`, up to and including `upTo`. */
export interface SeqRange {
  after: number;
  upTo: number;
}

interface Reader {
  /** The subject of the reader; null for a visitor. */
  me: string | null;
  /** The range of messages that the reader missed; null on a first visit, or if the reader has written since. */
  unread: SeqRange | null;
}

/** The rows of a conversation, oldest first. `isFirst`: with the author's avatar and name. */
export function rowsOf(
  { messages, membershipEvents: notes }: Timeline,
  outbox: readonly OutgoingMessage[],
  reader: Reader,
): Row[] {
  const rows: Row[] = [{ kind: "top", key: "top" }];
  const state = { day: "", author: "", at: 0 };
  const unread = firstUnread(messages, reader);

  const open = (at: string) => {
    const day = localDate(at);
    if (day === state.day) return;
    state.day = day;
    state.author = "";
    rows.push({ kind: "day", key: `day ${day}`, day });
  };
  const isFirstOf = (author: string, at: string) => {
    const isFirst = author !== state.author || Date.parse(at) - state.at > GROUPING_MS;
    state.author = author;
    state.at = Date.parse(at);
    return isFirst;
  };

  for (const item of mergeBySeq(messages, notes)) {
    open("change" in item ? item.at : item.created_at);
    if ("change" in item) {
      state.author = "";
      rows.push({ kind: "note", key: `note ${item.seq}`, note: item });
      continue;
    }
    if (item.id === unread) {
      state.author = "";
      rows.push({ kind: "unread", key: "unread" });
    }
    const isFirst = isFirstOf(subjectOf(item.author), item.created_at);
    // A message keeps the key of its outbox entry when the city has accepted it, so that nothing moves.
    rows.push({ kind: "message", key: item.client_id ?? item.id, message: item, isFirst });
  }
  for (const outgoing of outbox) {
    open(outgoing.createdAt);
    const isFirst = isFirstOf(reader.me ?? "", outgoing.createdAt);
    rows.push({ kind: "outgoing", key: outgoing.clientId, outgoing, isFirst });
  }
  return rows;
}

function firstUnread(messages: readonly Message[], { me, unread }: Reader): string | null {
  if (!unread) return null;
  const isMissed = ({ seq, author }: Message) => seq > unread.after && seq <= unread.upTo && subjectOf(author) !== me;
  return messages.find(isMissed)?.id ?? null;
}

/** Merge messages and membership events by `seq`. */
function* mergeBySeq(messages: readonly Message[], notes: readonly MembershipEvent[]): Generator<Message | MembershipEvent> {
  let next = 0;
  for (const message of messages) {
    for (let note = notes[next]; note && note.seq < message.seq; note = notes[++next]) yield note;
    yield message;
  }
  yield* notes.slice(next);
}
