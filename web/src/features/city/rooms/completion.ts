/** What is being written that can be completed: `@`, `#`, `:` or a command at the beginning of a message. */
export interface Trigger {
  sign: "@" | "#" | ":" | "/";
  /** What stands after the sign. */
  query: string;
  /** Where the sign stands, and where the query ends. */
  start: number;
  end: number;
}

const TOKEN = /(?:^|[\s(«"])([@#:])([^\s@#:]*)$/u;
const COMMAND = /^\/(\p{L}*)$/u;
const EMOJI_NAME = /^[\p{L}\p{N}_+-]{2,}$/u;
/** People write names of two words: after `@Тарас Ше` it is still the same. */
const NAME = /(?:^|[\s(«"])@(\p{L}[^\s@#:]* [^\s@#:]*)$/u;

/** What the caret stands at the end of; null where there is nothing to complete. */
export function triggerAt(text: string, caret: number): Trigger | null {
  const before = text.slice(0, caret);
  const command = COMMAND.exec(before);
  if (command?.[1] !== undefined && caret === text.length) return { sign: "/", query: command[1], start: 0, end: caret };
  const [, sign, query] = TOKEN.exec(before) ?? [];
  if (sign !== undefined && query !== undefined) {
    // `:)` and the time after "о 12:" are no names of emojis.
    if (sign === ":" && !EMOJI_NAME.test(query)) return null;
    return { sign: sign as Trigger["sign"], query, start: caret - query.length - 1, end: caret };
  }
  const name = NAME.exec(before)?.[1];
  return name === undefined ? null : { sign: "@", query: name, start: caret - name.length - 1, end: caret };
}

export interface Candidate {
  id: string;
  /** What stands in the list. */
  label: string;
  detail: string;
  /** What is put into the text. */
  insert: string;
  /** What is sent in place of `insert`, where that is something else. */
  target?: string;
  picture: { subject: string } | { emoji: string } | { room: string; url: string | null } | null;
}

/** As many as fit above a composer on a phone. */
const LIMIT = 6;

/** Those with the query at the beginning of a word of their label or detail, those with it at the beginning of the label first. */
export function matching(candidates: Iterable<Candidate>, query: string, limit = LIMIT): Candidate[] {
  const sought = query.toLocaleLowerCase();
  const first: Candidate[] = [];
  const others: Candidate[] = [];
  for (const candidate of candidates) {
    const label = candidate.label.toLocaleLowerCase();
    if (label.startsWith(sought)) first.push(candidate);
    else if (hasWord(label, sought) || hasWord(candidate.detail.toLocaleLowerCase(), sought)) others.push(candidate);
    if (first.length >= limit) break;
  }
  return [...first, ...others].slice(0, limit);
}

function hasWord(text: string, beginning: string): boolean {
  return text.startsWith(beginning) || text.includes(` ${beginning}`) || text.includes(`_${beginning}`);
}

/** Whether Enter sends the message while no candidate was chosen: a slash alone, and what a candidate would not change. */
export function isComplete({ sign, query }: Trigger, candidates: readonly Candidate[]): boolean {
  // A command needs words after it: Enter completes it.
  if (sign === "/") return query === "";
  return candidates.some(({ insert, target }) => insert === sign + query && target === undefined);
}

/** The text with a candidate in place of what was written, and where the caret stands then. */
export function completed(text: string, { start, end }: Trigger, { insert }: Candidate): { text: string; caret: number } {
  const after = text.slice(end);
  const space = after.startsWith(" ") ? "" : " ";
  return { text: text.slice(0, start) + insert + space + after, caret: start + insert.length + 1 };
}
