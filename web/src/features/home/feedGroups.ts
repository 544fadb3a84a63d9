import type { FeedEntry } from "../../api/types";

export interface FeedGroup {
  /** The newest of them. */
  entry: FeedEntry;
  /** How many older ones of the same room it stands for. */
  more: number;
  /** People who came, of `member_joined`. */
  joined: number;
}

/** As many as stand above the fold. */
const LIMIT = 6;

/**
 * The feed in fewer lines: messages of one room that follow each other are one, and all who come to one room are one.
 *
 * `entries`: the newest first. Where there are more than `limit` groups, those who came leave first: messages are what one reads.
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
