import { useEffect } from "react";
import { city } from "../api/city";
import type { SubjectId } from "../api/types";
import { kindOf } from "../lib/subjects";
import { useProfiles } from "../stores/profiles";

const MAX_BATCH = 100;
const BATCH_DELAY_MS = 300;

/** Ids that were requested already; a citizen without a name is requested once. */
const requested = new Set<SubjectId>();

/** Load the names of citizens of whom presence events have the id only, many in one request. */
export function useCitizenNames(subjects: readonly SubjectId[]): void {
  useEffect(() => {
    const { profiles } = useProfiles.getState();
    const unknown = subjects.filter((id) => kindOf(id) === "citizen" && !profiles[id] && !requested.has(id)).slice(0, MAX_BATCH);
    if (!unknown.length) return;
    const timer = setTimeout(() => void load(unknown), BATCH_DELAY_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [subjects]);
}

async function load(ids: SubjectId[]): Promise<void> {
  for (const id of ids) requested.add(id);
  try {
    const { citizens } = await city.citizens(ids, undefined);
    for (const { id, display_name } of citizens) if (display_name) useProfiles.getState().addCitizen(id, display_name);
  } catch {
    // The page shows no names, and requests them again when these people are shown next.
    for (const id of ids) requested.delete(id);
  }
}
