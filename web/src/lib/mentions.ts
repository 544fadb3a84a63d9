import type { SubjectId } from "../api/types";

/*
 * Mentions as people read and write them. The city and Matrix identify people by Matrix user ids and rooms by aliases: a text
 * that is sent contains those, a text that is shown or edited contains names.
 */

/** The ids that replace names when a text is sent: `@Тарас` → `@citizen_u_2:city.example`. */
export type Mentions = Readonly<Record<string, string>>;

export type Profiles = Readonly<Record<SubjectId, { name: string; matrixId: string | null }>>;

/** Matrix user ids and room aliases in a text. Bounded, so that hostile texts are searched in linear time. */
const IDS = /(?<![\p{L}\p{N}_/])[@#][\w.=+-]{1,255}:[A-Za-z0-9][A-Za-z0-9.-]{0,254}(?::\d{1,5})?/gu;

/** Characters that `IDS` matches but that end the sentence around an id. */
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

/** The subject with a Matrix user id, if its profile is loaded; else null. */
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

/** `text` with the names of people in place of their Matrix user ids, and the replacements. */
export function withNames(text: string, profiles: Profiles): { text: string; mentions: Mentions } {
  const mentions: Record<string, string> = {};
  const parts = splitIds(text).map(({ text: part, isId }) => {
    const subject = isId ? subjectOfUser(profiles, part) : null;
    const name = subject === null ? undefined : profiles[subject]?.name;
    const written = `@${name}`;
    // If two people have the same name, the second keeps the id.
    if (name === undefined || (mentions[written] ?? part) !== part) return part;
    mentions[written] = part;
    return written;
  });
  return { text: parts.join(""), mentions };
}

/** `text` with Matrix user ids and room aliases in place of the names in `mentions`. */
export function withIds(text: string, mentions: Mentions): string {
  const written = Object.keys(mentions).sort((a, b) => b.length - a.length);
  if (!written.length) return text;
  const anyOf = written.map((each) => each.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${anyOf})(?![\\p{L}\\p{N}_])`, "gu");
  return text.replace(pattern, (found) => mentions[found] ?? found);
}
