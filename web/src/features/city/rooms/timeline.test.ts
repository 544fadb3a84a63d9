import { describe, expect, it } from "vitest";
import { message, OKSANA, room, WITHOUT_PICTURE, TARAS } from "../../../testing/samples";
import type { Entry } from "../../../outbox/entry";
import { delayed } from "../../../outbox/queue";
import { rowsOf, type Row } from "./rows";
import {
  newestTimeline,
  EMPTY_TIMELINE,
  outgoingMessages,
  withResponse,
  withChanges,
  withEvent,
  withMessage,
  withOlder,
  type OutgoingMessage,
  type OutgoingChange,
  type Timeline,
} from "./timeline";
import { countNew } from "./useAutoScroll";

const seqs = ({ messages }: Timeline) => messages.map(({ seq }) => seq);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => message(from + index));

describe("a room's timeline", () => {
  it("knows whether older messages exist", () => {
    expect(newestTimeline(room(60, range(58, 60), { has_older: true })).hasOlder).toBe(true);
    expect(newestTimeline(room(49, range(1, 49))).hasOlder).toBe(false);
  });

  it("prepends a page without duplicates", () => {
    const grown = withOlder(newestTimeline(room(60, range(51, 60))), range(45, 52));
    expect(seqs(grown)).toEqual(range(45, 60).map(({ seq }) => seq));
    expect(grown).toMatchObject({ hasOlder: true, grewAt: "older" });
    expect(withOlder(grown, []).hasOlder).toBe(false);
  });

  it("inserts a message once, by its seq", () => {
    let timeline = newestTimeline(room(5, [message(3), message(5)]));
    for (const seq of [6, 4, 6]) timeline = withMessage(timeline, message(seq));
    expect(seqs(timeline)).toEqual([3, 4, 5, 6]);
  });

  it("applies a change to its message", () => {
    const timeline = newestTimeline(room(5, [message(3), message(5)]));
    const event = { event: "city.room.message.updated", seq: 6, message: message(3, { body: "changed" }) } as const;
    expect(withEvent(timeline, event).messages.map(({ body }) => body)).toEqual(["changed", "words 5"]);
  });

  it("ignores changes of messages older than the loaded ones", () => {
    const timeline = newestTimeline(room(60, range(11, 60), { has_older: true }));
    expect(withMessage(timeline, message(4))).toBe(timeline);
  });

  it("ignores an event without a message", () => {
    expect(withEvent(EMPTY_TIMELINE, { event: "city.room.message", seq: 1, message: null })).toBe(EMPTY_TIMELINE);
  });
});

describe("outgoing messages", () => {
  const entry = (id: string, tries: number, state: Entry["state"] = "waiting", roomId = "city_general"): Entry => ({
    id,
    owner: "u_1",
    room: { id: roomId, slug: "general", name: "General" },
    order: 1,
    createdAt: 0,
    action: { kind: "message", body: id, replyTo: null, file: null, media: null },
    state,
    tries,
    notBefore: 0,
    problem: null,
  });

  it("wait behind an attempt of the same room only", () => {
    const entries = [
      entry("failed", 1, "failed"),
      entry("first", 0),
      entry("vain", 2),
      entry("behind", 0),
      entry("elsewhere", 0, "waiting", "city_art"),
    ];
    expect(outgoingMessages(entries).map(({ state }) => state)).toEqual(["failed", "sending", "waiting", "waiting", "sending"]);
    expect([...delayed(entries)]).toEqual(["vain", "behind"]);
  });

  it("are slowed after a 429, with those behind them", () => {
    const slowed = { ...entry("vain", 1), problem: { status: 429, code: "too_many_requests", detail: "…" } };
    const cut = { ...slowed, problem: { status: 0, code: "network", detail: "…" } };
    const isSlowed = (first: Entry) => outgoingMessages([first, entry("behind", 0)]).map((each) => each.isSlowed);
    expect(isSlowed(slowed)).toEqual([true, true]);
    expect(isSlowed(cut)).toEqual([false, false]);
  });
});

describe("the response to a request", () => {
  const shown = newestTimeline(room(5, [message(3), message(5)]));
  const before = shown.messages[1] ?? null;
  const answer = message(5, { body: "edited", delivery: "pending" });

  it("is applied if the stream has nothing newer", () => {
    expect(withResponse(shown, before, answer).messages[1]).toBe(answer);
    expect(withResponse(shown, null, message(6)).messages).toHaveLength(3);
  });

  it("does not overwrite newer events of the stream", () => {
    for (const newer of [message(5, { delivery: "sent" }), message(5, { body: "edited later" }), message(5, { deleted: true })]) {
      const event = { event: "city.room.message.updated", seq: 7, message: newer } as const;
      expect(withResponse(withEvent(shown, event), before, answer).messages[1]).toBe(newer);
    }
    const posted = { event: "city.room.message", seq: 6, message: message(6, { delivery: "sent" }) } as const;
    expect(withResponse(withEvent(shown, posted), null, message(6, { delivery: "pending" })).messages[2]?.delivery).toBe("sent");
  });
});

