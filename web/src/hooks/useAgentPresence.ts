import { useEffect } from "react";
import type { Status } from "../api/types";
import { agentSubject } from "../lib/subjects";
import { statusOf, usePresence, watchSubject } from "../stores/presence";

/** An agent's presence, live; null until the presence connection has sent its snapshot. */
export function useAgentPresence(slug: string): { status: Status | null } {
  const status = usePresence(({ online: here, hasSnapshot: isKnown }) => (isKnown ? statusOf(here, agentSubject(slug)) : null));
  useEffect(() => watchSubject(agentSubject(slug)), [slug]);
  return { status };
}
