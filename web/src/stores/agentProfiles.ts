import { city } from "../api/city";
import { useProfiles } from "./profiles";

/** What is wanted within this is asked for at once. */
const GATHER_MS = 30;
/** As many as the city answers in one request. */
const AT_MOST = 500;
/** An agent whose name was not answered is asked for again after this. */
const AGAIN_MS = 30_000;

const asked = new Set<string>();
let wanted: string[] = [];

/** Load an agent's name, avatar and colour into the store, since presence events have ids only. Each is requested once. */
export function requestAgentProfile(slug: string): void {
  if (asked.has(slug)) return;
  asked.add(slug);
  wanted.push(slug);
  if (wanted.length === 1) setTimeout(askForWanted, GATHER_MS);
}

function askForWanted(): void {
  const slugs = wanted.slice(0, AT_MOST);
  wanted = wanted.slice(AT_MOST);
  if (wanted.length) setTimeout(askForWanted, GATHER_MS);
  city.agentsOf(slugs).then(
    (agents) => {
      useProfiles.getState().addAgents(agents);
      const found = new Set(agents.map(({ slug }) => slug));
      // Presence may tell of an agent before the registry that answered here has it: whoever shows it next asks again.
      for (const slug of slugs) if (!found.has(slug)) asked.delete(slug);
    },
    () => {
      // They are shown by their slugs now, and nothing else would ask again for as long as they are.
      for (const slug of slugs) asked.delete(slug);
      setTimeout(() => {
        for (const slug of slugs) requestAgentProfile(slug);
      }, AGAIN_MS);
    },
  );
}
