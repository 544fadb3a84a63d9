import type { FeedEntry } from "../../api/types";

export interface FeedGroup {
  /** The newest entry of the group. */
  entry: FeedEntry;
  /** The number of older entries that the group stands for. */
  more: number;
  /** The number of people who joined, in entries of the kind `member_joined`. */
  joined: number;
}

/** The number of groups that fit above the fold. */
const LIMIT = 6;

/**
 * Group the feed: consecutive messages of one room are one group, and so are all joins of one room.
 *
 * `entries`: newest first. Above `limit` groups, those of joins are dropped first: messages are what people read.
 */
export function feedGroups(entries: readonly FeedEntry[], limit = LIMIT): FeedGroup[] {
  const groups: FeedGroup[] = [];
  for (const entry of entries) {
    const same = entry.kind === "member_joined" ? groups.find((group) => isSame(group, entry)) : groups.at(-1);
    if (same && isSame(same, entry)) {
      same.more += 1;
      same.joined += joinedBy(entry);
    } else groups.push({ entry, more: 0, joined: joinedBy(entry) });
  }
  while (groups.length > limit) {
    const arrival = groups.findLastIndex(({ entry }) => entry.kind === "member_joined");
    groups.splice(arrival < 0 ? groups.length - 1 : arrival, 1);
  }
  return groups;
}

function isSame({ entry }: FeedGroup, { kind, room_id: room }: FeedEntry): boolean {
  const isGrouped = kind === "room_message" || kind === "member_joined";
  return isGrouped && entry.kind === kind && entry.room_id === room;
}

function joinedBy({ kind, payload }: FeedEntry): number {
  return kind === "member_joined" ? Number(payload.count ?? 1) : 0;
}
