import { useEffect } from "react";
import type { SubjectId } from "../api/types";
import { slugOf, wantAgentFace } from "../lib/agentFaces";
import { nameInSubject } from "../lib/subjects";
import { usePeople, type Face } from "../stores/people";

/** How somebody looks, and what they are called; `unknown` until that is known. */
export function useFace(subject: SubjectId, unknown: string): Face {
  const face = usePeople((state) => state.faces[subject]);
  useEffect(() => {
    const slug = slugOf(subject);
    if (slug) wantAgentFace(slug);
  }, [subject]);
  return face ?? { name: nameInSubject(subject) ?? unknown, avatarUrl: null, color: null };
}
