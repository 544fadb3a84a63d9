import { useEffect, useState } from "react";
import type { Status } from "../api/types";
import { globalPresenceClient } from "../lib/page";
import { agentSubject } from "../lib/subjects";

/** Whether an agent is here, live; null until it is known. */
export function useAgentPresence(slug: string): { status: Status | null } {
  const [seen, setSeen] = useState<{ slug: string; status: Status } | null>(null);

  useEffect(() => globalPresenceClient.watch(agentSubject(slug), (status) => setSeen({ slug, status })), [slug]);

  return { status: seen?.slug === slug ? seen.status : null };
}
