import type { Agent, Room, SubjectId } from "../../api/types";
import { agentPath, roomPath } from "../../lib/paths";
import { agentSubject } from "../../lib/subjects";

/** A result of the palette. `path` is its page; a person without a page has a `subject` only. */
export interface PaletteItem {
  id: string;
  group: "pages" | "rooms" | "people" | "agents" | "messages";
  name: string;
  detail: string;
  path?: string;
  subject?: SubjectId;
  /** The picture of a room. */
  picture?: string | null;
}

export interface PaletteSources {
  pages: readonly { name: string; path: string }[];
  /** The room with the newest event first. */
  rooms: readonly Room[];
  agents: readonly Agent[];
  people: readonly { subject: SubjectId; name: string }[];
}

/** The most results of each group, so that one can look through them. */
const LIMITS = { pages: 6, rooms: 7, people: 5, agents: 5 } as const;

/** The results by name, in groups; for an empty query, the pages and the rooms with the newest events. */
export function paletteItems(query: string, sources: PaletteSources): PaletteItem[] {
  const words = normalized(query);
  const rooms = sources.rooms.map((room): PaletteItem => ({
    id: `room ${room.id}`,
    group: "rooms",
    name: room.name,
    detail: room.description,
    path: roomPath(room.slug),
    picture: room.avatar_url,
  }));
  const pages = sources.pages.map(({ name, path }): PaletteItem => ({
    id: `page ${path}`,
    group: "pages",
    name,
    detail: "",
    path,
  }));
  if (words === "") return [...rooms.slice(0, LIMITS.rooms), ...pages];
  const people = sources.people.map(({ subject, name }): PaletteItem => ({
    id: `person ${subject}`,
    group: "people",
    name,
    detail: "",
    subject,
  }));
  const agents = sources.agents.map((agent): PaletteItem => ({
    id: `agent ${agent.slug}`,
    group: "agents",
    name: agent.display_name,
    detail: agent.title ?? "",
    path: agentPath(agent.slug),
    subject: agentSubject(agent.slug),
  }));
  return [
    ...best(rooms, words, LIMITS.rooms),
    ...best(people, words, LIMITS.people),
    ...best(agents, words, LIMITS.agents),
    ...best(pages, words, LIMITS.pages),
  ];
}

/** The items with `words` in their name or detail: at the beginning of the name, of a word of it, and elsewhere, in this order. */
function best(items: readonly PaletteItem[], words: string, limit: number): PaletteItem[] {
  const ranked = items.flatMap((item, place) => {
    const rank = rankOf(normalized(item.name), normalized(item.detail), words);
    return rank === null ? [] : [{ item, rank, place }];
  });
  ranked.sort((a, b) => a.rank - b.rank || a.place - b.place);
  return ranked.slice(0, limit).map(({ item }) => item);
}

function rankOf(name: string, detail: string, words: string): number | null {
  if (name.startsWith(words)) return 0;
  if (name.includes(` ${words}`)) return 1;
  if (name.includes(words)) return 2;
  return detail.includes(words) ? 3 : null;
}

function normalized(text: string): string {
  return text.trim().toLocaleLowerCase().replace(/^[@#]/, "");
}
