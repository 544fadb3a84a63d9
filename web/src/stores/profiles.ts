import { create } from "zustand";
import type { Agent, Author, CurrentCitizen, SubjectId, SubjectPresence } from "../api/types";
import { kindOf, subjectOf } from "../lib/subjects";

export interface Profile {
  name: string;
  avatarUrl: string | null;
  /** The colour of an agent as `#rrggbb`; null for none. */
  color: string | null;
  /** The Matrix user id; null if it is not known. */
  matrixId: string | null;
  /** Whether it came as a change, or with presence: messages from before may have an older name. */
  isLive?: boolean;
}

interface ProfilesState {
  profiles: Readonly<Record<SubjectId, Profile>>;
  /** Add the authors of messages; `areLive`: as they are now. */
  addAuthors: (authors: readonly Author[], areLive?: boolean) => void;
  addAgents: (agents: readonly Agent[]) => void;
  addCitizen: (id: SubjectId, name: string) => void;
  addMe: (me: CurrentCitizen) => void;
  /** Add the names and pictures in frames of presence. */
  addPresences: (users: readonly SubjectPresence[]) => void;
}

export const NO_PROFILE = { avatarUrl: null, color: null, matrixId: null } as const;

/** The names and pictures of all subjects seen so far: not all frames contain them. */
export const useProfiles = create<ProfilesState>((set) => ({
  profiles: {},
  addAuthors: (authors, areLive = false) =>
    set(({ profiles }) => ({
      profiles: merged(
        profiles,
        authors.map((author) => authorProfile(author, areLive, profiles[subjectOf(author)])),
      ),
    })),
  addCitizen: (id, name) => set(({ profiles }) => (profiles[id]?.isLive ? {} : { profiles: merged(profiles, [[id, { name }]]) })),
  addMe: ({ subject, display_name: name, avatar_url: avatarUrl, matrix_user_id: account, ghost_user_id: ghost }) =>
    set(({ profiles }) => ({
      profiles: merged(profiles, [[subject, { name, avatarUrl, matrixId: account ?? ghost, isLive: true }]]),
    })),
  addPresences: (users) =>
    set((state) => {
      const profiles = merged(state.profiles, users.flatMap(presenceProfile));
      return profiles === state.profiles ? state : { profiles };
    }),
  addAgents: (agents) => set(({ profiles }) => ({ profiles: merged(profiles, agents.map(agentProfile)) })),
}));

type Entry = readonly [SubjectId, Partial<Profile> & { name: string }];

/** Presence contains no Matrix user id: it is taken from messages, even if a live name and picture are known. */
function authorProfile(author: Author, isLive: boolean, known: Profile | undefined): Entry {
  const { display_name: name, avatar_url: avatarUrl, matrix_user_id: matrixId } = author;
  const face = known?.isLive && !isLive ? { name: known.name } : { name, avatarUrl, ...(isLive && { isLive }) };
  return [subjectOf(author), { ...face, matrixId }];
}

function presenceProfile({ user_id: id, display_name: name, avatar_url: avatarUrl }: SubjectPresence): Entry[] {
  return name ? [[id, { name, avatarUrl: avatarUrl ?? null, isLive: true }]] : [];
}

function agentProfile(agent: Agent): Entry {
  const { display_name: name, avatar_url: avatarUrl, color, matrix_user_id: matrixId } = agent;
  return [`agent:${agent.slug}`, { name, avatarUrl, color, matrixId }];
}

/** Returns the same object if nothing changed, so that no component renders. */
function merged(profiles: ProfilesState["profiles"], entries: Entry[]): ProfilesState["profiles"] {
  const changed = entries.filter(([id, profile]) => {
    const known = profiles[id];
    return !known || Object.entries(profile).some(([key, value]) => known[key as keyof Profile] !== value);
  });
  if (!changed.length) return profiles;
  const next = { ...profiles };
  for (const [id, profile] of changed) next[id] = { ...NO_PROFILE, ...next[id], ...profile };
  return next;
}

/** A comparison of subjects: citizens come first, then people on Matrix, then agents; each by name. */
export function byKindAndName(profiles: ProfilesState["profiles"]) {
  const rank = { citizen: 0, matrix: 1, agent: 2 } as const;
  return (a: SubjectId, b: SubjectId) =>
    rank[kindOf(a)] - rank[kindOf(b)] || (profiles[a]?.name ?? a).localeCompare(profiles[b]?.name ?? b);
}
