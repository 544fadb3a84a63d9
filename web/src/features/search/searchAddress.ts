import type { SearchFilter } from "../../api/city";

/** A search as in the URL of the page: `/search?q=…&room=…&author=…&after=…&before=…`; days are local. */
export interface MessageSearch {
  q: string;
  room: string;
  author: string;
  after: string;
  before: string;
}

const KEYS = ["q", "room", "author", "after", "before"] as const satisfies (keyof MessageSearch)[];

export function searchOf(parameters: URLSearchParams): MessageSearch {
  const [q, room, author, after, before] = KEYS.map((key) => parameters.get(key) ?? "") as [
    string,
    string,
    string,
    string,
    string,
  ];
  return { q, room, author, after, before };
}

export function searchParamsOf(search: MessageSearch): URLSearchParams {
  return new URLSearchParams(KEYS.flatMap((key) => (search[key].trim() ? [[key, search[key].trim()]] : [])));
}

export function searchPath(q: string): string {
  return `/search?${searchParamsOf({ q, room: "", author: "", after: "", before: "" })}`;
}

/** The filter for the city: its days are in UTC, those of the reader in the local time zone. */
export function filterOf({ room, author, after, before }: MessageSearch): SearchFilter {
  return {
    ...(room && { room }),
    ...(author && { author }),
    ...(isDay(after) && { after: startOfDay(after, 0) }),
    ...(isDay(before) && { before: startOfDay(before, 1) }),
  };
}

/** Midnight of a local day, or of the day that is `later` days after it, as RFC 3339. */
export function startOfDay(day: string, later: number): string {
  const [year = 0, month = 1, date = 1] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later).toISOString();
}

/** Whether a text is a valid day: a URL may contain anything. */
function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text));
}

/** Split `text` at the matches; `ranges` are `[start, end)` of the matches, as offsets in UTF-16. */
export function highlighted(text: string, ranges: readonly (readonly number[])[]): { text: string; isFound: boolean }[] {
  const parts: { text: string; isFound: boolean }[] = [];
  let at = 0;
  for (const [start = 0, end = 0] of ranges) {
    if (start < at || end > text.length) continue;
    if (start > at) parts.push({ text: text.slice(at, start), isFound: false });
    parts.push({ text: text.slice(start, end), isFound: true });
    at = end;
  }
  if (at < text.length) parts.push({ text: text.slice(at), isFound: false });
  return parts;
}
