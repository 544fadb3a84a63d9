import { create } from "zustand";
import type { Agent, Author, SubjectId } from "../api/types";
import { kindOf, subjectOf } from "../lib/subjects";

export interface Face {
  name: string;
  avatarUrl: string | null;
  /** `#rrggbb` of an agent that has one. */
  color: string | null;
}

interface PeopleState {
  faces: Readonly<Record<SubjectId, Face>>;
  meet: (authors: readonly Author[]) => void;
  meetAgents: (agents: readonly Agent[]) => void;
  meetCitizen: (id: SubjectId, name: string) => void;
}

/** Names and pictures of everybody who was seen so far: events of presence and typing say ids only. */
export const usePeople = create<PeopleState>((set) => ({
  faces: {},
  meet: (authors) => set(({ faces }) => ({ faces: merged(faces, authors.map(faceOfAuthor)) })),
  meetCitizen: (id, name) => set(({ faces }) => ({ faces: merged(faces, [[id, { name }]]) })),
  meetAgents: (agents) => set(({ faces }) => ({ faces: merged(faces, agents.map(faceOfAgent)) })),
}));

type Entry = readonly [SubjectId, Partial<Face> & { name: string }];

function faceOfAuthor(author: Author): Entry {
  return [subjectOf(author), { name: author.display_name, avatarUrl: author.avatar_url }];
}

function faceOfAgent(agent: Agent): Entry {
  return [`agent:${agent.slug}`, { name: agent.display_name, avatarUrl: agent.avatar_url, color: agent.color }];
}

/** The same object when there is nothing new, so that nobody renders for it. */
function merged(faces: PeopleState["faces"], entries: Entry[]): PeopleState["faces"] {
  const changed = entries.filter(([id, face]) => {
    const known = faces[id];
    return !known || Object.entries(face).some(([key, value]) => known[key as keyof Face] !== value);
  });
  if (!changed.length) return faces;
  const next = { ...faces };
  for (const [id, face] of changed) next[id] = { avatarUrl: null, color: null, ...next[id], ...face };
  return next;
}

/** Citizens come first, then people on Matrix, then agents; each by name. */
export function byKindAndName(faces: PeopleState["faces"]) {
  const rank = { citizen: 0, matrix: 1, agent: 2 } as const;
  return (a: SubjectId, b: SubjectId) =>
    rank[kindOf(a)] - rank[kindOf(b)] || (faces[a]?.name ?? a).localeCompare(faces[b]?.name ?? b);
}
