import { city } from "../api/city";
import { useProfiles } from "./profiles";

/** Names that components ask for within this time are requested together. */
const BATCH_DELAY_MS = 30;
/** The most agents in one request. */
const MAX_BATCH = 500;
/** A failed request is repeated after this time. */
const RETRY_DELAY_MS = 30_000;

const requested = new Set<string>();
let queued: string[] = [];

/** Load an agent's name, avatar and colour into the store, since presence events have ids only. Each is requested once. */
export function requestAgentProfile(slug: string): void {
  if (requested.has(slug)) return;
  requested.add(slug);
  queued.push(slug);
  if (queued.length === 1) setTimeout(requestBatch, BATCH_DELAY_MS);
}

function requestBatch(): void {
  const slugs = queued.slice(0, MAX_BATCH);
  queued = queued.slice(MAX_BATCH);
  if (queued.length) setTimeout(requestBatch, BATCH_DELAY_MS);
  city.agentsOf(slugs).then(
    (agents) => {
      useProfiles.getState().addAgents(agents);
      const found = new Set(agents.map(({ slug }) => slug));
      // Presence may know an agent before the registry that responded here does: the next component that shows it asks again.
      for (const slug of slugs) if (!found.has(slug)) requested.delete(slug);
    },
    () => {
      // The agents are shown by their slugs now, and no component would ask again while it is mounted.
      for (const slug of slugs) requested.delete(slug);
      setTimeout(() => {
        for (const slug of slugs) requestAgentProfile(slug);
      }, RETRY_DELAY_MS);
    },
  );
}
