import type { SubjectId } from "../api/types";

/*
 * Mentions as people read and write them. The city and Matrix know people by their Matrix user ids, rooms by their aliases: a text
 * that is sent contains those, a text that is shown or written contains names.
 */

/** What a text is sent with in place of what is written: `@Тарас` → `@citizen_u_2:city.example`. */
export type Mentions = Readonly<Record<string, string>>;

export type Profiles = Readonly<Record<SubjectId, { name: string; matrixId: string | null }>>;

/** Matrix user ids and room aliases in a text. */
const IDS = /(?<![\p{L}\p{N}_/])[@#][\w.=+-]+:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?/gu;

/** What `IDS` finds ends with the sentence around it. */
const SENTENCE_END = /[.:-]+$/;

export interface IdPart {
  text: string;
  /** Whether it is a Matrix user id or a room alias. */
  isId: boolean;
}

/** The parts of a text, in order; together they are the text. */
export function splitIds(text: string): IdPart[] {
  const parts: IdPart[] = [];
  let done = 0;
  for (const { 0: found, index } of text.matchAll(IDS)) {
    const id = found.replace(SENTENCE_END, "");
    if (index > done) parts.push({ text: text.slice(done, index), isId: false });
    parts.push({ text: id, isId: true });
    done = index + id.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), isId: false });
  return parts;
}

const subjects = new WeakMap<Profiles, ReadonlyMap<string, SubjectId>>();

/** The subject with a Matrix user id, of those whose profiles are loaded; null for others. */
export function subjectOfUser(profiles: Profiles, userId: string): SubjectId | null {
  let known = subjects.get(profiles);
  if (!known) {
    known = new Map(
      Object.entries(profiles).flatMap(([subject, { matrixId }]) => (matrixId === null ? [] : [[matrixId, subject]])),
    );
    subjects.set(profiles, known);
  }
  return known.get(userId) ?? null;
}

/** `text` with the names of people in place of their Matrix user ids, and what was replaced. */
export function withNames(text: string, profiles: Profiles): { text: string; mentions: Mentions } {
  const mentions: Record<string, string> = {};
  const parts = splitIds(text).map(({ text: part, isId }) => {
    const subject = isId ? subjectOfUser(profiles, part) : null;
    const name = subject === null ? undefined : profiles[subject]?.name;
    const written = `@${name}`;
    // Two people of one name: the second keeps the id.
    if (name === undefined || (mentions[written] ?? part) !== part) return part;
    mentions[written] = part;
    return written;
  });
  return { text: parts.join(""), mentions };
}

/** `text` with Matrix user ids and room aliases in place of what was written for them. */
export function withIds(text: string, mentions: Mentions): string {
  const written = Object.keys(mentions).sort((a, b) => b.length - a.length);
  if (!written.length) return text;
  const anyOf = written.map((each) => each.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${anyOf})(?![\\p{L}\\p{N}_])`, "gu");
  return text.replace(pattern, (found) => mentions[found] ?? found);
}
