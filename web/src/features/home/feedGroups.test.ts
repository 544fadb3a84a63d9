import { describe, expect, it } from "vitest";
import type { FeedEntry } from "../../api/types";
import { feedGroups } from "./feedGroups";

let number = 0;
const entry = (kind: FeedEntry["kind"], room: string, payload: FeedEntry["payload"] = {}): FeedEntry => ({
  id: `f${(number += 1)}`,
  kind,
  room_id: room,
  room: { slug: room, name: room },
  actor: null,
  payload,
  created_at: "2026-11-22T12:00:00Z",
});
const short = (entries: FeedEntry[], limit?: number) =>
  feedGroups(entries, limit).map(({ entry: { kind, room_id: room }, more, joined }) => `${kind} ${room} ${more} ${joined}`);

describe("feedGroups", () => {
  it("joins messages of one room that follow each other", () => {
    const entries = [
      entry("room_message", "a"),
      entry("room_message", "a"),
      entry("room_message", "b"),
      entry("room_message", "a"),
    ];
    expect(short(entries)).toEqual(["room_message a 1 0", "room_message b 0 0", "room_message a 0 0"]);
  });

  it("adds up the joins of one room", () => {
    const entries = [entry("member_joined", "a"), entry("room_message", "a"), entry("member_joined", "a", { count: "3" })];
    expect(short(entries)).toEqual(["member_joined a 1 4", "room_message a 0 0"]);
  });

  it("drops joins before messages above the limit", () => {
    const entries = [entry("member_joined", "a"), entry("room_message", "b"), entry("agent_reply", "c")];
    expect(short(entries, 2)).toEqual(["room_message b 0 0", "agent_reply c 0 0"]);
  });
});
