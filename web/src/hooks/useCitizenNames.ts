import { useEffect } from "react";
import { city } from "../api/city";
import type { SubjectId } from "../api/types";
import { kindOf } from "../lib/subjects";
import { useProfiles } from "../stores/profiles";

const MAX_BATCH = 100;
const BATCH_DELAY_MS = 300;

/** Ids that were asked about already; a citizen without a name is asked about once. */
const requested = new Set<SubjectId>();

/** Loads the names of citizens whom presence events name by id only; asks for many at once. */
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
    // The page does without names, and asks again when it shows these people next.
    for (const id of ids) requested.delete(id);
  }
}
