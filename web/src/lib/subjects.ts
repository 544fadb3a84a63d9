import type { AuthorKind, SubjectId } from "../api/types";

/** The name under which presence knows somebody who writes in rooms. */
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

/** What to call a subject of whom nothing but its name is known; null for citizens, whose ids say nothing to people. */
export function nameInSubject(subject: SubjectId): string | null {
  if (subject.startsWith("agent:")) return subject.slice("agent:".length);
  if (subject.startsWith("@")) return subject.slice(1).split(":")[0] ?? null;
  return null;
}

/** The slug of an agent's subject; null for other subjects. */
export function slugOf(subject: SubjectId): string | null {
  return kindOf(subject) === "agent" ? subject.slice("agent:".length) : null;
}
