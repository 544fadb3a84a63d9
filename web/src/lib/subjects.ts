import type { AuthorKind, SubjectId } from "../api/types";

/** The subject of presence for an author. */
export function subjectOf(author: { kind: AuthorKind; id: string }): SubjectId {
  return author.kind === "agent" ? `agent:${author.id}` : author.id;
}

export function agentSubject(slug: string): SubjectId {
  return `agent:${slug}`;
}

export function kindOf(subject: SubjectId): AuthorKind {
  if (subject.startsWith("agent:")) return "agent";
  return subject.startsWith("@") ? "matrix" : "citizen";
}

/** The name in a subject, for a subject without a profile; null for citizens, whose ids mean nothing to people. */
export function nameInSubject(subject: SubjectId): string | null {
  if (subject.startsWith("agent:")) return subject.slice("agent:".length);
  if (subject.startsWith("@")) return subject.slice(1).split(":")[0] ?? null;
  return null;
}

/** The slug of an agent's subject; null for other subjects. */
export function slugOf(subject: SubjectId): string | null {
  return kindOf(subject) === "agent" ? subject.slice("agent:".length) : null;
}
