import { useEffect } from "react";
import type { SubjectId } from "../api/types";
import { nameInSubject, slugOf } from "../lib/subjects";
import { requestAgentProfile } from "../stores/agentProfiles";
import { NO_PROFILE, useProfiles, type Profile } from "../stores/profiles";

/** The profile of a subject, with the name `unknown` until it is known. */
export function useProfile(subject: SubjectId, unknown: string): Profile {
  const profile = useProfiles((state) => state.profiles[subject]);
  useEffect(() => {
    const slug = slugOf(subject);
    if (slug) requestAgentProfile(slug);
  }, [subject]);
  return profile ?? { name: nameInSubject(subject) ?? unknown, ...NO_PROFILE };
}
