import { city } from "../api/city";
import { useProfiles } from "./profiles";

/** What is wanted within this is asked for at once. */
const BATCH_DELAY_MS = 30;
/** As many as the city answers in one request. */
const MAX_BATCH = 500;
/** An agent whose name was not answered is asked for again after this. */
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
      // Presence may tell of an agent before the registry that answered here has it: whoever shows it next asks again.
      for (const slug of slugs) if (!found.has(slug)) requested.delete(slug);
    },
    () => {
      // They are shown by their slugs now, and nothing else would ask again for as long as they are.
      for (const slug of slugs) requested.delete(slug);
      setTimeout(() => {
        for (const slug of slugs) requestAgentProfile(slug);
      }, RETRY_DELAY_MS);
    },
  );
}
