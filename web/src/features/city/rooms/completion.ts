/** The text before the caret that can be completed: a mention, a room, an emoji, or a command at the beginning of a message. */
export interface Trigger {
  sign: "@" | "#" | ":" | "/";
  /** The text after the sign. */
  query: string;
  /** The index of the sign, and of the end of the query. */
  start: number;
  end: number;
}

const TOKEN = /(?:^|[\s(«"])([@#:])([^\s@#:]*)$/u;
const COMMAND = /^\/(\p{L}*)$/u;
const EMOJI_NAME = /^[\p{L}\p{N}_+-]{2,}$/u;
/** Names may have two words: `@Тарас Ше` is still one mention. */
const NAME = /(?:^|[\s(«"])@(\p{L}[^\s@#:]* [^\s@#:]*)$/u;

/** The trigger that ends at the caret; null if there is nothing to complete. */
export function triggerAt(text: string, caret: number): Trigger | null {
  const before = text.slice(0, caret);
  const command = COMMAND.exec(before);
  if (command?.[1] !== undefined && caret === text.length) return { sign: "/", query: command[1], start: 0, end: caret };
  const [, sign, query] = TOKEN.exec(before) ?? [];
  if (sign !== undefined && query !== undefined) {
    // `:)` and the time after "о 12:" are not names of emojis.
    if (sign === ":" && !EMOJI_NAME.test(query)) return null;
    return { sign: sign as Trigger["sign"], query, start: caret - query.length - 1, end: caret };
  }
  const name = NAME.exec(before)?.[1];
  return name === undefined ? null : { sign: "@", query: name, start: caret - name.length - 1, end: caret };
}

export interface Candidate {
  id: string;
  /** Shown in the list. */
  label: string;
  detail: string;
  /** Inserted into the text. */
  insert: string;
  /** Sent in place of `insert`, if it differs. */
  target?: string;
  picture: { subject: string } | { emoji: string } | { room: string; url: string | null } | null;
}

/** The number of candidates that fit above a composer on a phone. */
const LIMIT = 6;

/** The candidates with the query at the beginning of a word of the label or detail; matches at the start of the label first. */
export function matching(candidates: Iterable<Candidate>, query: string, limit = LIMIT): Candidate[] {
  const searchText = query.toLocaleLowerCase();
  const first: Candidate[] = [];
  const others: Candidate[] = [];
  for (const candidate of candidates) {
    const label = candidate.label.toLocaleLowerCase();
    if (label.startsWith(searchText)) first.push(candidate);
    else if (hasWord(label, searchText) || hasWord(candidate.detail.toLocaleLowerCase(), searchText)) others.push(candidate);
    if (first.length >= limit) break;
  }
  return [...first, ...others].slice(0, limit);
}

function hasWord(text: string, beginning: string): boolean {
  return text.startsWith(beginning) || text.includes(` ${beginning}`) || text.includes(`_${beginning}`);
}

/** Whether Enter sends the message if no candidate was chosen: for a slash alone, or if a candidate would change nothing. */
export function isComplete({ sign, query }: Trigger, candidates: readonly Candidate[]): boolean {
  // Enter completes a command, which needs words after it.
  if (sign === "/") return query === "";
  return candidates.some(({ insert, target }) => insert === sign + query && target === undefined);
}

/** The text with a candidate in place of the trigger, and the caret after it. */
export function completed(text: string, { start, end }: Trigger, { insert }: Candidate): { text: string; caret: number } {
  const after = text.slice(end);
  const space = after.startsWith(" ") ? "" : " ";
  return { text: text.slice(0, start) + insert + space + after, caret: start + insert.length + 1 };
}