describe("pending changes", () => {
  const timeline = newestTimeline(
    room(5, [message(3), message(5, { reactions: [{ emoji: "🌻", count: 2, by: ["u_1", "u_2"], ...WITHOUT_PICTURE }] })]),
  );
  const change = (action: OutgoingChange["action"], state: OutgoingChange["state"] = "waiting") => ({
    clientId: "c1",
    action,
    state,
    problem: null,
  });

  it("are displayed as applied", () => {
    const edited = withChanges(timeline, [change({ kind: "edit", messageId: "m3", body: "new words" })], "u_1");
    expect(edited.messages[0]).toMatchObject({ body: "new words", formatted_body: null });
    expect(edited.messages[1]).toBe(timeline.messages[1]);
    expect(withChanges(timeline, [change({ kind: "removal", messageId: "m3" })], "u_1").messages[0]?.deleted).toBe(true);
    const taken = withChanges(timeline, [change({ kind: "reaction", messageId: "m5", emoji: "🌻", given: false })], "u_1");
    expect(taken.messages[1]?.reactions).toEqual([{ emoji: "🌻", count: 1, by: ["u_2"], ...WITHOUT_PICTURE }]);
    const given = withChanges(timeline, [change({ kind: "reaction", messageId: "m3", emoji: "🔥", given: true })], "u_1");
    expect(given.messages[0]?.reactions).toEqual([{ emoji: "🔥", count: 1, by: ["u_1"], ...WITHOUT_PICTURE }]);
  });

  it("are reverted when refused", () => {
    expect(withChanges(timeline, [change({ kind: "edit", messageId: "m3", body: "new words" }, "failed")], "u_1")).toBe(timeline);
  });
});

const outgoing: OutgoingMessage = {
  clientId: "c1",
  body: "on its way",
  replyTo: null,
  threadRoot: null,
  media: null,
  file: null,
  createdAt: "2026-11-22T12:01:00.000Z",
  state: "sending",
  problem: null,
  isSlowed: false,
};
const kinds = (rows: Row[]) =>
  rows.map((row) => (row.kind === "message" ? `${row.message.seq}${row.isFirst ? "!" : ""}` : row.kind));
const reader = { me: "u_1", unread: null };

describe("the rows of a timeline", () => {
  it("begin each day, and group messages by author and time", () => {
    const later = message(5, { created_at: "2026-11-22T12:20:00Z" });
    const tomorrow = message(6, { created_at: "2026-11-25T12:00:00Z" });
    const timeline = {
      ...EMPTY_TIMELINE,
      messages: [message(1), message(2), message(3, { author: TARAS }), message(4, { author: TARAS }), later, tomorrow],
    };
    expect(kinds(rowsOf(timeline, [], reader))).toEqual(["top", "day", "1!", "2", "3!", "4", "5!", "day", "6!"]);
  });

  it("mark the first unread message of others", () => {
    const timeline = {
      ...EMPTY_TIMELINE,
      messages: [message(1), message(2), message(3, { author: TARAS }), message(4, { author: TARAS })],
    };
    expect(kinds(rowsOf(timeline, [], { me: "u_1", unread: { after: 1, upTo: 4 } }))).toEqual([
      "top",
      "day",
      "1!",
      "2",
      "unread",
      "3!",
      "4",
    ]);
    expect(kinds(rowsOf(timeline, [], { me: "u_1", unread: { after: 4, upTo: Infinity } }))).not.toContain("unread");
    expect(kinds(rowsOf(timeline, [], { me: "u_1", unread: { after: 1, upTo: 2 } }))).not.toContain("unread");
  });

  it("include joins and leaves in their places", () => {
    const event = {
      event: "city.room.join",
      seq: 2,
      member: TARAS,
      created_at: "2026-11-22T12:00:02Z",
      members_online: 2,
    } as const;
    const timeline = withEvent({ ...EMPTY_TIMELINE, messages: [message(1), message(3)] }, event);
    expect(kinds(rowsOf(timeline, [], reader))).toEqual(["top", "day", "1!", "note", "3!"]);
  });

  it("keep the key of an own message after it is sent", () => {
    const before = rowsOf(EMPTY_TIMELINE, [outgoing], reader);
    const after = rowsOf({ ...EMPTY_TIMELINE, messages: [message(1, { client_id: "c1", author: OKSANA })] }, [], reader);
    expect(after.at(-1)?.key).toBe(before.at(-1)?.key);
  });

  it("count the messages after the last read one", () => {
    const rows = rowsOf({ ...EMPTY_TIMELINE, messages: range(1, 5) }, [], reader);
    expect(countNew(rows, "m3")).toBe(2);
    expect(countNew(rows, null)).toBe(0);
  });

  it("have unique keys", () => {
    const rows = rowsOf({ ...EMPTY_TIMELINE, messages: range(1, 5_000) }, [], reader);
    expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
  });
});
